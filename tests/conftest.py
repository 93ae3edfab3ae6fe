"""Shared fixtures: a fresh store, and fake models that stand in where a test is about something else."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers fill the cores; torch processes that share cores slow one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from PIL import Image

import forgekit as fk
from forgekit.errors import ItemError
from forgekit.models import Drawing, DrawRequest, Judgement, naming
from forgekit.scene import Scene, list_elements
from forgekit.store import Store, remote

# What takes minutes starts first, the longest of them first, so that no worker is left with one at the end.
SLOW_FILES = (
    *("test_notebooks_started.py", "test_notebooks.py", "test_docs_run.py", "test_ray_pool.py", "test_batch.py"),
    *("test_soak.py", "test_stages_as_processes.py", "test_workers_together.py"),
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts background jobs; some tests interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without looking for garbage: the libraries that are imported are none, and are not looked through again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take minutes: a worker takes whole files, in this order."""
    places = {name: place for place, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True)
def _forget_given_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the models and addresses that a test gave when it ends: which tests ran in this process before must not matter."""
    monkeypatch.setattr(naming, "_given", set(naming._given))
    monkeypatch.setattr(remote, "_given", dict(remote._given))


@dataclass
class FakeGenerator:
    """Paints one flat colour per request (another for another prompt), and refuses prompts that contain "refuse"."""

    name: str = "conftest:FakeGenerator"  # an address that `load_model` finds
    drawn: list[DrawRequest] = field(default_factory=list)

    def default_parameters(self) -> dict[str, Any]:
        return {"num_inference_steps": 4, "guidance_scale": 3.0, "negative_prompt": ""}

    def describe(self) -> dict[str, Any]:
        return {"repo": "fake"}

    def fits(self, prompt: str) -> bool:
        return len(prompt.split()) <= 40

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        self.drawn += requests
        return [
            ItemError("refused")
            if "refuse" in request.prompt
            else Drawing(Image.new("RGB", (8, 8), _shade(request)), {"seed": request.seed})
            for request in requests
        ]


def _shade(request: DrawRequest) -> tuple[int, int, int]:
    told = crc32(f"{request.prompt}{sorted(request.parameters.items())}".encode())
    return request.seed % 256, told % 256, told // 256 % 256


@dataclass
class FakeJudge:
    """Gives every element of a scene the same score, or what `scores` says for its key."""

    name: str = "fake-judge"
    score: float = 0.5
    scores: dict[str, float] = field(default_factory=dict)
    adhering_at: float = 0.5
    judge_key: str = "key-1"
    judged: int = 0

    def judge(self, images: Sequence[Image.Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        self.judged += len(images)
        return [
            Judgement(
                {e.key: self.scores.get(e.key, self.score) for e in list_elements(scene.elements)},
                self.score,
                "a picture",
            )
            for scene in scenes
        ]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """The file of a store with nothing in it: to make one takes four times as long as to copy it."""
    return fk.open_store(tmp_path_factory.mktemp("empty") / "forge.duckdb").path


@pytest.fixture
def store(tmp_path, empty_store) -> Store:
    return fk.open_store(shutil.copyfile(empty_store, tmp_path / "forge.duckdb"))


@pytest.fixture
def fake_generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def fake_judge() -> FakeJudge:
    return FakeJudge()


SCENES = ["a red circle", "two green triangles", "a blue star above a purple ring"]


def copied(folder: Path, to: Path) -> Store:
    """Copy a store that a fixture made once with its pictures; tests may do with it what they like."""
    naming.note_given(FakeGenerator().name)  # as whoever made it did
    return fk.open_store(shutil.copytree(folder, to, dirs_exist_ok=True) / "forge.duckdb")


@pytest.fixture(scope="session")
def imported_once(tmp_path_factory, empty_store) -> Path:
    import pandas as pd

    store = copied(empty_store.parent, tmp_path_factory.mktemp("imported"))
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=FakeGenerator().name)
    return store.folder


@pytest.fixture(scope="session")
def completed_once(tmp_path_factory, imported_once) -> Path:
    store = copied(imported_once, tmp_path_factory.mktemp("completed"))
    fk.complete_prompts(store)
    return store.folder


@pytest.fixture(scope="session")
def generated_once(tmp_path_factory, completed_once) -> Path:
    store = copied(completed_once, tmp_path_factory.mktemp("generated"))
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator())
    return store.folder


@pytest.fixture
def imported(tmp_path, imported_once) -> Store:
    """A store with three imported scenes whose prompts a fake generator draws."""
    return copied(imported_once, tmp_path)


@pytest.fixture
def completed(tmp_path, completed_once) -> Store:
    return copied(completed_once, tmp_path)


@pytest.fixture
def generated(tmp_path, generated_once) -> Store:
    return copied(generated_once, tmp_path)


@pytest.fixture(scope="session")
def one_once(tmp_path_factory, empty_store) -> Path:
    import pandas as pd

    store = copied(empty_store.parent, tmp_path_factory.mktemp("one"))
    fk.import_prompts(store, pd.DataFrame({"text": SCENES[:1]}), model=FakeGenerator().name)
    fk.complete_prompts(store)
    return store.folder


@pytest.fixture
def one(tmp_path, one_once) -> Store:
    """A store with one completed prompt, of a red circle."""
    return copied(one_once, tmp_path)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    """A folder with a random Qwen3 of a few thousand parameters and a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = ["<pad>", "</s>", "<unk>", *["a", "red", "circle", "blue", "square", "on", "the", "left", "of"]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    folder = tmp_path_factory.mktemp("tiny-qwen")
    torch.manual_seed(3)  # what it says must not hang on which tests ran before
    Qwen3ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


TRAP = """
from pathlib import Path
from conftest import FakeGenerator

Path(__file__).with_name("sprung").touch()


def make():
    return FakeGenerator("trap:make")


def given():
    return FakeGenerator("trap:given")
"""


@pytest.fixture
def trap(tmp_path, monkeypatch) -> Path:
    """A working folder with a module that leaves a file when it is imported; the file's path."""
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "sprung"
    sys.modules.pop("trap", None)
