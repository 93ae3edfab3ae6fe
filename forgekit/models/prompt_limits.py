"""How much of a prompt a pipeline's text encoders read, found from its tokenizers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgekit.models.applicable import pipeline_class, signature_of


@dataclass(frozen=True)
class Reader:
    """A tokenizer of a pipeline and the text encoder it feeds."""

    name: str  # "tokenizer", "tokenizer_2" …
    tokenizer: Any
    encoder: str  # class of the text encoder: "CLIPTextModel", "T5EncoderModel" …
    pipeline: str = ""  # class of the pipeline

    def limit(self, max_sequence_length: int | None) -> int:
        """Return how many tokens of a prompt are read, special and chat-template tokens already taken off."""
        total = self.tokenizer.model_max_length
        if "CLIP" not in self.encoder and max_sequence_length is not None:
            total = max_sequence_length  # CLIP encoders stop where their tokenizer says; the others where the call says
        return total - self._overhead()

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where in `text` each of its tokens begins and ends."""
        return self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]

    def _overhead(self) -> int:
        """Return how many tokens are not the prompt's: special tokens, or all of the chat template."""
        if self.pipeline.startswith("Sana"):
            return 2  # what it tells its encoder first is cut off again, and two tokens of the prompt's with it
        if "CLIP" in self.encoder or "T5" in self.encoder or not getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer.num_special_tokens_to_add()
        messages = [{"role": "user", "content": ""}]
        if "Mistral" in self.encoder:  # Flux2Pipeline alone speaks to its encoder first
            from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

            messages.insert(0, {"role": "system", "content": SYSTEM_MESSAGE})
        return len(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


def load_readers(repo: str, revision: str | None) -> list[Reader]:
    """Return the readers of the pipeline at `repo` (folder or hub id), loading tokenizers only.

    Raises:
        OSError: nothing to load at `repo`.
    """
    from diffusers import DiffusionPipeline
    from transformers import AutoTokenizer

    index = DiffusionPipeline.load_config(repo, revision=revision)
    names = sorted(n for n, part in index.items() if n.startswith("tokenizer") and part[0])
    return [
        Reader(
            name,
            AutoTokenizer.from_pretrained(repo, subfolder=name, revision=revision, trust_remote_code=False),
            index.get(name.replace("tokenizer", "text_encoder"), [None, ""])[1],
            str(index.get("_class_name")),
        )
        for name in names
    ]


def sequence_length(repo: str) -> int | None:
    """Return the `max_sequence_length` that the pipeline at `repo` takes where a call names none; None where it has none."""
    pipeline = pipeline_class(repo)
    length = signature_of(pipeline).get("max_sequence_length") if pipeline else None
    return length.default if length else None


def truncated(readers: list[Reader], prompt: str, max_sequence_length: int | None) -> Mapping[str, str]:
    """Return the part of `prompt` that each reader cuts off; readers that read it all are left out."""
    cut = {}
    for reader in readers:
        spans, limit = reader.spans(prompt), reader.limit(max_sequence_length)
        if len(spans) > limit:
            cut[reader.name] = prompt[spans[max(limit, 0)][0] :]
    return cut


def reads_all(readers: list[Reader], prompt: str, max_sequence_length: int | None) -> bool:
    """Say whether the encoder that reads most of a prompt reads it to its end: FLUX's CLIP cuts what its T5 reads."""
    main = max(readers, key=lambda reader: (reader.limit(max_sequence_length), reader.name))
    return not truncated([main], prompt, max_sequence_length)
