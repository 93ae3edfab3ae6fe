-- Schema 2.1.0: who read what a scene asks for, and what a prompt's own syntax directs.

-- {"reader": "annotation" | "language model" | "rules" | "nobody", and its settings}; null until the scene is read.
alter table scenes add column read_by json;

-- What the prompt says beside its text: weights, LoRAs, embeddings, flags (scene/syntax/), and the parameters that its row or
-- picture brought (from_data). Null: nothing.
alter table prompts add column directives json;
