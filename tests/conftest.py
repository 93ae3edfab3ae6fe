"""Shared fixtures: a fresh store, and fake models that stand in where a test is about something else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from PIL import Image

import forgekit as fk
from forgekit.errors import ItemError
from forgekit.models import Drawing, DrawRequest, Judgement
from forgekit.scene import Scene, list_elements
from forgekit.store import Store


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


@pytest.fixture
def store(tmp_path) -> Store:
    return fk.open_store(tmp_path / "forge.duckdb")


@pytest.fixture
def fake_generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def fake_judge() -> FakeJudge:
    return FakeJudge()


SCENES = ["a red circle", "two green triangles", "a blue star above a purple ring"]


@pytest.fixture
def imported(store, fake_generator) -> Store:
    """A store with three imported scenes whose prompts a fake generator draws."""
    import pandas as pd

    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=fake_generator.name)
    return store


@pytest.fixture
def completed(imported) -> Store:
    fk.complete_prompts(imported)
    return imported


@pytest.fixture
def generated(completed, fake_generator) -> Store:
    fk.generate_images(completed, images_per_prompt=2, image_generator=fake_generator)
    return completed
