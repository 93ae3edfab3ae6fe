"""The question-answering family on small models of random weights: Fuyu, Qwen2.5-VL and SmolVLM's architecture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.mini import train_fuyu
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.models import answering as module
from forgekit.models.answering import Answerer
from forgekit.models.vqa import KNOWN, NUMBERS, VQAJudge, from_address
from forgekit.scene import Scene, parse
from training.judge_training import world_words
from training.questions import question_words

TEXTS = ("a red circle left of a blue square", "two pink hearts on a white background, watercolor", "a star, no rings")
QUESTIONS = ["Is there a red circle?", "How many hearts are there?", "Is the background pink?"]


def scene(text: str) -> Scene:
    return Scene(text, parse(text))


def picture(seed: int, size=(64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def save(model, processor, folder):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_fuyu(folder):
    torch.manual_seed(0)
    return save(*train_fuyu.build_model(train_fuyu.build_tokenizer()), folder)


def chat_tokenizer(specials):
    """One token a word, like that of the big ones in what matters here: special tokens, and a blank that counts."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = world_words([*question_words(), "answer in one word user assistant", *NUMBERS, "yes no Yes No Is How What"])
    names = [*specials, "<unk>", "\n", "\n\n", ":", "?", ".", '"', *words]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), "removed", invert=True)
    extra = [s for s in specials if s not in ("<pad>", "<eos>")]
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>"
    )
    wrapped.add_special_tokens({"additional_special_tokens": extra})
    return wrapped


def build_qwen(folder):
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    torch.manual_seed(0)
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = chat_tokenizer(["<pad>", "<eos>", *marks])
    ids = dict(zip(marks, tokenizer.convert_tokens_to_ids(marks), strict=True))
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 32, "depth": 2, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(
        text_config={
            **text,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            **{"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0},
        },
        vision_config={**vision, "patch_size": 8, "fullatt_block_indexes": [1], "window_size": 32},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    pixels = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 4096}}
    template = (
        "<|im_start|>user\n{% for part in messages[0]['content'] %}{% if part['type'] == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=template,
    )
    return save(Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def build_idefics(folder):
    """SmolVLM's architecture under its older name; SmolVLM's own processor needs one more library, for videos."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor, Idefics3Processor

    torch.manual_seed(0)
    marks = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]
    tokenizer = chat_tokenizer(["<pad>", "<eos>", *marks])
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Idefics3Config(
        text_config={
            "model_type": "llama",
            **text,
            "vocab_size": len(tokenizer),
            **{"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0},
        },
        vision_config={**vision, "image_size": 32, "patch_size": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    template = (
        "User : {% for part in messages[0]['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
        "{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\nAssistant :"
    )
    sizes = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 32}, "do_image_splitting": False}
    processor = Idefics3Processor(Idefics3ImageProcessor(**sizes), tokenizer, image_seq_len=4, chat_template=template)
    return save(Idefics3ForConditionalGeneration(config), processor, folder)


BUILDERS = {"fuyu": build_fuyu, "qwen": build_qwen, "smolvlm": build_idefics}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: build(place / f"tiny-{kind}") for kind, build in BUILDERS.items()}


@pytest.fixture(scope="module", params=list(BUILDERS))
def judge(request, folders):
    """Random weights put little on any answer, so nothing is asked of the mass, and descriptions are short."""
    return replace(load_model("vision_model", str(folders[request.param])), least_mass=0.0, description_tokens=3)


@pytest.fixture(scope="module")
def fuyu(folders):
    return replace(from_address(str(folders["fuyu"])), prompt="{}", least_mass=0.0, description="")


def test_a_folder_of_each_architecture_is_a_vision_model(judge):
    assert isinstance(judge, VQAJudge)
    assert isinstance(judge, VisionModel)
    (verdict,) = judge.judge([picture(0)], [scene(TEXTS[1])])
    assert set(verdict.element_scores) == {"object:0", "count:0", "color:0", "background", "style"}
    assert all(0 <= score <= 1 for score in verdict.element_scores.values())
    assert verdict.style_deviation == pytest.approx(1 - verdict.element_scores["style"])


def test_one_pass_over_an_image_gives_what_a_pass_for_each_question_gives(judge):
    answerer = judge._answerer
    images = [picture(0), picture(1)]
    shared = answerer.next_word(images, [QUESTIONS, QUESTIONS[:2]])
    assert answerer._shares  # all three architectures can
    with torch.no_grad():
        whole = [[answerer._whole(image, q) for q in QUESTIONS] for image in images]
    assert [rows.shape[0] for rows in shared] == [3, 2]
    for rows, expected in zip(shared, whole, strict=True):
        for row, chances in zip(rows, expected, strict=False):
            assert row.numpy() == pytest.approx(chances.numpy(), abs=1e-5)


def test_a_batch_gives_the_verdicts_of_single_images(judge):
    images, scenes = [picture(i) for i in range(5)], [scene(TEXTS[i % 3]) for i in range(5)]
    together = replace(judge, batch_size=4).judge(images, scenes)
    alone = [judge.judge([i], [s])[0] for i, s in zip(images, scenes, strict=True)]
    for a, b in zip(together, alone, strict=True):
        assert a.element_scores == pytest.approx(b.element_scores, abs=1e-5)
        assert a.description == b.description


def test_images_of_several_sizes_can_share_a_batch(judge):
    verdicts = judge.judge([picture(0), picture(1, (96, 64)), picture(2)], [scene(TEXTS[0])] * 3)
    assert all(isinstance(v, Judgement) for v in verdicts)


def test_a_model_without_a_shared_pass_answers_each_question_on_its_own(fuyu, monkeypatch):
    expected = fuyu.judge([picture(0)], [scene(TEXTS[0])])[0].element_scores
    monkeypatch.setattr(
        Answerer, "_shared", lambda self, images, questions: (_ for _ in ()).throw(TypeError("no cache"))
    )
    fresh = replace(fuyu)
    (verdict,) = fresh.judge([picture(0)], [scene(TEXTS[0])])
    assert fresh._answerer._shares is False
    assert verdict.element_scores == pytest.approx(expected, abs=1e-5)


def test_a_score_is_the_share_of_the_right_answer_among_the_possible_ones(fuyu):
    (verdict,) = fuyu.judge([picture(1)], [scene("a star, no rings")])
    answerer = fuyu._answerer
    with torch.no_grad():
        words = {q: answerer._whole(picture(1), q) for q in ("Is there a star?", "Is there a ring?")}
    vocabulary = answerer.tokenizer.get_vocab()
    chance = {q: {a: row[vocabulary[a]].item() for a in ("yes", "no")} for q, row in words.items()}
    star, ring = chance["Is there a star?"], chance["Is there a ring?"]
    assert verdict.element_scores["object:0"] == pytest.approx(star["yes"] / (star["yes"] + star["no"]), abs=1e-5)
    # The adherent answer about what should be absent is no.
    assert verdict.element_scores["negation:0"] == pytest.approx(ring["no"] / (ring["yes"] + ring["no"]), abs=1e-5)
    assert verdict.metrics["soft_tifa_am"] == pytest.approx((star["yes"] + ring["no"]) / 2, abs=1e-5)
    assert verdict.metrics["soft_tifa_gm"] == pytest.approx((star["yes"] * ring["no"]) ** 0.5, abs=1e-5)


def test_a_count_is_asked_for_and_scored_among_all_numbers(fuyu):
    (verdict,) = fuyu.judge([picture(1)], [scene("two pink hearts")])
    answerer = fuyu._answerer
    with torch.no_grad():
        row = answerer._whole(picture(1), "How many hearts are there?")
    vocabulary = answerer.tokenizer.get_vocab()
    numbers = {word: row[vocabulary[word]].item() for word in NUMBERS if word in vocabulary}
    assert {"zero", "one", "two", "three", "four"} <= set(numbers)
    assert verdict.element_scores["count:0"] == pytest.approx(numbers["two"] / sum(numbers.values()), abs=1e-5)
    (asked,) = replace(fuyu, count_questions=False).judge([picture(1)], [scene("two pink hearts")])
    with torch.no_grad():
        row = answerer._whole(picture(1), "Are there two hearts?")
    yes, no = (row[vocabulary[a]].item() for a in ("yes", "no"))
    assert asked.element_scores["count:0"] == pytest.approx(yes / (yes + no), abs=1e-5)


def test_an_unanswered_question_is_null_with_its_reason(fuyu):
    (verdict,) = replace(fuyu, least_mass=0.9).judge([picture(0)], [scene("a star")])
    assert verdict.element_scores == {"object:0": None}
    assert verdict.text_match_score is None
    assert verdict.reasons["object:0"].startswith("Is there a star? was not answered: only 0.0")
    assert 0 < verdict.metrics["answer_mass"] < 0.9


def test_a_number_seen_instead_of_the_asked_one_is_unwanted(fuyu, monkeypatch):
    vocabulary = fuyu._answerer.tokenizer.get_vocab()

    def three(self, images, questions):
        rows = torch.full((len(questions[0]), len(vocabulary)), 1e-6)
        rows[:, vocabulary["three"]] = rows[:, vocabulary["yes"]] = 0.5
        return [rows] * len(images)

    monkeypatch.setattr(Answerer, "next_word", three)
    (verdict,) = fuyu.judge([picture(0)], [scene("two hearts, no rings")])
    assert verdict.unwanted_elements == ["three instead of two hearts", "a ring"]
    assert verdict.reasons["count:0"] == "How many hearts are there? three (1.00)"
    assert verdict.element_scores["negation:0"] < 0.01


def test_a_damaged_image_fails_alone(judge, tmp_path):
    path = tmp_path / "cut.png"
    picture(0).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    verdicts = judge.judge([Image.open(path), picture(1), picture(2)], [scene(TEXTS[0])] * 3)
    assert isinstance(verdicts[0], ItemError)
    assert [type(v) for v in verdicts[1:]] == [Judgement, Judgement]


def test_full_memory_halves_the_batch_and_loses_nothing(folders, monkeypatch):
    sizes, shared = [], Answerer._shared

    def crowded(self, images, questions):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return shared(self, images, questions)

    monkeypatch.setattr(Answerer, "_shared", crowded)
    judge = replace(from_address(str(folders["fuyu"])), prompt="{}", description="", batch_size=5)
    verdicts = judge.judge([picture(i) for i in range(5)], [scene("a star")] * 5)
    assert all(isinstance(v, Judgement) for v in verdicts)
    assert sizes == [1, 5, 2, 2, 1]  # the first is the check that passes can be shared


def test_full_memory_during_the_check_does_not_give_up_sharing(folders, monkeypatch):
    calls, shared = [], Answerer._shared

    def crowded(self, images, questions):
        calls.append(len(images))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return shared(self, images, questions)

    monkeypatch.setattr(Answerer, "_shared", crowded)
    judge = replace(from_address(str(folders["fuyu"])), prompt="{}", description="")
    assert all(isinstance(v, Judgement) for v in judge.judge([picture(0), picture(1)], [scene("a star")] * 2))
    assert judge._answerer._shares


def test_an_answer_without_a_token_of_its_own_is_refused_at_load(folders, monkeypatch):
    judge = from_address(str(folders["fuyu"]))
    answerer = judge._answerer
    monkeypatch.setattr(answerer, "tokenizer", answerer.tokenizer)
    with pytest.raises(ParameterError, match="no spelling of 'perhaps'"):
        module.distinct_answers(answerer, {"yes": ("yes",), "perhaps": ("perhaps maybe",)})
    with pytest.raises(ParameterError, match="same token"):
        module.distinct_answers(answerer, {"yes": ("yes",), "no": ("YES", "no")})


def test_an_answer_that_the_model_cannot_say_stops_the_judge_before_any_image(folders, monkeypatch):
    monkeypatch.setattr("forgekit.models.vqa.YES_NO", {"yes": ("indubitably",), "no": ("no",)})
    with pytest.raises(ParameterError, match="indubitably"):
        replace(from_address(str(folders["fuyu"])), count_questions=False).judge([picture(0)], [scene("a star")])


def test_the_key_changes_with_templates_and_weights_but_not_with_the_batch_size(folders):
    judge = from_address(str(folders["fuyu"]))
    changes = ({"prompt": "{} Say it."}, {"whole": "Is this {}?"}, {"least_mass": 0.1}, {"count_questions": False})
    assert len({replace(judge, **change).judge_key for change in ({}, *changes)}) == 5
    assert replace(judge, batch_size=1, device="cpu").judge_key == judge.judge_key
    assert replace(judge, repo=str(folders["qwen"])).judge_key != judge.judge_key


def test_missing_weights_are_an_error_that_names_the_way_out(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["fuyu"] / "config.json").read_text())
    with pytest.raises(UnknownModelError, match="hf download"):
        from_address(str(tmp_path)).judge([picture(0)], [scene("a star")])


@pytest.mark.parametrize("field", ["prompt", "whole"])
def test_a_template_without_a_place_for_the_text_is_refused(field):
    with pytest.raises(ParameterError, match="where the text belongs"):
        VQAJudge("x", "y", **{field: "what?"})


def test_addresses_name_folders_and_hub_models_but_no_detectors(folders):
    assert from_address("Qwen/Qwen3-VL-4B-Instruct").repo == "Qwen/Qwen3-VL-4B-Instruct"
    assert from_address("google/owlv2-base-patch16") is None
    assert from_address("no-such-folder") is None
    assert KNOWN["Fuyu-8B"].repo == "adept/fuyu-8b"
