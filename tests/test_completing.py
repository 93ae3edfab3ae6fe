"""complete_prompts: what is added, the fidelity gate, failed model calls."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import forgekit as fk
from forgekit.errors import ItemError, ParameterError
from forgekit.models.language import tagged_prompts
from forgekit.stages.completing import WORDINGS, complete_by_rules, complete_by_template


@dataclass
class ScriptedModel:
    """Answers with what the script says, one answer a request, and keeps the requests; an exception in it is raised."""

    answers: list
    name: str = "scripted"
    requests: list[str] = field(default_factory=list)

    def generate(self, requests):
        self.requests += requests
        answers = [self.answers.pop(0) for _ in requests]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


@pytest.fixture
def one_scene(store):
    fk.import_prompts(store, pd.DataFrame({"text": ["two green triangles"]}))
    return store


def prompt_of(store) -> dict:
    return store.rows("select prompt_text, status, base_parameters from prompts")[0]


def test_rules_add_background_and_style_and_the_generators_parameters(one_scene):
    report = fk.complete_prompts(one_scene, seed=7)
    assert (report.done, report.failed) == (1, 0)
    prompt = prompt_of(one_scene)
    assert prompt["prompt_text"] == "two green triangles on a white background, flat design"
    assert prompt["status"] == "completed"
    assert prompt["base_parameters"]["seed"] == 7
    assert prompt["base_parameters"]["num_inference_steps"] > 0


def test_rules_leave_out_what_does_not_fit():
    elements = fk.scene.parse("a red circle")
    mini = WORDINGS["figures"]
    assert complete_by_rules("a red circle", elements, mini, lambda text: len(text) < 35) == (
        "a red circle on a white background"
    )
    assert complete_by_rules("a red circle", elements, mini, lambda text: False) == "a red circle"


def test_what_the_scene_says_itself_is_not_said_again():
    text = "a blue star on a black background, line art"
    assert complete_by_rules(text, fk.scene.parse(text), WORDINGS["figures"], lambda _: True) == text


PHOTO, SHARP, LIGHT = ", photograph", ", sharp focus", ", natural light"


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("a cat", PHOTO + SHARP + LIGHT),
        ("a photo of a dog", SHARP + LIGHT),
        ("a cat, watercolor", ""),
        ("a watercolour of a cat", ""),
        ("pencil sketch of a horse", ""),
        ("a pixel art castle", ""),
        ("a 3d render of a chair", ""),
        ("a chair, low poly", ""),
        ("an anime girl with a sword", ""),
        ("a logo of a fox", ""),
        ("a night scene with a fox", ""),
        ("a candle-lit dinner table", PHOTO + SHARP),
        ("a moonlit lake with a boat", PHOTO + SHARP),
        ("a fox at night", PHOTO + SHARP),
        ("a photo of a dog at night", SHARP),
        ("a blurry photo of a car", LIGHT),
        ("a cat on a red background", PHOTO + SHARP),
        ("a knight in a field", PHOTO + SHARP + LIGHT),  # no night
    ],
)
def test_nothing_is_added_that_the_scene_rules_out(text, added):
    completed = complete_by_rules(text, fk.scene.parse(text), WORDINGS[""], lambda _: True)
    assert completed == text + added


def test_nothing_is_added_to_a_scene_that_was_not_understood():
    nothing = {**fk.scene.parse(""), "objects": []}
    assert complete_by_rules("Eine Aquarellkatze.", nothing, WORDINGS[""], lambda _: True) == "Eine Aquarellkatze."


BENCHMARK = ["A  photo of two cats ;", "a cat, watercolor.", "  a dog\non a mat, 4k,"]


@pytest.mark.parametrize("how", [{"keep": True}, {"template": "{scene}"}])
def test_prompts_of_a_benchmark_are_kept_to_the_last_character(store, how):
    fk.import_prompts(store, pd.DataFrame({"text": BENCHMARK}))
    imported = store.rows("select prompt_text from prompts order by prompt_text")
    report = fk.complete_prompts(store, **how)
    assert (report.done, report.failed) == (3, 0)
    assert store.rows("select prompt_text from prompts order by prompt_text") == imported
    assert store.rows("select distinct status from prompts") == [{"status": "completed"}]


def test_prompts_are_completed_in_one_way(store):
    with pytest.raises(ParameterError, match="one of"):
        fk.complete_prompts(store, keep=True, template="{scene}, oil painting")


@pytest.mark.parametrize(
    ("answer", "loosened"), [("a red ball on a mat", 1), ("a crimson ball on a mat, soft light", 0)]
)
def test_a_completion_that_says_a_kind_by_its_plain_word_is_counted(store, answer, loosened):
    fk.import_prompts(store, pd.DataFrame({"text": ["a crimson ball on a mat"]}))
    report = fk.complete_prompts(store, language_model=ScriptedModel([f"<PROMPT>{answer}</PROMPT>"]))
    assert prompt_of(store)["prompt_text"] == answer
    assert report.details.get("loosened", 0) == loosened


def test_a_template_surrounds_the_scene():
    assert complete_by_template("oil painting of {scene}", "a red circle.") == "oil painting of a red circle"
    assert complete_by_template("{scene}", " a red circle. ") == " a red circle. "
    with pytest.raises(ParameterError, match=r"\{scene\}"):
        complete_by_template("oil painting", "a red circle")


def test_an_unfaithful_completion_is_refused_and_the_next_try_is_told_why(one_scene):
    model = ScriptedModel(
        ["<PROMPT>three green triangles</PROMPT>", "<PROMPT>two green triangles, flat design</PROMPT>"]
    )
    fk.complete_prompts(one_scene, language_model=model)
    assert prompt_of(one_scene)["prompt_text"] == "two green triangles, flat design"
    assert "count of triangle changed" in model.requests[1]
    assert "three green triangles" in model.requests[1]
    assert one_scene.rows("select count(*) as n from api_logs where stage = 'complete' and ok") == [{"n": 2}]


def test_after_the_last_refusal_the_scenes_own_text_stands(one_scene):
    model = ScriptedModel(["<PROMPT>a cat</PROMPT>"] * 2)
    report = fk.complete_prompts(one_scene, language_model=model, attempts=2)
    assert prompt_of(one_scene)["prompt_text"] == "two green triangles"
    assert report.details["kept as they were"] == 1


def test_a_failed_model_call_is_incomplete_and_tried_again_on_the_next_run(one_scene):
    model = ScriptedModel([ItemError("the endpoint is down"), "<PROMPT>two green triangles, line art</PROMPT>"])
    report = fk.complete_prompts(one_scene, language_model=model)
    assert list(report.failures.values()) == ["the endpoint is down"]
    assert prompt_of(one_scene)["status"] == "incomplete"
    fk.complete_prompts(one_scene, language_model=model)
    assert prompt_of(one_scene)["status"] == "completed"


def test_answers_are_read_with_and_without_tags_and_duplicates_drop_out():
    assert tagged_prompts("Sure! <PROMPT> a  cat </PROMPT> or <prompt>a cat</prompt>") == ["a cat"]
    assert tagged_prompts('"a cat"') == ["a cat"]


GOOD = "Two green triangles on a white background, flat design"


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>I must answer between <PROMPT> and </PROMPT>.</think>\n<PROMPT>{GOOD}</PROMPT>",
        f"I answer with <PROMPT>...</PROMPT>.\n</think>\n<PROMPT>{GOOD}</PROMPT>",
        f"<think>Keep the triangles green.</think>\n{GOOD}",
        f"<thinking>Three? No.</thinking>\n\n<PROMPT>{GOOD}</PROMPT>",
        f"[THINK]<PROMPT>a cat</PROMPT>[/THINK]<PROMPT>{GOOD}</PROMPT>",
        f"<|channel|>analysis<|message|>Two.<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}<|return|>",
        f"<PROMPT>two triangles</PROMPT> That lost the colour. Better:\n<PROMPT>{GOOD}</PROMPT>",
        f"<PROMPT>{GOOD}</PROMPT>\nOr, if you prefer more of them: <PROMPT>Five green triangles</PROMPT>",
        f"<PROMPT>{GOOD}</PROMPT>\n<PROMPT>Two green triangles on a wh",
        f"<prompt> {GOOD} <\\prompt>",
        f"Sure! Here is the completed prompt:\n\n```text\n{GOOD}\n```\n\nLet me know if I can help further!",
        f"Here is the prompt:\n\n“{GOOD}”\n\nI kept the number and the colour.",
        f"**Prompt:** {GOOD}",
        f"1. Three green triangles\n2. {GOOD}",
        "**Two green triangles** on a white background, flat design",
        f"Certainly.\n\n> {GOOD}\n\nNote: I added a background and a style.",
        f"<PROMPT>\n“{GOOD}”\n</PROMPT>",
    ],
)
def test_thinking_remarks_fences_quotes_and_drafts_around_the_prompt_do_not_matter(one_scene, answer):
    model = ScriptedModel([answer])
    fk.complete_prompts(one_scene, language_model=model)
    assert (prompt_of(one_scene)["prompt_text"], len(model.requests)) == (GOOD, 1)


@pytest.mark.parametrize(
    "answer", ["", "<think>Two green triangles, I think, and", "<PROMPT>Two green triangles on a wh"]
)
def test_an_answer_without_a_complete_prompt_is_asked_for_again(one_scene, answer):
    fk.complete_prompts(one_scene, language_model=ScriptedModel([answer, f"<PROMPT>{GOOD}</PROMPT>"]))
    assert prompt_of(one_scene)["prompt_text"] == GOOD


def test_where_no_attempt_has_a_complete_prompt_the_prompt_is_incomplete(one_scene):
    report = fk.complete_prompts(one_scene, language_model=ScriptedModel([""] * 3))
    assert list(report.failures.values()) == ["scripted answered with no complete prompt"]
    assert prompt_of(one_scene)["status"] == "incomplete"


def test_quotation_marks_around_a_prompt_go_and_those_in_it_stay():
    said = 'a sign that says "STOP"'
    assert tagged_prompts(f"<PROMPT>{said}</PROMPT>") == [said]
    assert tagged_prompts(f"<PROMPT>“{said}”</PROMPT>") == [said]
    assert tagged_prompts("<PROMPT>'a cat'</PROMPT>") == ["a cat"]


def test_a_prompt_in_a_language_that_the_rules_do_not_read_keeps_the_words_of_its_scene(store):
    fk.import_prompts(store, pd.DataFrame({"text": ["Ein roter Würfel neben einem Ball"]}))
    lost, kept = "Ein Würfel neben einem Ball, Aquarell", "Ein roter Würfel neben einem Ball, Aquarell"
    model = ScriptedModel([f"<PROMPT>{lost}</PROMPT>", f"<PROMPT>{kept}</PROMPT>"])
    fk.complete_prompts(store, language_model=model)
    assert prompt_of(store)["prompt_text"] == kept


def test_completing_twice_changes_nothing(one_scene):
    fk.complete_prompts(one_scene)
    assert fk.complete_prompts(one_scene).done == 0


class Answering(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint: adds a triangle first, tells the truth once told why, and is down on demand."""

    requests: list[str]
    down = False

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        type(self).requests.append(asked)
        self.send_response(400 if self.down else 200)
        self.end_headers()
        prompt = "two green triangles, flat design" if "was refused" in asked else "three green triangles"
        answer = {"choices": [{"message": {"content": f"<PROMPT>{prompt}</PROMPT>"}}]}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint():
    handler = type("Handler", (Answering,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1#tiny", handler
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_is_down_leaves_the_prompt_incomplete_and_the_next_run_completes_it(one_scene, endpoint):
    address, handler = endpoint
    handler.down = True
    report = fk.complete_prompts(one_scene, language_model=address)
    assert report.done == 0 and "400" in next(iter(report.failures.values()))
    assert prompt_of(one_scene)["status"] == "incomplete"
    handler.down = False
    assert fk.complete_prompts(one_scene, language_model=address).done == 1
    prompt = prompt_of(one_scene)
    assert (prompt["status"], prompt["prompt_text"]) == ("completed", "two green triangles, flat design")
    assert (
        "count of triangle changed: 2 to 3" in handler.requests[-1] and "three green triangles" in handler.requests[-1]
    )
    calls = one_scene.rows("select ok, endpoint from api_logs where stage = 'complete' order by created_at")
    assert [call["ok"] for call in calls] == [False, True, True] and {c["endpoint"] for c in calls} == {"tiny"}


def test_a_local_model_of_random_weights_cannot_pass_the_gate_and_the_scenes_own_text_stands(one_scene, tiny_model):
    report = fk.complete_prompts(one_scene, language_model=tiny_model, attempts=2)
    assert (report.done, report.details) == (1, {"kept as they were": 1}), report.failures
    assert prompt_of(one_scene)["prompt_text"] == "two green triangles"
    assert one_scene.rows("select count(*) as n from api_logs where stage = 'complete'") == [{"n": 2}]
