"""The contrastive family on small open_clip models of random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from tiny_judges import TOWERS, build_clip, build_judge, picture, scene

from forgekit.errors import ParameterError, UnknownModelError
from forgekit.models import Judgement, VisionModel, load_model, memory, towers
from forgekit.models.clip import ContrastiveJudge, Plan
from forgekit.scene import Scene, parse
from forgekit.scene.elements import NOTHING

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background, watercolor", "a star, no rings")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="module")
def judge(folder):
    return load_model("vision_model", str(folder))


def test_a_folder_of_open_clip_is_a_vision_model(judge):
    assert isinstance(judge, ContrastiveJudge)
    assert isinstance(judge, VisionModel)
    assert judge.name == "tiny-clip"


def test_every_element_has_a_probability_and_a_score_is_the_softmax_over_its_contrasts(judge, folder):
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[0])])
    assert set(verdict.element_scores) == {"object:0", "object:1", "color:0", "color:1", "relation:0"}
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    colors = ("red", "green", "yellow", "purple", "pink", "black", "white", "gray", "brown")
    phrase, *contrasts = "a blue square", "an orange square", *(f"a {c} square" for c in colors)
    with torch.no_grad():
        image = model.encode_image(preprocess(picture(0))[None], normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")([phrase, *contrasts]), normalize=True)
        chances = (model.logit_scale.exp() * image @ text.T).softmax(-1)[0]
    assert verdict.element_scores["color:1"] == pytest.approx(chances[0].item(), abs=1e-5)


def test_clip_score_is_that_of_hessel_and_the_decomposed_one_its_mean_over_phrases(judge, folder):
    (verdict,) = judge.judge([picture(1)], [scene("a red star")])
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    texts = open_clip.get_tokenizer(f"local-dir:{folder}")(["a red star", "a star"])
    with torch.no_grad():
        cosine = model.encode_image(preprocess(picture(1))[None], True) @ model.encode_text(texts, True).T
    whole, star = (2.5 * cosine.clamp(min=0)[0]).tolist()
    assert verdict.metrics["clip_score"] == pytest.approx(whole, abs=1e-5)
    assert verdict.metrics["decomposed_clip_score"] == pytest.approx((star + whole) / 2, abs=1e-5)
    assert verdict.text_match_score == pytest.approx(min(whole, 1.0), abs=1e-5)


def test_a_contrast_that_the_scene_asks_for_elsewhere_is_no_contrast():
    plan = Plan.of(scene("a scarlet disc next to a blue box"), {})
    contrasts = {element.key: options for element, options in plan.options}
    assert "a square" not in contrasts["object:0"]  # the box is one
    assert "a triangle" in contrasts["object:0"]


def test_absence_is_success_for_a_negation(judge):
    (verdict,) = judge.judge([picture(2)], [scene("a star, no rings")])
    towers = judge._towers
    image = towers.encode_images([picture(2)])[0]
    ring, nothing = (towers.scale * float(image @ t) for t in towers.encode_texts(["a ring", NOTHING]))
    assert verdict.element_scores["negation:0"] == pytest.approx(1 / (1 + np.exp(ring - nothing)), abs=1e-5)


def test_full_memory_halves_the_batch_and_loses_nothing(judge, monkeypatch):
    sizes = []
    encode = towers.Towers.encode_images

    def crowded(self, images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, images)

    monkeypatch.setattr(towers.Towers, "encode_images", crowded)
    memory.let_others_go(judge)  # or they would be, before a batch is halved
    verdicts = judge.judge([picture(i) for i in range(5)], [scene(TEXTS[0])] * 5)
    assert all(isinstance(v, Judgement) for v in verdicts)
    assert sizes == [5, 2, 2, 1]


def test_each_distinct_phrase_and_each_image_is_encoded_once(judge, monkeypatch):
    fresh, texts, images = replace(judge), [], []
    encode_texts, encode_images = towers.Towers.encode_texts, towers.Towers.encode_images
    monkeypatch.setattr(towers.Towers, "encode_texts", lambda s, t: texts.extend(t) or encode_texts(s, t))
    monkeypatch.setattr(towers.Towers, "encode_images", lambda s, i: images.extend(i) or encode_images(s, i))
    one = picture(0)
    for _ in range(2):
        fresh.judge([one, one, picture(1)], [scene(TEXTS[0])] * 3)
    assert len(texts) == len(set(texts))
    assert len(images) == 4


def test_what_a_context_cuts_off_is_recorded(judge):
    long = "a red circle " + "very " * 80 + "bright"
    (verdict,) = judge.judge([picture(0)], [Scene(long, parse("a red circle"))])
    assert verdict.metrics["truncated_words"] == 9  # 84 words, of which the start and end tokens leave 75
    assert verdict.reasons["text"].endswith("bright")


def test_the_key_changes_with_the_template_and_the_weights_but_not_with_the_batch_size(judge, tmp_path):
    other = build_clip(tmp_path / "tiny-clip", init_logit_bias=-1.0)
    assert replace(judge, template="a photo of {}").judge_key != judge.judge_key
    assert replace(judge, model=f"local-dir:{other}").judge_key != judge.judge_key
    assert replace(judge, batch_size=1, device="cpu").judge_key == judge.judge_key


def test_missing_weights_are_an_error_that_names_the_way_out(folder, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(UnknownModelError, match="local-dir:/path"):
        ContrastiveJudge.from_address(f"local-dir:{tmp_path}").judge([picture(0)], [scene("a star")])


def test_a_template_without_a_place_for_the_phrase_is_refused():
    with pytest.raises(ParameterError, match="where the text belongs"):
        ContrastiveJudge("x", "ViT-B-32", template="a photo")


def test_addresses_name_open_clip_models_folders_and_hub_repositories(folder):
    named = ContrastiveJudge.from_address("open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert (named.model, named.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert ContrastiveJudge.from_address(f"local-dir:{folder}").model == f"local-dir:{folder}"
    assert ContrastiveJudge.from_address("laion/CLIP-ViT-B-32-laion2B-s34B-b79K").model.startswith("hf-hub:laion/")
    assert ContrastiveJudge.from_address("Qwen/Qwen3-VL-2B-Instruct") is None


@pytest.mark.parametrize("kind", list(TOWERS))
def test_towers_of_transformers_are_a_judge_with_the_similarities_of_the_library(kind, tmp_path):
    from transformers import AutoModel, AutoProcessor

    folder = build_judge(kind, tmp_path / f"my-{kind}")
    judge = load_model("vision_model", str(folder))
    assert isinstance(judge, ContrastiveJudge) and judge.name == f"my-{kind}"
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    texts = ["a red circle", "a red circle on a blue star", "a cat"]
    siglip = kind.startswith("siglip")
    padding = {"padding": "max_length", "max_length": 16} if siglip else {"padding": True}
    images = [picture(seed) for seed in range(3)]
    with torch.no_grad():
        wanted = model(**processor(text=texts, images=images, return_tensors="pt", **padding)).logits_per_image
    pair = judge._towers
    seen, read = np.stack(pair.encode_images(images)), np.stack(pair.encode_texts(texts))
    assert pair.scale * seen @ read.T + pair.bias == pytest.approx(wanted.numpy(), abs=1e-4)
    assert pair.biased == siglip
    cut = 16 if kind == "siglip2" else 5  # of 16 places the last is the end token's; it has a token for each letter
    assert pair.cut_off("red " * 20) == " ".join(["red"] * cut) and pair.cut_off("red") == ""
    verdicts = judge.judge(images, [scene(TEXTS[0])] * 3)
    assert all(set(v.element_scores) == {"object:0", "object:1", "color:0", "color:1", "relation:0"} for v in verdicts)
    assert load_model("vision_model", f"{folder}?template=a photo of {{}}").judge_key != judge.judge_key
