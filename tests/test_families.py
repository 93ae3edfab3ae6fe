"""Every family that the libraries have, tiny and of random weights: by its folder, drawn or judged, to rows in a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FakeGenerator, FakeJudge
from PIL import Image
from tiny_judges import DETECTORS, TOWERS, VLMS, build_clip
from tiny_models import GENERATORS
from tiny_pipelines import PIPELINES
from tiny_vlms import FAMILIES, heard

import forgekit as fk
from forgekit.models import Drawing, DrawRequest, load_model
from forgekit.models.pipelines import guidance, truncated
from forgekit.scene import Scene, parse

TEXTS = ("two pink hearts on a white background, watercolor", "a red circle left of a blue square, no rings")
PIPELINE_KINDS = {**GENERATORS, **PIPELINES}
ANSWERING = {**VLMS, **FAMILIES}
OTHERS = {**DETECTORS, **TOWERS}
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
UNBINNED = {
    "pixart",
    "sana",
}  # which draw the sizes they were taught, of millions of pixels, and make them smaller then
# Qwen-Image skips the 34 tokens that its own words take in its own vocabulary; in a small one they take all there is.
READING = [kind for kind in PIPELINE_KINDS if kind != "qwen-image"]
ALIKE = 1  # of 255, in batches of different sizes
STEERING = FakeJudge("steering")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")

    @cache
    def build(kind: str) -> str:
        torch.manual_seed(0)
        folder = place / kind
        if kind == "open-clip":
            return str(build_clip(folder))
        if kind in PIPELINE_KINDS:
            PIPELINE_KINDS[kind]().save_pretrained(folder)
            return str(folder)
        parts = {**ANSWERING, **OTHERS}[kind]()
        if kind in ANSWERING:
            heard(parts[0])
        for part in parts:
            part.save_pretrained(folder)
        return str(folder)

    return build


class Noise(FakeGenerator):
    """Paints noise, in pictures of two shapes."""

    def draw(self, requests):
        return [Drawing(noise(r.seed), {"seed": r.seed}) for r in requests]


def noise(seed: int) -> Image.Image:
    size = (64, 64) if seed % 2 else (48, 64)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A store with pictures of two scenes that a first judge has judged, and the pictures as they are stored."""
    store = fk.open_store(tmp_path_factory.mktemp("judged") / "forge.duckdb")
    fk.import_prompts(store, pd.DataFrame({"text": TEXTS}), model=FakeGenerator().name)
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2, image_generator=Noise())
    fk.evaluate_images(store, vision_models=[STEERING])
    return store


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return abs(one - other).max()


@pytest.mark.parametrize("kind", list(PIPELINE_KINDS))
def test_a_folder_of_any_pipeline_draws_what_the_library_draws_into_a_store(kind, folder_of, store):
    folder, more = folder_of(kind), {"use_resolution_binning": False} if kind in UNBINNED else {}
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle"]}), model=folder, parameters=SMALL | more)
    fk.complete_prompts(store)
    report = fk.generate_images(store, images_per_prompt=2)
    assert (report.done, report.failed) == (1, 0), str(report)
    rows = store.rows("select i.*, p.prompt_text from generated_images i join prompts p on p.id = i.prompt_id")
    assert len({row["generation_metadata"]["seed"] for row in rows}) == 2
    drawn = []
    for row in rows:
        told = row["generation_metadata"]
        generators = [torch.Generator("cpu").manual_seed(told["seed"])]
        (theirs,) = (
            load_model("image_generator", folder)
            .pipeline(prompt=[row["prompt_text"]], generator=generators, **told["parameters"])
            .images
        )
        drawn.append(pixels(Image.open(store.folder / row["image_path"])))
        assert apart(drawn[-1], pixels(theirs)) <= ALIKE and told["truncated"] is None
        assert drawn[-1].shape == (32, 32, 3)
    assert apart(*drawn) > 10  # another seed is another picture


@pytest.mark.parametrize("kind", READING)
def test_a_negative_prompt_changes_the_picture_or_is_refused(kind, folder_of):
    generator = load_model("image_generator", folder_of(kind))
    scale, _ = guidance(generator._signature, {})
    more = {"use_resolution_binning": False} if kind in UNBINNED else {}
    guided = SMALL | more | ({scale: 6.0} if scale in generator._signature else {})
    plain, negative = generator.draw(
        [DrawRequest("a red circle", 5, guided | {"negative_prompt": words}) for words in ("", "a blue star, a cat")]
    )
    if "negative_prompt" not in generator._signature:
        assert "no parameter 'negative_prompt'" in negative.reason
        return
    assert apart(pixels(plain.image), pixels(negative.image)) > ALIKE
    (ignored,) = generator.draw([DrawRequest("a red circle", 5, guided | {"negative_prompt": "a cat", scale: 1.0})])
    assert f"unless {scale} > 1" in ignored.reason


@pytest.mark.parametrize("kind", READING)
def test_what_is_recorded_as_read_is_read_and_the_end_of_what_is_cut_is_not(kind, folder_of):
    generator = load_model("image_generator", folder_of(kind))
    told = SMALL | {"num_inference_steps": 1} | ({"use_resolution_binning": False} if kind in UNBINNED else {})
    if generator._sequence_length:
        told["max_sequence_length"] = 150 if kind == "flux-2" else 40  # its template alone has 117
    words, length = ["red"] * 170, told.get("max_sequence_length")
    cut = truncated(generator._readers, " ".join(words), length)
    read = len(words) - min(len(end.split()) for end in cut.values())
    assert not truncated([r for r in generator._readers if r.limit(length) == read], " ".join(words[:read]), length)
    texts = [words, [*words[: read - 1], "blue", *words[read:]], [*words[:-1], "blue"]]
    call = generator.call_arguments(told)
    if "negative_prompt" in call:
        call["negative_prompt"] = [call["negative_prompt"]] * 3
    base, last_read, last = generator.pipeline(
        prompt=[" ".join(text) for text in texts],
        generator=[torch.Generator("cpu").manual_seed(1) for _ in texts],
        output_type="latent",
        **call,
    ).images
    # alike but for rounding, which depends on the processor and on the place in a batch
    assert (base - last).abs().max() < 1e-6 < (base - last_read).abs().max()


def own_answers(judge, image: Image.Image, question: str) -> torch.Tensor:
    """Return the odds of the next word as the library's documentation has one ask for them."""
    model, processor = judge._answerer.model, judge._answerer.processor
    if type(processor).__name__ != "FuyuProcessor" and processor.chat_template:
        content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            **{"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"},
        )
    else:
        legacy = {"return_legacy_image_output": False} if type(processor).__name__ == "FuyuProcessor" else {}
        inputs = processor(images=image, text=question, return_tensors="pt", **legacy)
    with torch.no_grad():
        return model(**inputs).logits[0, -1].float().softmax(-1)


def verdicts_in(store, judge):
    told = store.rows(
        "select e.*, i.image_path, s.scene_text from image_evaluations e join generated_images i on i.id = e.image_id "
        "join scenes s on s.scene_hash = e.scene_hash where e.vision_model = $name order by e.id",
        name=judge.name,
    )
    return [(row, Image.open(store.folder / row["image_path"]).convert("RGB")) for row in told]


@pytest.mark.parametrize("kind", list(ANSWERING))
def test_a_folder_of_any_vision_language_model_answers_as_the_library_does_into_a_store(kind, folder_of, judged):
    judge = replace(load_model("vision_model", folder_of(kind)), least_mass=0.0, description_tokens=3)
    report = fk.evaluate_images(judged, vision_models=[STEERING, judge], backfill=True)
    assert report.details[f"verdicts of {judge.name}"] == 4 and report.failed == 0, str(report)
    yes, no = (judge._answers[0][answer] for answer in ("yes", "no"))
    for row, image in verdicts_in(judged, judge):
        odds = own_answers(judge, image, judge.whole.format(row["scene_text"]))  # as it stands
        p_yes, p_no = odds[yes].sum().item(), odds[no].sum().item()
        assert row["model_output"]["metrics"]["vqa_score"] == pytest.approx(p_yes, abs=1e-5)
        assert row["adherence_analysis"]["text_match_score"] == pytest.approx(p_yes / (p_yes + p_no), abs=1e-4)
        asked = "Is there a heart?" if "heart" in row["scene_text"] else "Is there a circle?"
        odds = own_answers(judge, image, f"{asked} Answer in one word.")
        share = odds[yes].sum() / (odds[yes].sum() + odds[no].sum())
        assert row["element_scores"]["object:0"] == pytest.approx(share.item(), abs=1e-4)
        (alone,) = judge.judge([image], [Scene(row["scene_text"], parse(row["scene_text"]))])
        assert row["element_scores"] == pytest.approx(alone.element_scores, abs=1e-4)
        assert row["model_output"]["description"] == alone.description


@pytest.mark.parametrize("kind", list(ANSWERING))
def test_no_special_token_of_the_text_comes_twice(kind, folder_of):
    answerer = load_model("vision_model", folder_of(kind))._answerer
    ids = answerer._inputs(noise(1), "Is it red?")["input_ids"][0].tolist()
    begin, often = answerer.tokenizer.bos_token_id, Counter(ids)
    assert begin is None or often[begin] <= 1
    assert often[answerer.tokenizer.eos_token_id] == 0  # which would end the answer before it begins
    answerer.next_word([noise(1)], [["Is it red?"]])
    assert answerer._shares == (kind not in ("paligemma", "blip2"))


@pytest.mark.parametrize("kind", [*OTHERS, "open-clip"])
def test_a_folder_of_any_detector_and_pair_of_towers_judges_into_a_store_in_a_batch_as_alone(kind, folder_of, judged):
    judge = load_model("vision_model", folder_of(kind))
    report = fk.evaluate_images(judged, vision_models=[STEERING, judge], backfill=True)
    assert report.details[f"verdicts of {judge.name}"] == 4 and report.failed == 0, str(report)
    for row, image in verdicts_in(judged, judge):
        (alone,) = judge.judge([image], [Scene(row["scene_text"], parse(row["scene_text"]))])
        assert row["element_scores"] == pytest.approx(alone.element_scores, abs=1e-4) and row["error"] is None
        assert all(0 <= score <= 1 for score in row["element_scores"].values())


@pytest.mark.parametrize("kind", ["paligemma", "blip2"])
def test_where_no_pass_can_be_shared_questions_of_one_length_are_passed_together_and_fewer_where_memory_is_full(
    kind, folder_of, monkeypatch
):
    answerer, rows = load_model("vision_model", folder_of(kind))._answerer, []
    questions = ["Is there a star?", "Is there a ring?", "Is there a heart?", "Are there two red stars?"]
    alone = [answerer.next_word([noise(1)], [[question]])[0][0] for question in questions]
    forward = type(answerer.model).forward

    def crowded(self, **inputs):
        rows.append(len(inputs["input_ids"]))
        if rows[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, **inputs)

    monkeypatch.setattr(answerer.model, "forward", crowded.__get__(answerer.model))
    (together,) = answerer.next_word([noise(1)], [questions])
    assert rows[:3] == [3, 1, 2] and sum(rows[1:]) == 4
    assert together.numpy() == pytest.approx(torch.stack(alone).numpy(), abs=1e-5)
