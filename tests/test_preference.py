"""Preference scores as guard-rails: the library's own figures, kept as evidence, steering nothing and scoring nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from conftest import FakeJudge
from PIL import Image
from tiny_judges import build_clip, build_judge, picture

import forgekit as fk
from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.models import VisionModel, known_models, load_model, load_stored_model
from forgekit.models.preference import PreferenceJudge
from forgekit.scene import Scene, parse
from forgekit.tracking.run_contents import due_runs, read_runs

TEXTS = ("a red circle left of a blue square", "a cat on a red couch", "a red circle left of a blue square")
SCENES = [Scene(text, parse(text)) for text in TEXTS]


PICTURES = [picture(seed, (64, 48 + 16 * seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def pick_folder(tmp_path_factory):
    return build_judge("clip", tmp_path_factory.mktemp("models") / "my-pick")


@pytest.fixture(scope="module")
def pick(pick_folder):
    return replace(load_model("vision_model", f"preference:{pick_folder}"), measure="pick_score")


@pytest.fixture(scope="module")
def hps(tmp_path_factory):
    """A checkpoint in the layout of HPSv2's: the weights under `state_dict`, for a model that open_clip knows by name."""
    folder = build_clip(tmp_path_factory.mktemp("models") / "clip")
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (folder / "tiny-preference.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-preference.json")
    weights = open_clip.create_model(f"local-dir:{folder}").state_dict()
    torch.save({"state_dict": weights}, folder / "hps.pt")
    known = {"measure": "hps_v2", "scaled": False, "resize": "longest"}
    return replace(load_model("vision_model", f"preference:open_clip:tiny-preference/{folder / 'hps.pt'}"), **known)


def test_pick_score_is_the_librarys_own_logit(pick, pick_folder):
    from transformers import AutoModel, AutoProcessor

    assert isinstance(pick, PreferenceJudge) and isinstance(pick, VisionModel) and pick.name == "my-pick"
    model, processor = AutoModel.from_pretrained(pick_folder).eval(), AutoProcessor.from_pretrained(pick_folder)
    with torch.no_grad():
        logits = model(
            **processor(text=list(TEXTS), images=PICTURES, return_tensors="pt", padding=True)
        ).logits_per_image
    verdicts = pick.judge(PICTURES, SCENES)
    told = [verdict.metrics["pick_score"] for verdict in verdicts]
    assert told == pytest.approx(logits.diagonal().tolist(), abs=1e-4)
    assert all(v.element_scores == {} and v.text_match_score is None for v in verdicts)
    alone = [pick.judge([p], [s])[0].metrics["pick_score"] for p, s in zip(PICTURES, SCENES, strict=True)]
    assert told == pytest.approx(alone, abs=1e-5)


def test_hpsv2_is_the_bare_similarity_of_a_picture_that_is_padded_not_cut(hps):
    from torchvision.transforms.functional import normalize, pad, resize, to_tensor

    towers = hps._towers
    model, tokens = towers.model, open_clip.get_tokenizer(hps.model)(list(TEXTS))
    wide = picture(5, (64, 32))  # to 32 x 16, with 8 black rows above and below
    square = pad(resize(wide, [16, 32], interpolation=3), [0, 8, 0, 8])
    pixels = normalize(to_tensor(square), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)[None]
    with torch.no_grad():
        cosine = (model.encode_image(pixels, normalize=True) @ model.encode_text(tokens, normalize=True).T)[0, 0]
    (verdict,) = hps.judge([wide], SCENES[:1])
    assert verdict.metrics["hps_v2"] == pytest.approx(cosine.item(), abs=1e-4)


def test_a_guard_rail_is_stored_as_evidence_and_scores_and_steers_nothing(generated, pick):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9)])
    told = "select status, current_score, best_image_id from prompts order by id"
    before = generated.rows(told)
    report = fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9), pick], backfill=True)
    assert report.details["verdicts of my-pick"] == 6 and report.failed == 0
    rows = generated.rows("select * from image_evaluations where vision_model = 'my-pick'")
    assert len(rows) == 6
    for row in rows:
        assert (row["role"], row["error"], row["element_scores"], row["soft_tifa_gm"]) == ("heldout", None, {}, None)
        assert row["adherence_analysis"]["text_match_score"] is None
        assert isinstance(row["model_output"]["metrics"]["pick_score"], float)
    assert generated.rows(told) == before
    again = fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9), pick], backfill=True)
    assert again.details.get("verdicts of my-pick", 0) == 0


def test_a_guard_rail_has_its_own_table_and_is_in_no_table_of_adherence(generated, pick):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9), pick])
    rows = generated.rows("select model_output from image_evaluations where vision_model = 'my-pick'")
    values = [row["model_output"]["metrics"]["pick_score"] for row in rows]
    table = fk.trends.measures(generated).set_index("measure")
    assert table.loc["pick_score", ["images", "round"]].tolist() == [6, 0]
    assert table.loc["pick_score", "mean"] == pytest.approx(np.mean(values))
    assert table.loc["pick_score", ["lowest", "highest"]].tolist() == pytest.approx([min(values), max(values)])
    assert set(fk.trends.adherence(generated)["vision_model"]) == {"fake-judge"}
    assert len(fk.trends.judge_agreement(generated)) == 0
    assert generated.rows("select distinct evaluation_details ->> '$.vision_model' as v from generated_images") == [
        {"v": "fake-judge"}
    ]


def test_the_mirror_shows_what_a_guard_rail_measures_and_no_score(generated, pick):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9), pick])
    due = [run for run in due_runs(generated) if run.vision_model == "my-pick"]
    assert len(due) == 3
    for run in read_runs(generated, due):
        named = {name: value for name, value, _ in run.metrics}
        assert np.isfinite(named["measure/pick_score"])
        assert named["images/without_verdict"] == 0 and not any(name.startswith(("score/", "dist/")) for name in named)


def test_a_guard_rail_named_first_is_refused_before_anything_is_written(generated, pick):
    with pytest.raises(ParameterError, match="can watch but not steer; name a judge that does first"):
        fk.evaluate_images(generated, vision_models=[pick, FakeJudge()])
    assert generated.rows("from image_evaluations") == []
    assert {row["status"] for row in generated.rows("select status from prompts")} == {"generated"}


def test_a_study_compares_by_scores_and_refuses_a_judge_without(tmp_path):
    from forgekit.study.plan import Study, check_plan

    plan = Study("x", prompts="scenes.csv", arms=["resample", "refine"], vision_models=["mini-owl", "PickScore"])
    with pytest.raises(ParameterError, match=r"\['PickScore'\] score no elements"):
        check_plan(plan)


def test_preference_judges_are_known_by_name_and_data_may_name_those_and_no_folder_elsewhere(pick_folder):
    known = known_models("vision_model")
    assert known["HPSv2"] is known["HPSv2.1"] and known["PickScore"].measure == "pick_score"
    assert load_stored_model("vision_model", "PickScore") is known["PickScore"]
    with pytest.raises(UnknownModelError, match="lies outside"):
        load_stored_model("vision_model", "preference:/somewhere/else")
    with pytest.raises(UnknownModelError, match="names code"):
        load_stored_model("vision_model", "preference:module:factory")


def test_a_picture_that_cannot_be_read_and_weights_that_give_no_number_are_failures(pick, tmp_path):
    picture(0).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    good, bad = pick.judge([picture(1), Image.open(tmp_path / "cut.png")], SCENES[:2])
    assert "pick_score" in good.metrics and isinstance(bad, ItemError)
    broken = replace(pick)
    with torch.no_grad():
        broken._towers.model.visual_projection.weight.fill_(float("nan"))
    (verdict,) = broken.judge([picture(0)], SCENES[:1])
    assert isinstance(verdict, ItemError) and "no number (nan)" in verdict.reason


def test_missing_weights_end_the_judge_with_what_would_help(tmp_path):
    with pytest.raises(UnknownModelError, match="hf download nobody/nothing none.pt"):
        replace(known_models("vision_model")["HPSv2"], pretrained="nobody/nothing/none.pt").judge(
            [picture(0)], SCENES[:1]
        )
