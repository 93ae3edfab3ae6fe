"""A server that others wrote: `transformers serve`, on a CPU, before tiny models; its chat gives no logprobs."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager

import torch
from PIL import Image
from tiny_judges import build_judge

from forgekit.models import load_model
from forgekit.models.language import EndpointLanguageModel
from forgekit.models.served_judge import ServedJudge
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
