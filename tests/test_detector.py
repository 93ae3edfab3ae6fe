"""The detecting family on small random OWL-ViT, OWLv2 and Grounding DINO models; its rules are in test_geneval.py."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_judges import DETECTORS, build_judge, picture, scene

from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.models import Judgement, VisionModel, load_model, memory
from forgekit.models.detector import Detector, DetectorJudge
from forgekit.scene import Scene, parse

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background", "a star, no rings")
COLORS = ("red", "blue", "green", "yellow", "orange", "purple", "pink", "black", "white", "gray")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: build_judge(kind, place / f"tiny-{kind}") for kind in DETECTORS}


@pytest.fixture(scope="module", params=list(DETECTORS))
def judge(request, folders):
    return load_model("vision_model", str(folders[request.param]))


def test_a_folder_of_each_architecture_is_a_vision_model(judge):
    assert isinstance(judge, DetectorJudge)
    assert isinstance(judge, VisionModel)
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[0])])
    assert set(verdict.element_scores) == {"object:0", "object:1", "color:0", "color:1", "relation:0"}
    assert all(0 <= score <= 1 for score in verdict.element_scores.values())
    assert verdict.text_match_score == pytest.approx(np.prod(list(verdict.element_scores.values())))


@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_scores_and_boxes_are_those_of_the_whole_model(folders, kind):
    """Features of images and phrases are computed apart; the model's own forward and post-processing must agree."""
    detector = Detector(str(folders[kind]), None, "cpu", "float32", "{}")
    image, phrases = picture(3, size=(60, 40)), ["a red circle", "a star"]
    (found,) = detector.propose([image], [phrases])
    inputs = detector.processor(text=[phrases], images=image, return_tensors="pt")
    with torch.no_grad():
        output = detector.model(**inputs)
    (whole,) = detector.processor.post_process_grounded_object_detection(output, 0.0, torch.tensor([[40, 60]]))
    best = found.scores.max(1)
    order, expected = np.argsort(-best), whole["scores"].argsort(descending=True)
    assert best[order][:10] == pytest.approx(whole["scores"][expected].numpy()[:10], abs=1e-5)
    assert found.boxes[order][0] == pytest.approx(whole["boxes"][expected][0].numpy(), abs=1e-3)


def test_grounding_dino_scores_a_phrase_by_its_own_words(folders):
    detector = Detector(str(folders["grounding-dino"]), None, "cpu", "float32", "{}")
    image, phrases = picture(3), ["a red circle", "a star"]
    (found,) = detector.propose([image], [phrases])
    inputs = detector.processor(images=image, text="red circle. star.", return_tensors="pt")
    with torch.no_grad():
        chances = detector.model(**inputs).logits[0].sigmoid()
    assert found.scores[:, 0] == pytest.approx(chances[:, 1:3].mean(1).numpy(), abs=1e-5)  # 0 is [CLS]
    assert found.scores[:, 1] == pytest.approx(chances[:, 4].numpy(), abs=1e-5)  # 3 is "."


def test_phrases_beyond_the_text_limit_get_a_pass_of_their_own(folders):
    detector = Detector(str(folders["grounding-dino"]), None, "cpu", "float32", "{}")
    phrases = [f"a {color} {shape}" for color in COLORS for shape in ("circle", "star", "ring")]
    texts = detector._texts(phrases)
    assert [len(spans) for _, spans in texts] == [20, 10]  # phrases of two words and a stop, in texts of 62
    (found,) = detector.propose([picture(0)], [phrases])
    assert found.scores.shape == (24, 30)  # 12 boxes of each pass


def test_each_phrase_is_encoded_once(folders, monkeypatch):
    judge = DetectorJudge.from_address(str(folders["owlvit"]))
    encoded, encode = [], Detector._encode_phrases
    monkeypatch.setattr(Detector, "_encode_phrases", lambda s, p: encoded.extend(p) or encode(s, p))
    for seed in range(3):
        judge.judge([picture(seed)], [scene(TEXTS[0])])
    assert len(encoded) == len(set(encoded)) > 10


def test_full_memory_halves_the_batch_and_loses_nothing(folders, monkeypatch):
    sizes, propose = [], Detector.propose

    def crowded(self, images, phrases):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return propose(self, images, phrases)

    monkeypatch.setattr(Detector, "propose", crowded)
    judge = DetectorJudge.from_address(str(folders["owlvit"]))
    memory.let_others_go(judge)  # or they would be, before a batch is halved
    verdicts = judge.judge([picture(i) for i in range(5)], [scene(TEXTS[0])] * 5)
    assert all(isinstance(v, Judgement) for v in verdicts)
    assert sizes == [5, 2, 2, 1]


def test_a_model_that_gives_no_numbers_fails_with_a_reason(folders, monkeypatch):
    judge = DetectorJudge.from_address(str(folders["owlvit"]))
    with torch.no_grad():
        judge._detector.model.class_head.dense0.bias.fill_(float("nan"))
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[0])])
    assert isinstance(verdict, ItemError)
    assert "no number" in verdict.reason


@pytest.mark.parametrize(("kind", "words"), [("owlvit", 15), ("owlv2", 15), ("grounding-dino", 61)])
def test_a_phrase_that_is_cut_off_has_no_score_and_its_words_are_counted(folders, kind, words):
    """OWL reads 16 tokens with the end's, Grounding DINO here 64 with its beginning, a stop and its end."""
    article = kind != "grounding-dino"  # which is looked for without
    told = {}
    for more in (0, 3):
        reds = words - 1 - article + more
        elements = parse("a red circle")
        elements["objects"][0]["attributes"][0]["value"] = " ".join(["red"] * reds)
        judge = load_model("vision_model", str(folders[kind]))
        (told[more],) = judge.judge([picture(0)], [Scene("a circle", elements)])
    assert told[0].metrics["truncated_words"] == 0 and told[0].element_scores["color:0"] is not None
    assert told[3].metrics["truncated_words"] == 3 and told[3].element_scores["color:0"] is None
    assert "cannot read all" in told[3].reasons["color:0"] and "not 'red red circle'" in told[3].reasons["color:0"]
    assert told[3].element_scores["object:0"] is not None and told[3].text_match_score is None


def test_the_key_changes_with_thresholds_and_rules_but_not_with_the_batch_size(folders):
    judge = DetectorJudge.from_address(str(folders["owlvit"]))
    for change in (
        {"threshold": 0.2},
        {"count_threshold": 0.8},
        {"shrink": 0.2},
        {"template": "a photo of {}"},
    ):
        assert replace(judge, **change).judge_key != judge.judge_key
    assert replace(judge, batch_size=1, device="cpu").judge_key == judge.judge_key
    assert replace(judge, repo=str(folders["owlv2"])).judge_key != judge.judge_key


@pytest.mark.parametrize(
    ("setting", "value"),
    [("template", "photo"), ("threshold", 0.0), ("count_threshold", 1.5)],
)
def test_settings_that_make_no_sense_are_refused_by_name(setting, value):
    with pytest.raises(ParameterError, match=setting):
        DetectorJudge("x", "y", **{setting: value})


def test_missing_weights_are_an_error_that_names_the_way_out(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["owlvit"] / "config.json").read_text())
    with pytest.raises(UnknownModelError, match=f"`forgekit doctor {tmp_path}` says what the folder lacks"):
        DetectorJudge.from_address(str(tmp_path)).judge([picture(0)], [scene("a star")])


def test_addresses_of_detectors_are_told_from_other_models(tmp_path):
    assert DetectorJudge.from_address("google/owlv2-base-patch16").repo == "google/owlv2-base-patch16"
    assert DetectorJudge.from_address("IDEA-Research/grounding-dino-large")
    assert DetectorJudge.from_address("Qwen/Qwen3-VL-2B-Instruct") is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fuyu"}))
    assert DetectorJudge.from_address(str(tmp_path)) is None
