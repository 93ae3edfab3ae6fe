"""The detecting family: its rules on hand-made boxes, and small random OWL-ViT, OWLv2 and Grounding DINO models."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.mini import train_owl
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.models import detecting as module
from forgekit.models.detecting import Detector, Proposals
from forgekit.models.detector import KNOWN, DetectorJudge, from_address, is_detector
from forgekit.models.sighting import Rules, Sighting, compbench_position, geneval_position
from forgekit.models.sought import Sought
from forgekit.scene import Scene, parse

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background", "a star, no rings")
RULES = Rules(0.5, 0.5, 16, 0.5, "geneval", 0.1, 0.6)
LEFT, RIGHT = (2, 20, 22, 40), (40, 20, 60, 40)  # boxes of 20 pixels


def scene(text: str) -> Scene:
    return Scene(text, parse(text))


def picture(seed: int, size=(64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def sight(text: str, found: list[tuple[tuple, dict[str, float]]], rules: Rules = RULES) -> Sighting:
    """Judge `text` on boxes with the scores of some phrases; all other phrases score 0.01."""
    sought = Sought.of(scene(text), ("color",), rivals=True)
    boxes = np.array([box for box, _ in found], dtype=float).reshape(-1, 4)
    scores = np.array([[named.get(p, 0.01) for p in sought.phrases] for _, named in found]).reshape(len(found), -1)
    sighting = Sighting(sought, Proposals(boxes, scores), rules)
    for check in sought.checks:
        sighting.judge(check)
    return sighting


RED_CIRCLE = {"a circle": 0.9, "a red circle": 0.9}
BLUE_CIRCLE = {"a circle": 0.9, "a blue circle": 0.9}
BLUE_SQUARE = {"a square": 0.9, "a blue square": 0.9}


def test_an_element_has_the_odds_of_its_box_against_threshold_and_best_rival():
    sighting = sight("a red circle", [(LEFT, {"a circle": 0.9, "a red circle": 0.8, "a blue circle": 0.5})])
    assert sighting.scores["color:0"] == pytest.approx(4 / (4 + 1 + 1))  # 0.8 has odds 4; the threshold and blue have 1
    assert sighting.scores["object:0"] == pytest.approx(9 / (9 + 1 + 0.01 / 0.99))
    assert sighting.reasons == {}


def test_a_score_at_the_threshold_gives_one_half():
    rules = replace(RULES, threshold=0.3)
    sighting = sight("a star", [(LEFT, {"a star": 0.3})], rules)
    assert sighting.scores["object:0"] == pytest.approx(0.5, abs=0.01)


def test_another_color_at_the_place_is_named_in_the_reason():
    sighting = sight("a red circle", [(LEFT, {**BLUE_CIRCLE, "a red circle": 0.4})])
    assert sighting.scores["object:0"] > 0.8
    assert sighting.scores["color:0"] < 0.1
    assert sighting.reasons["color:0"] == "expected a red circle, found a blue circle"
    assert sighting.unwanted() == ["a blue circle instead of a red circle"]


def test_a_count_needs_that_many_and_no_more():
    three = [(LEFT, RED_CIRCLE), (RIGHT, RED_CIRCLE), ((22, 44, 40, 62), RED_CIRCLE)]
    two = sight("two red circles", three[:2])
    assert two.scores["count:0"] == pytest.approx(0.9, abs=0.01)  # of the second, and no third box at all
    assert two.scores["color:0"] == pytest.approx(0.9, abs=0.01)
    assert sight("two red circles", three[:1]).scores["count:0"] == 0
    more = sight("two red circles", three)
    assert more.scores["count:0"] == pytest.approx(0.9 * 0.1, abs=0.01)
    assert more.reasons["count:0"] == "expected 2 circles, found 3"
    assert more.unwanted() == ["three circles instead of 2 circles"]
    assert more.description() == "three red circles"


def test_each_of_several_must_have_the_color():
    sighting = sight("two red circles", [(LEFT, RED_CIRCLE), (RIGHT, BLUE_CIRCLE)])
    assert sighting.scores["count:0"] > 0.8
    assert sighting.scores["color:0"] < 0.1
    assert sighting.reasons["color:0"] == "expected 2 red circles, found 1"


def test_boxes_of_one_thing_are_counted_once():
    sighting = sight("a red circle", [(LEFT, RED_CIRCLE), ((3, 21, 23, 41), {"a circle": 0.8, "a red circle": 0.8})])
    assert sighting.description() == "a red circle"


def test_a_box_without_area_is_one_box():
    sighting = sight("a red circle", [((5, 5, 5, 5), RED_CIRCLE)])
    assert sighting.scores["color:0"] == pytest.approx(0.9, abs=0.01)


def test_a_relation_needs_both_things_and_the_direction():
    right = sight(TEXTS[0], [(LEFT, RED_CIRCLE), (RIGHT, BLUE_SQUARE)])
    assert right.scores["relation:0"] == pytest.approx(0.9 * 0.9, abs=0.02)
    turned = sight(TEXTS[0], [(RIGHT, RED_CIRCLE), (LEFT, BLUE_SQUARE)])
    assert turned.scores["relation:0"] < 0.01
    assert turned.reasons["relation:0"] == "expected a red circle left of a blue square, found it right of"
    alone = sight(TEXTS[0], [(LEFT, RED_CIRCLE)])
    assert alone.reasons["relation:0"].endswith("found no blue square")


def test_swapped_colors_are_seen():
    found = [(LEFT, BLUE_CIRCLE), (RIGHT, {"a square": 0.9, "a red square": 0.9})]
    sighting = sight(TEXTS[0], found)
    assert min(sighting.scores["object:0"], sighting.scores["object:1"]) > 0.8
    assert max(sighting.scores["color:0"], sighting.scores["color:1"], sighting.scores["relation:0"]) < 0.1


def test_absence_is_success_for_a_negation():
    absent = sight(TEXTS[2], [(LEFT, {"a star": 0.9})])
    assert absent.scores["negation:0"] > 0.9
    present = sight(TEXTS[2], [(LEFT, {"a star": 0.9}), (RIGHT, {"a ring": 0.9})])
    assert present.scores["negation:0"] == pytest.approx(0.1, abs=0.01)
    assert present.reasons == {"negation:0": "expected no ring, found 1"}
    assert present.unwanted() == ["a ring"]


def test_an_asked_thing_is_not_mistaken_for_the_negated_one():
    sighting = sight(TEXTS[2], [(LEFT, {"a star": 0.95, "a ring": 0.6})])
    assert sighting.scores["negation:0"] > 0.9


def test_other_things_than_those_asked_for_are_unwanted():
    sighting = sight("a star", [(LEFT, {"a star": 0.9}), (RIGHT, {"a heart": 0.9})])
    assert sighting.unwanted() == ["a heart"]
    assert sighting.reasons == {}


def test_a_place_goes_to_the_object_that_fits_it_best():
    sighting = sight("a circle next to a square", [(LEFT, {"a square": 0.95, "a circle": 0.6})])
    assert sighting.scores["object:0"] < 0.1
    assert sighting.reasons["object:0"] == "expected a circle, found a square"


def test_geneval_positions_need_distance_and_direction():
    box = np.array(LEFT, dtype=float)
    assert geneval_position(box, box + np.array([30, 0, 30, 0]), (-1, 0), 0.1) == pytest.approx(1 / (1 + np.exp(-5)))
    # 0.1 of both sizes is 4 pixels: what is moved by less has no direction
    assert geneval_position(box, box + np.array([3, 3, 3, 3]), (-1, 0), 0.1) == pytest.approx(1 / (1 + np.exp(5)))
    # (12 - 4, 12 - 4): the share of either axis is 0.707, so this is left of and above at once
    both = [geneval_position(box, box + 12, way, 0.1) for way in ((-1, 0), (0, -1))]
    assert both == pytest.approx([1 / (1 + np.exp(-(0.5**0.5 - 0.5) / 0.1))] * 2)


def test_compbench_positions_follow_the_longer_axis_and_punish_overlap():
    box = np.array(LEFT, dtype=float)
    assert compbench_position(box, box + np.array([30, 10, 30, 10]), (-1, 0), 0.1) > 0.9
    assert compbench_position(box, box + np.array([30, 10, 30, 10]), (0, -1), 0.1) < 0.1
    # moved by half its width: a third of the union is shared
    overlapping = compbench_position(box, box + np.array([10, 0, 10, 0]), (-1, 0), 0.1)
    assert overlapping == pytest.approx(0.3 / (1 + np.exp(-5)))


def test_style_and_background_are_beyond_a_detector():
    kinds = {
        check.element.kind
        for check in Sought.of(scene("two red stars on a pink background, watercolor"), ("color",), rivals=True).checks
    }
    assert kinds == {"object", "count", "color"}


# the models


def build_owl(folder):
    torch.manual_seed(0)
    model, processor = train_owl.build_model(train_owl.build_tokenizer())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_owlv2(folder):
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    torch.manual_seed(0)
    tokenizer = train_owl.build_tokenizer()
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 24, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = Owlv2Config(
        text_config={**text, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**vision, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    images = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def build_grounding(folder):
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(0)
    words = train_owl.world_words(["brown couch"])
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *words]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    swin = {"image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
    config = GroundingDinoConfig(
        backbone_config={"model_type": "swin", **swin, "out_features": ["stage2", "stage3", "stage4"]},
        text_config={"model_type": "bert", **text, "vocab_size": len(vocabulary)},
        d_model=32,
        **{"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 12, "max_text_len": 64},
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"height": 128, "width": 128})
    GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


BUILDERS = {"owlvit": build_owl, "owlv2": build_owlv2, "grounding-dino": build_grounding}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: build(place / f"tiny-{kind}") for kind, build in BUILDERS.items()}


@pytest.fixture(scope="module", params=list(BUILDERS))
def judge(request, folders):
    return load_model("vision_model", str(folders[request.param]))


def test_a_folder_of_each_architecture_is_a_vision_model(judge):
    assert isinstance(judge, DetectorJudge)
    assert isinstance(judge, VisionModel)
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[0])])
    assert set(verdict.element_scores) == {"object:0", "object:1", "color:0", "color:1", "relation:0"}
    assert all(0 <= score <= 1 for score in verdict.element_scores.values())
    assert verdict.text_match_score == pytest.approx(np.prod(list(verdict.element_scores.values())))


def test_a_batch_gives_the_verdicts_of_single_images(judge):
    images, scenes = [picture(i) for i in range(5)], [scene(TEXTS[i % 3]) for i in range(5)]
    together = replace(judge, batch_size=4).judge(images, scenes)
    alone = [judge.judge([i], [s])[0] for i, s in zip(images, scenes, strict=True)]
    for a, b in zip(together, alone, strict=True):
        assert a.element_scores == pytest.approx(b.element_scores, abs=1e-4)


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
    phrases = [f"a {color} {shape}" for color in train_owl.COLORS for shape in ("circle", "star", "ring")]
    parts = detector._parts(phrases)
    assert [p for part in parts for p in part] == phrases
    assert len(parts) == 2  # 30 phrases of two words and a stop, in texts of 62
    (found,) = detector.propose([picture(0)], [phrases])
    assert found.scores.shape == (24, 30)  # 12 boxes of each pass


def test_each_phrase_is_encoded_once(folders, monkeypatch):
    judge = from_address(str(folders["owlvit"]))
    encoded, encode = [], module.Detector._encode_phrases
    monkeypatch.setattr(module.Detector, "_encode_phrases", lambda s, p: encoded.extend(p) or encode(s, p))
    for seed in range(3):
        judge.judge([picture(seed)], [scene(TEXTS[0])])
    assert len(encoded) == len(set(encoded)) > 10


def test_a_damaged_image_fails_alone(judge, tmp_path):
    path = tmp_path / "cut.png"
    picture(0).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    verdicts = judge.judge([picture(1), Image.open(path), picture(2)], [scene(TEXTS[0])] * 3)
    assert isinstance(verdicts[1], ItemError)
    assert [type(v) for v in (verdicts[0], verdicts[2])] == [Judgement, Judgement]


def test_full_memory_halves_the_batch_and_loses_nothing(folders, monkeypatch):
    sizes, propose = [], module.Detector.propose

    def crowded(self, images, phrases):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return propose(self, images, phrases)

    monkeypatch.setattr(module.Detector, "propose", crowded)
    judge = from_address(str(folders["owlvit"]))
    verdicts = judge.judge([picture(i) for i in range(5)], [scene(TEXTS[0])] * 5)
    assert all(isinstance(v, Judgement) for v in verdicts)
    assert sizes == [5, 2, 2, 1]


def test_a_model_that_gives_no_numbers_fails_with_a_reason(folders, monkeypatch):
    judge = from_address(str(folders["owlvit"]))
    with torch.no_grad():
        judge._detector.model.class_head.dense0.bias.fill_(float("nan"))
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[0])])
    assert isinstance(verdict, ItemError)
    assert "no number" in verdict.reason


def test_a_phrase_that_is_cut_off_has_no_score_and_says_so(folders):
    long = "a " + "red " * 20 + "circle"
    elements = parse("a red circle")
    elements["objects"][0]["attributes"][0]["value"] = "red " * 19 + "red"
    (verdict,) = from_address(str(folders["owlvit"])).judge([picture(0)], [Scene(long, elements)])
    assert verdict.element_scores["color:0"] is None
    assert "cannot read all" in verdict.reasons["color:0"]
    assert verdict.element_scores["object:0"] is not None
    assert verdict.text_match_score is None


def test_the_key_changes_with_thresholds_and_rules_but_not_with_the_batch_size(folders):
    judge = from_address(str(folders["owlvit"]))
    for change in (
        {"threshold": 0.2},
        {"count_threshold": 0.8},
        {"position_rule": "t2i-compbench"},
        {"template": "a photo of {}"},
    ):
        assert replace(judge, **change).judge_key != judge.judge_key
    assert replace(judge, batch_size=1, device="cpu").judge_key == judge.judge_key
    assert replace(judge, repo=str(folders["owlv2"])).judge_key != judge.judge_key


@pytest.mark.parametrize(
    ("setting", "value"),
    [("template", "photo"), ("position_rule", "near"), ("threshold", 0.0), ("count_threshold", 1.5)],
)
def test_settings_that_make_no_sense_are_refused_by_name(setting, value):
    with pytest.raises(ParameterError, match=setting):
        DetectorJudge("x", "y", **{setting: value})


def test_missing_weights_are_an_error_that_names_the_way_out(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["owlvit"] / "config.json").read_text())
    with pytest.raises(UnknownModelError, match="hf download"):
        from_address(str(tmp_path)).judge([picture(0)], [scene("a star")])


def test_addresses_of_detectors_are_told_from_other_models(tmp_path):
    assert from_address("google/owlv2-base-patch16").repo == "google/owlv2-base-patch16"
    assert is_detector("IDEA-Research/grounding-dino-tiny")
    assert not is_detector("Qwen/Qwen3-VL-2B-Instruct")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fuyu"}))
    assert from_address(str(tmp_path)) is None
    assert {"OWL-ViT", "OWLv2", "Grounding-DINO", "Grounding-DINO-tiny"} <= set(KNOWN)
