"""A server that others wrote: `transformers serve`, on a CPU, before tiny models; its chat gives no logprobs."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_judges import build_judge
from tiny_models import WORDS

from forgekit.models import load_model
from forgekit.models.language import EndpointLanguageModel
from forgekit.models.served_answers import spelt
from forgekit.models.served_calls import Exchange, listening
from forgekit.models.served_judge import ServedJudge
from forgekit.models.vqa import NUMBER_FORMS, YES_NO, Plan, Words
from forgekit.scene import Scene, parse

START_S = 30


@contextmanager
def transformers_serving(folder: str):
    from transformers.cli.serve import Serve

    for _ in range(5):  # a port that was free may be another test's by now
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = Serve(folder, device="cpu", host="127.0.0.1", port=port, non_blocking=True, log_level="error")
        deadline = time.monotonic() + START_S
        while not server.server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        if server.server.started:
            break
        server.kill_server()
    assert server.server.started
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill_server()


def test_a_language_model_answers_through_the_server_as_it_does_here(tiny_model, tmp_path):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder, size = str(tmp_path / "llama"), {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    torch.manual_seed(3)
    LlamaForCausalLM(LlamaConfig(vocab_size=12, num_hidden_layers=1, **size)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(
        folder
    )  # of Qwen the server would look for the marks of its chat
    requests = ["a red circle", "the blue square"]
    here = load_model("language_model", f"{folder}?max_new_tokens=6").generate(requests)
    with transformers_serving(folder) as url:
        there = EndpointLanguageModel("tiny", url, folder, temperature=0.0, max_tokens=6, retries=0, timeout_s=60)
        assert there.generate(requests) == here and all(here)


def test_a_judge_finds_that_the_server_gives_no_logprobs_and_samples(tmp_path):
    folder = str(build_judge("qwen3", tmp_path / "qwen3"))
    scene = Scene("a red circle", parse("a red circle"))
    with transformers_serving(folder) as url:
        judge = ServedJudge(
            "tiny", url, folder, samples=2, answer_tokens=2, description_tokens=4, retries=0, timeout_s=60
        )
        assert judge.answers_by() == "samples"
        [verdict] = judge.judge([Image.new("RGB", (64, 64), "red")], [scene])
    assert verdict.metrics["samples"] == 2 and verdict.description
    assert verdict.metrics["answer_mass"] in (0.0, 0.5, 1.0)  # of two answers of random weights


def test_a_judge_may_ask_for_the_probability_of_every_allowed_answer_at_once(tmp_path):
    """`/v1/systemone` answers in letters: the tiny model is taught their names in the place of words that nobody needs here."""
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.pipelines import DecisionPipeline

    folder = build_judge("qwen3", tmp_path / "qwen3")
    words = json.loads((folder / "tokenizer.json").read_text())
    for letter, word in zip("BCDEFGHIJKLM", WORDS[40:52], strict=True):
        words["model"]["vocab"][letter] = words["model"]["vocab"].pop(word.title())
    (folder / "tokenizer.json").write_text(json.dumps(words))
    red, scene = Image.new("RGB", (64, 64), "red"), Scene("three red circles", parse("three red circles"))
    with transformers_serving(str(folder)) as url:
        judge = ServedJudge("tiny", url, str(folder), ask_by="systemone", description="", retries=0, timeout_s=60)
        told: list[Exchange] = []
        with listening(told.extend):
            [verdict] = judge.judge([red], [scene])
    assert [exchange.answered["usage"]["completion_tokens"] for exchange in told] == [
        0
    ]  # one request, and nothing is written
    assert judge.judge_key != replace(judge, ask_by="samples").judge_key and verdict.metrics == {"systemone": 1}
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    here = DecisionPipeline(model=model, tokenizer=processor.tokenizer, processor=processor)
    [(_, asked)] = judge._turns(Plan(scene, judge, Words(YES_NO, NUMBER_FORMS, spelt, True)), "systemone")
    answers = here({"state": "<the picture>", **asked, "assets": {"<the picture>": red}})
    kinds = {answer["type"]: answer for answer in answers.values()}
    assert sorted(kinds) == ["choice", "noul"]
    counted = next(score for key, score in verdict.element_scores.items() if key.startswith("count"))
    assert counted == pytest.approx(kinds["choice"]["probabilities"]["three"], abs=1e-4)
    assert verdict.text_match_score == pytest.approx(list(answers.values())[-1]["noul"], abs=1e-4)
