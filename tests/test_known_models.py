"""known.toml: what is known by name, by another name and by its full address."""

from __future__ import annotations

import pytest

from forgekit.errors import UnknownModelError
from forgekit.models import known_models, load_model
from forgekit.models.roles import PROTOCOLS

GENERATORS, JUDGES = known_models("image_generator"), known_models("vision_model")


@pytest.mark.parametrize("role", list(PROTOCOLS))
def test_every_known_model_fulfils_its_role_under_its_own_name(role):
    known = known_models(role)
    assert {model.name for model in known.values()} <= set(known)
    assert all(isinstance(model, PROTOCOLS[role]) for model in known.values())


def test_the_known_models_are_those_that_the_readme_and_the_docs_name():
    assert {"mini", "flux-1", "flux-2", "sdxl-turbo", "sd3.5", "qwen-image"} <= set(GENERATORS)
    assert {"mini-clip", "mini-fuyu", "mini-owl", "CLIP-L14", "SigLIP2", "Fuyu-8B", "Qwen3-VL-2B"} <= set(JUDGES)
    assert {"OWL-ViT", "OWLv2", "Grounding-DINO", "Grounding-DINO-tiny"} <= set(JUDGES)
    assert JUDGES["Fuyu-8B"].repo == "adept/fuyu-8b"
    assert (JUDGES["CLIP-L14"].model, JUDGES["CLIP-L14"].pretrained) == ("ViT-L-14", "openai")


def test_every_known_generator_has_a_size_and_steps():
    for model in GENERATORS.values():
        assert {"height", "width", "num_inference_steps"} <= set(model.default_parameters())


def test_two_names_of_one_model_are_one_model_with_one_name_in_the_record():
    assert GENERATORS["flux"] is GENERATORS["flux-1"]
    assert load_model("image_generator", "flux").describe()["model"] == "flux-1"


@pytest.mark.parametrize(
    ("role", "address", "name"),
    [
        ("image_generator", "black-forest-labs/FLUX.1-schnell", "flux-schnell"),
        ("vision_model", "IDEA-Research/grounding-dino-base", "Grounding-DINO"),
        ("vision_model", "open_clip:ViT-L-14/openai", "CLIP-L14"),
        ("vision_model", "adept/fuyu-8b", "Fuyu-8B"),
        ("language_model", "Qwen/Qwen3-8B", "qwen3-8b"),
    ],
)
def test_an_address_given_in_full_has_the_settings_of_its_known_entry(role, address, name):
    assert load_model(role, address) is known_models(role)[name]


def test_another_address_has_the_settings_of_its_family():
    assert load_model("image_generator", "black-forest-labs/FLUX.1-other").default_parameters() == {}
    assert load_model("vision_model", "IDEA-Research/grounding-dino-other").count_threshold == 0.9
    with pytest.raises(UnknownModelError, match="Did you mean 'flux-1'"):
        load_model("image_generator", "flux-11")
