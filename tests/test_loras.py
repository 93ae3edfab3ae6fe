"""LoRAs as parameters: laid over the pipeline for their own requests only, and part of what tells a picture from another."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FakeJudge
from tiny_models import build_generator

import forgekit as fk
from forgekit.errors import ItemError, ParameterError
from forgekit.models import DrawRequest, load_model
from forgekit.refiner.actions import propose
from forgekit.stages.wanted import Seeds, wanted_images

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
PARTS = {"tiny-flux": "transformer", "tiny-sd": "unet"}
MODULES = {"transformer": ["x_embedder", "to_v", "proj_out"], "unet": ["to_q", "to_k", "to_v"]}
BUILT = {"tiny-flux": "flux", "tiny-sd": "stable-diffusion"}


def a_lora(model: Path, part: str, folder: Path, seed: int) -> Path:
    """A random LoRA over the attention of a tiny pipeline, written as diffusers writes them."""
    from diffusers import DiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    pipeline = DiffusionPipeline.from_pretrained(model)
    torch.manual_seed(seed)
    weights = getattr(pipeline, part)
    weights.add_adapter(LoraConfig(r=4, lora_alpha=64, target_modules=MODULES[part], init_lora_weights=False))
    pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": get_peft_model_state_dict(weights)})
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A working folder with tiny pipelines and LoRAs: tiny-flux, tiny-flux-a, tiny-flux-b, tiny-sd, …"""
    place = tmp_path_factory.mktemp("loras")
    for kind, part in PARTS.items():
        build_generator(BUILT[kind], place / kind)
        for seed, name in enumerate("ab"):
            a_lora(place / kind, part, place / f"{kind}-{name}", seed)
    return place


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def pixels(drawing) -> np.ndarray:
    assert not isinstance(drawing, ItemError), drawing
    return np.asarray(drawing.image).astype(int)


@pytest.mark.parametrize("kind", list(PARTS))
def test_requests_with_and_without_loras_share_a_call_and_none_leaks_into_another(kind):
    generator = load_model("image_generator", kind)
    asked = [
        {},
        {f"{kind}-a": 0.8},
        {f"{kind}-b": 0.8},
        {f"{kind}-a": 0.8, f"{kind}-b": {"strength": -1}},
        {f"{kind}-a": 0},
        {},
    ]
    requests = [DrawRequest("a red cat", 5, {**SMALL, "loras": loras}) for loras in asked]
    before = pixels(generator.draw([DrawRequest("a red cat", 5, SMALL)])[0])
    together = [pixels(drawing) for drawing in generator.draw(requests)]
    alone = [pixels(generator.draw([request])[0]) for request in requests]
    assert [abs(a - b).max() <= 1 for a, b in zip(together, alone, strict=True)] == [True] * 6
    assert [abs(picture - before).max() <= 1 for picture in together] == [True, False, False, False, True, True]
    assert abs(together[1] - together[2]).max() > 1 and abs(together[1] - together[3]).max() > 1
    assert (pixels(generator.draw([DrawRequest("a red cat", 5, SMALL)])[0]) == before).all()


@pytest.mark.parametrize("kind", list(PARTS))
def test_a_picture_with_a_lora_is_the_one_that_the_library_draws(kind, home):
    from diffusers import AutoPipelineForText2Image

    [ours] = load_model("image_generator", kind).draw([DrawRequest("a cat", 5, {**SMALL, "loras": {f"{kind}-a": 0.5}})])
    pipeline = AutoPipelineForText2Image.from_pretrained(home / kind)
    pipeline.load_lora_weights(home / f"{kind}-a", adapter_name="x")
    pipeline.set_adapters(["x"], adapter_weights=[0.5])
    [theirs] = pipeline(prompt=["a cat"], generator=[torch.Generator("cpu").manual_seed(5)], **SMALL).images
    assert (pixels(ours) == np.asarray(theirs).astype(int)).all()


def test_a_lora_is_recorded_with_the_hash_of_its_file_and_its_trigger_words_are_drawn_and_not_judged(store, home):
    shutil.copytree(home / "tiny-flux-a", home / "mine", dirs_exist_ok=True)
    loras = {"mine": {"strength": 0.8, "words": "in line art style"}}
    fk.import_prompts(
        store, pd.DataFrame({"text": ["a red cat"]}), model="tiny-flux", parameters={**SMALL, "loras": loras}
    )
    fk.complete_prompts(store, keep=True)
    assert fk.generate_images(store, seeds=[5]).done == 1
    [image] = store.rows("select id, generation_metadata as made from generated_images")
    weights = home / "mine" / "pytorch_lora_weights.safetensors"
    assert image["made"]["loras"] == {"mine": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert image["made"]["prompt"] == "a red cat, in line art style" and image["made"]["parameters"]["loras"] == loras
    assert store.rows("select scene_text, prompt_text from scenes join prompts using (scene_hash)") == [
        {"scene_text": "a red cat", "prompt_text": "a red cat"}
    ]
    assert fk.redraw(image["id"], out=store.folder / "again.png", store=store).same
    shutil.copy(home / "tiny-flux-b" / weights.name, weights)
    told = fk.redraw(image["id"], out=store.folder / "other.png", store=store)
    assert not told.same and told.reasons[0].startswith("loras of mine: ")
    [prompt] = store.rows("select *, null as decision from prompts")
    [wanted] = wanted_images(load_model("image_generator", "tiny-flux"), prompt, Seeds(1, (5,)))
    assert wanted.draw_key != image["made"]["draw_key"]


def strangers(home: Path) -> dict[str, tuple[object, str]]:
    """LoRAs that are refused, each under a scene's text, with what the reason says."""
    elsewhere = shutil.copytree(home / "tiny-flux-a", home.parent / "elsewhere", dirs_exist_ok=True)
    (home / "link").symlink_to(elsewhere)
    (home / "link.safetensors").symlink_to(elsewhere / "pytorch_lora_weights.safetensors")
    (home / "pickled").mkdir()
    torch.save({}, home / "pickled" / "x.pt")
    return {
        "a red cat": ({"tiny-flux-a": "strong"}, "give a strength"),
        "a blue cat": ({"tiny-flux-a": {"weight": 1}}, "give a strength"),
        "a green cat": ("tiny-flux-a", "give a strength"),
        "a black cat": ({"nowhere": 1}, "no LoRA at 'nowhere'"),
        "a white cat": ({"owner/name": 1}, "no LoRA at 'owner/name'"),
        "a gray cat": ({"tiny-sd-a": 1}, "does not go with FluxPipeline"),
        "a pink cat": ({"tiny-flux": 1}, "no LoRA at 'tiny-flux'"),
        "a red dog": ({"os:system": 1}, "its LoRA 'os:system' names code"),
        "a blue dog": ({"http://host/x": 1}, "its LoRA is an address on a network"),
        "a green dog": ({str(elsewhere): 1}, "lies outside"),
        "a black dog": ({"../elsewhere": 1}, "lies outside"),
        "a white dog": ({"link": 1}, "lies outside"),
        "a gray dog": ({"link.safetensors": 1}, "lies outside"),
        "a pink dog": ({"pickled": 1}, "pickled weights"),
        "a small dog": ({"pickled/x.pt": 1}, "no LoRA at"),
    }


def test_loras_that_data_may_not_name_or_that_do_not_fit_fail_their_own_prompts(store, home):
    wrong = strangers(home)
    for text, (loras, _) in {**wrong, "a cat": ({}, "")}.items():
        fk.import_prompts(
            store, pd.DataFrame({"text": [text]}), model="tiny-flux", parameters={**SMALL, "loras": loras}
        )
    fk.complete_prompts(store, keep=True)
    report = fk.generate_images(store, images_per_prompt=1)
    texts = {row["id"]: row["prompt_text"] for row in store.rows("select id, prompt_text from prompts")}
    reasons = {texts[key]: reason for key, reason in report.failures.items()}
    assert {text: said in reasons.get(text, "") for text, (_, said) in wrong.items()} == dict.fromkeys(wrong, True), (
        reasons
    )
    assert report.done == 1


@dataclass
class TriesLoras:
    """A policy that tries the first change of a LoRA that is allowed."""

    name: str = "tries-loras"
    uses_memory: bool = False
    from_first: bool = False

    def next_candidate(self, case):
        return next(filter(case.allows, propose(case.draft, case.failing[0], ["change_lora"])), None)


@pytest.mark.parametrize(("words", "decision"), [("in line art style", "rewrite"), ("red " * 600, "redraw")])
def test_a_lora_of_strength_0_draws_nothing_until_the_refiner_tries_it_if_its_words_are_read(store, words, decision):
    parameters = {**SMALL, "loras": {"tiny-flux-a": {"strength": 0, "words": words}}}
    fk.import_prompts(store, pd.DataFrame({"text": ["a red cat"]}), model="tiny-flux", parameters=parameters)
    fk.complete_prompts(store, keep=True)
    fk.generate_images(store, images_per_prompt=1)
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.2)])
    fk.refine_prompts(store, policy=TriesLoras())
    fk.generate_images(store, images_per_prompt=1)
    drawn = {row["p"] for row in store.rows("select generation_metadata ->> '$.prompt' as p from generated_images")}
    [told] = [row["a"] for row in store.rows("select actions as a from prompt_learnings")]
    tried = decision == "rewrite"
    assert (told["decision"], drawn) == (decision, {"a red cat", *(["a red cat, in line art style"] if tried else [])})
    assert (told["action"], told["detail"]) == (
        ("change_lora", "tiny-flux-a 0 -> tiny-flux-a 0.5") if tried else (None, None)
    )
    children = store.rows("select base_parameters ->> '$.loras' as l from prompts where parent_prompt_id is not null")
    assert [json.loads(row["l"]) for row in children] == [{"tiny-flux-a": {"strength": 0.5, "words": words}}] * tried


def test_a_pipeline_without_loras_says_so():
    generator = load_model("image_generator", "tiny-flux")
    assert "loras" not in generator.not_applicable({"loras": {"tiny-flux-a": 1}}, frozenset({"loras"}))
    with pytest.raises(ParameterError, match="no parameter 'lora'"):
        generator.call_arguments({"lora": {"tiny-flux-a": 1}})
