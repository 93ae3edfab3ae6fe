"""Each script of training/ runs: a few steps give a model that the package opens; commands are named as they are."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from math import isnan
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

import forgekit as fk
from forgekit.mini import WEIGHTS
from forgekit.mini.render import render
from forgekit.mini.world import WorldObject, WorldScene
from forgekit.models import Drawing, DrawRequest, Judgement
from training import (
    measure_judges,
    train_autoencoder,
    train_clip,
    train_fuyu,
    train_generator,
    train_owl,
    train_reader,
)
from training.generator import tokenizer
from training.latent_reader import load_or_train_latent_reader
from training.pool import ScenePool
from training.reader import compare, load_reader, read, summary

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "training").glob("*.py"))
COMMANDS = {path.stem for path in SCRIPTS if "command(" in path.read_text() and path.stem != "loop"}


@pytest.mark.parametrize(
    ("script", "family", "options"),
    [(train_clip, "clip", {}), (train_fuyu, "fuyu", {}), (train_owl, "owl", {"start": WEIGHTS / "clip"})],
)
def test_a_few_steps_give_a_judge_that_the_package_opens(script, family, options, tmp_path, monkeypatch):
    """The first step is of shapes alone, the second of one object, the others of everything."""
    for name, share in (("SHAPES_FIRST", 0.2), ("ONE_OBJECT", 0.4)):
        monkeypatch.setattr(script, name, share, raising=False)
    out = tmp_path / f"mini-{family}"
    script.train(out, work=tmp_path, samples=16, autoencoder=WEIGHTS / "generator" / "vae", pairs=2, **options)
    assert torch.load(tmp_path / f"{family}.pt", weights_only=True)["seen"] == 16
    judge = fk.load_model("vision_model", str(out))
    pairs = measure_judges.held_out_pairs(2)
    verdicts = judge.judge(measure_judges.pictures([pair[1] for pair in pairs]), [pair[0] for pair in pairs])
    assert [type(verdict) for verdict in verdicts] == [Judgement, Judgement]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A work folder with an autoencoder and a latent reader of a few steps."""
    work = tmp_path_factory.mktemp("work")
    vae = train_autoencoder.load_or_train(work / "autoencoder", samples=32)
    assert vae.config.scaling_factor > 0
    load_or_train_latent_reader(work / "latent_reader.pt", ScenePool(vae, size=8, seed=0), samples=64)
    return work


def test_a_few_steps_give_a_generator_that_the_package_opens_and_more_steps_go_on_from_there(work):
    def train(samples: int) -> dict:
        recipe = train_generator.Recipe(samples=samples, decay=8, batch=4, captions=128, pool=16)
        train_generator.train(work=work, out=work / "mini", start=WEIGHTS / "generator", recipe=recipe)
        return torch.load(work / "generator.pt", weights_only=True)

    first, second = train(8), train(20)
    assert (first["seen"], second["seen"]) == (8, 20)
    assert first["parts"]["model"].keys() == second["parts"]["model"].keys()
    (drawing,) = fk.load_model("image_generator", str(work / "mini")).draw(
        [DrawRequest("a red circle", 1, {"num_inference_steps": 1, "height": 64, "width": 64})]
    )
    assert isinstance(drawing, Drawing) and drawing.image.size == (64, 64)


def test_a_few_steps_give_a_reader_that_reads(tmp_path):
    train_reader.save(train_reader.train(128), tmp_path / "reader.safetensors")
    figures = train_reader.measure(load_reader(tmp_path / "reader.safetensors"), 20)
    assert set(figures) == {"recall", "precision", "exact set", "relation", "background", "style"}
    assert all(0 <= value <= 1 for value in figures.values())


@pytest.mark.parametrize(
    ("folder", "build"),
    [
        ("clip", train_clip.build_tokenizer),
        ("fuyu", train_fuyu.build_tokenizer),
        ("owl", train_owl.build_tokenizer),
        ("generator/tokenizer", tokenizer),
        ("generator/tokenizer_2", tokenizer),
    ],
)
def test_the_shipped_tokenizer_is_the_one_that_training_makes(folder, build):
    shipped, made = AutoTokenizer.from_pretrained(WEIGHTS / folder), build()
    assert shipped.get_vocab() == made.get_vocab()
    texts = ["A sapphire star, no rings.", "two bagels above an aquarelle of a zzunknown", "plus signs|NEWLINE|"]
    assert shipped(texts).input_ids == made(texts).input_ids


PAIR = WorldScene(
    (WorldObject("circle", "red", cx=16, cy=32, r=10), WorldObject("star", "blue", cx=48, cy=32, r=10)),
    "yellow",
    "flat",
    "left",
)


def test_the_reader_reads_a_plain_picture_right():
    (seen,) = read(load_reader(), render([PAIR]))
    assert sorted((o.shape, o.color) for o in seen.objects) == [("circle", "red"), ("star", "blue")]
    assert all(abs(o.cx - (16 if o.shape == "circle" else 48)) < 4 and abs(o.cy - 32) < 4 for o in seen.objects)
    assert set(compare(PAIR, seen).values()) == {2, True}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"objects": PAIR.objects[:1]}, {"found": 1, "hits": 1, "exact set": False, "relation": False}),
        ({"objects": (*PAIR.objects, PAIR.objects[0])}, {"found": 3, "exact set": False}),
        ({"objects": (replace(PAIR.objects[0], cx=60), PAIR.objects[1])}, {"relation": False}),
        ({"objects": (replace(PAIR.objects[0], cy=90), PAIR.objects[1])}, {"relation": False}),
        ({"background": "white"}, {"background": False}),
        ({"style": "watercolor"}, {"style": False}),
    ],
)
def test_what_is_seen_otherwise_counts_against_the_picture(changes, wrong):
    right = {"wanted": 2, "found": 2, "hits": 2} | dict.fromkeys(("exact set", "relation", "background", "style"), True)
    assert compare(PAIR, replace(PAIR, **changes)) == right | wrong


def test_recall_and_precision_count_objects_and_a_share_of_nothing_is_nan():
    alone = WorldScene((WorldObject("ring", "pink"),))
    found = summary([compare(alone, alone), compare(alone, replace(alone, objects=alone.objects * 2))])
    assert (found["recall"], found["precision"], found["exact set"]) == (1.0, 2 / 3, 0.5)
    assert isnan(found["relation"])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_module_says_its_subject_and_is_no_longer_than_a_reader_can_hold(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert len(path.read_text().splitlines()) <= 300


def test_the_package_knows_nothing_of_its_training():
    package = [
        path
        for path in (ROOT / "forgekit").rglob("*.py")
        if re.search(r"^\s*(from|import) training\b", path.read_text(), re.M)
    ]
    assert package == []


def test_the_readme_and_the_cards_name_every_command_and_no_other():
    pages = [ROOT / "training" / "README.md", *(ROOT / "forgekit" / "mini").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"python -m training\.(\w+)", page.read_text())}
    assert named == COMMANDS


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_borrow_from_training_only_what_there_is(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "training":
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), (
                    f"{node.module}.{alias.name}"
                )
