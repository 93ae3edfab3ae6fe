"""What a judge's library does wrong is that picture's failure or that judge's, never a number, and is asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import FakeJudge
from PIL import Image
from tiny_judges import build_judge, picture
from tiny_vlms import FAMILIES

import forgekit as fk
from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.models import Judgement, load_model
from forgekit.models.next_word import Answerer
from forgekit.models.running import in_batches
from forgekit.models.weights import EXTRAS
from forgekit.scene import Scene, parse

KINDS = ("fuyu", "qwen3", "clip", "siglip", "owlvit", "grounding-dino")
SCENES = [Scene(text, parse(text)) for text in ("a red circle", "two pink hearts", "a star, no rings")]


class OfALibraryError(Exception):
    """What tokenizers, safetensors and Jinja raise descends from nothing else."""


PICTURES = [picture(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: build_judge(kind, place / kind) for kind in KINDS}


def fresh(folder, **settings):
    """Return a judge with weights of its own, of which nothing is asked that random ones cannot give."""
    judge = load_model("vision_model", str(folder))
    return replace(
        judge, **settings, **({"least_mass": 0.0, "description": ""} if hasattr(judge, "least_mass") else {})
    )


def model_of(judge):
    return next(
        getattr(judge, name) for name in ("_answerer", "_towers", "_detector") if hasattr(type(judge), name)
    ).model


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_image_fails_alone(kind, folders, tmp_path):
    path = tmp_path / "cut.png"
    PICTURES[0].save(path)
    path.write_bytes(path.read_bytes()[:3000])
    verdicts = fresh(folders[kind]).judge([PICTURES[1], Image.open(path), PICTURES[2]], SCENES)
    assert [type(v) for v in verdicts] == [Judgement, ItemError, Judgement]


@pytest.mark.parametrize("error", [AttributeError, AssertionError, NotImplementedError, OfALibraryError, SyntaxError])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_library_raises_at_one_picture_is_its_own_failure(kind, error, folders, monkeypatch):
    judge = load_model("vision_model", str(folders[kind]))
    bad, place = PICTURES[1].tobytes(), type(judge).__module__
    rgb = "forgekit.models.next_word" if "vlm" in place else place.replace(".clip", ".towers")

    def as_rgb(image):
        if image.tobytes() == bad:
            raise error("deep in a library")
        return image

    monkeypatch.setattr(f"{rgb}.as_rgb", as_rgb)
    verdicts = fresh(folders[kind]).judge(PICTURES, SCENES)
    assert [type(v) for v in verdicts] == [Judgement, ItemError, Judgement]
    assert f"{error.__name__}: deep in a library" in verdicts[1].reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_that_overflows_gives_failures_and_no_number(kind, dtype, folders):
    judge = fresh(folders[kind], dtype=dtype, device="cpu")
    large = torch.finfo(getattr(torch, dtype)).max
    with torch.no_grad():
        for weights in model_of(judge).parameters():
            weights.fill_(large)
    verdicts = judge.judge(PICTURES, SCENES)
    assert [type(v) for v in verdicts] == [ItemError] * 3
    assert all("no number (nan)" in v.reason for v in verdicts)


def test_a_verdict_that_was_no_number_is_null_in_the_store_and_asked_for_again(generated, folders):
    judge = fresh(folders["fuyu"])
    head = model_of(judge).get_output_embeddings().weight
    before = head.detach().clone()
    with torch.no_grad():
        head.fill_(float("nan"))
    report = fk.evaluate_images(generated, vision_models=[judge])
    rows = generated.rows("select element_scores, soft_tifa_gm, error from image_evaluations")
    assert report.done == 0 and len(rows) == 6
    assert all(row["element_scores"] is None and row["soft_tifa_gm"] is None for row in rows)
    assert all("no number (nan)" in row["error"] for row in rows)
    with torch.no_grad():
        head.copy_(before)
    assert fk.evaluate_images(generated, vision_models=[judge]).done == 3
    assert {row["error"] for row in generated.rows("select error from image_evaluations")} == {None}


@pytest.mark.parametrize("wrong", [lambda items: items[:-1], lambda items: [*items, "more"], lambda items: []])
def test_fewer_or_more_results_than_items_are_given_to_no_neighbour(wrong):
    def work(items):
        return wrong(list(items)) if "odd" in items else list(items)

    got = in_batches(["a", "odd", "b", "c", "d"], 2, work, FakeJudge())
    assert got[:1] + got[2:] == ["a", "b", "c", "d"]
    assert isinstance(got[1], ItemError) and "results for 1 items" in got[1].reason


def test_an_error_of_ours_ends_the_call_and_is_no_items_failure():
    def work(items):
        raise ParameterError("no such setting; try another")

    with pytest.raises(ParameterError, match="try another"):
        in_batches(["a", "b"], 2, work, FakeJudge())


def test_a_text_that_a_model_cannot_read_fails_its_own_scene_and_is_read_again(folders, monkeypatch):
    judge, read = fresh(folders["clip"]), []
    encode = judge._towers.encode_texts

    def choosy(texts):
        read.extend(texts)
        if len(read) < 100 and SCENES[1].text in texts:
            raise AssertionError("no hearts")
        return encode(texts)

    monkeypatch.setattr(judge._towers, "encode_texts", choosy)
    verdicts = judge.judge(PICTURES, SCENES)
    assert [type(v) for v in verdicts] == [Judgement, ItemError, Judgement]
    assert "no hearts" in verdicts[1].reason
    read.extend([""] * 100)
    assert isinstance(judge.judge(PICTURES[:1], SCENES[1:2])[0], Judgement)


@pytest.fixture(scope="module")
def smolvlm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "smolvlm2"
    for part in FAMILIES["smolvlm2"]():
        part.save_pretrained(folder)
    return str(folder)


def test_a_package_that_a_processor_lacks_ends_its_judge_with_the_extra_that_brings_it(smolvlm, generated, monkeypatch):
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)  # as if it were not there
    judge, loads = replace(load_model("vision_model", smolvlm)), []
    monkeypatch.setattr(
        Answerer, "__init__", lambda self, *a, made=Answerer.__init__: loads.append(a) or made(self, *a)
    )
    report = fk.evaluate_images(generated, vision_models=[FakeJudge(), judge], prompts_per_batch=1)
    assert report.done == 3 and len(loads) == 1  # the others go on, and nobody asks it three times
    errors = {row["error"] for row in generated.rows("select error from image_evaluations where role = 'heldout'")}
    assert len(errors) == 1 and "pip install 'forgekit[vlm]'" in errors.pop()
    with pytest.raises(UnknownModelError, match="num2words"):
        judge.judge(PICTURES[:1], SCENES[:1])


def test_the_extras_that_messages_name_bring_those_packages():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for package, extra in EXTRAS.items():
        assert any(one.startswith(package) for one in project["optional-dependencies"][extra])
