"""The images that a prompt is to have: their seeds, the parameters that its generator can take, and the keys of their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forgekit.ids import content_hash, content_id
from forgekit.models import DrawRequest, ImageGenerator
from forgekit.models.roles import not_applicable
from forgekit.scene import from_data, split_prompt
from forgekit.scene.syntax.parameters import checked_parameters


@dataclass(frozen=True)
class Wanted:
    """Image number `index` that a prompt (a row of IN_HAND) is to have. `draw_key` hashes all that determines its pixels."""

    prompt: Mapping[str, Any]
    index: int
    request: DrawRequest
    draw_key: str
    left_out: Mapping[str, str] = field(default_factory=dict)  # parameters of the data, and why they are not applied

    @property
    def prompt_id(self) -> str:
        """The prompt that is to have it."""
        return self.prompt["id"]

    @property
    def learning_id(self) -> str | None:
        """The decision of the refiner that caused it, if any."""
        return self.prompt["learning_id"]

    @property
    def image_id(self) -> str:
        """The id that this image gets in whatever process draws it."""
        return content_id("image", prompt=self.prompt_id, seed=self.request.seed, draw_key=self.draw_key)


def wanted_images(model: ImageGenerator, prompt: Mapping[str, Any], images_per_prompt: int) -> list[Wanted]:
    """Return the images that a prompt is to have of `model`, without what data says of them and the model cannot take.

    Raises:
        ParameterError: a parameter that is no number where one belongs, or draws for days.
    """
    own = prompt["base_parameters"]
    data = from_data(prompt["directives"])
    optional = frozenset(name for name in data.keys() & own.keys() - {"seed"} if own[name] == data[name])
    left_out = not_applicable(model, own, optional) if optional else {}
    if left_out is not None:  # it is settled; else the generator may leave out more when it draws
        own, optional = {name: value for name, value in own.items() if name not in left_out}, frozenset()
    parameters = {**model.default_parameters(), **own}
    seed, words = parameters.pop("seed", 0), split_prompt(prompt["prompt_text"]).words
    parameters = checked_parameters(parameters)  # of a store by mail, or one from before there were bounds
    wanted = []
    for index in range(images_per_prompt):
        request = DrawRequest(words, image_seed(prompt["scene_hash"], seed, index), parameters, optional)
        key = content_hash([model.name, model.describe(), request.prompt, request.seed, parameters, *_open(optional)])
        wanted.append(Wanted(prompt, index, request, key, left_out or {}))
    return wanted


def _open(optional: frozenset[str]) -> list[list[str]]:
    """Return what tells the draw key of a request that may lose parameters from that of one that must have them."""
    return [sorted(optional)] if optional else []


def image_seed(scene_hash: str, seed: int, index: int) -> int:
    """Return the seed of image `index` of a scene: in [0, 2**31), the same for every version and batch size."""
    return int(hashlib.sha256(f"{scene_hash}/{seed}/{index}".encode()).hexdigest()[:8], 16) >> 1
