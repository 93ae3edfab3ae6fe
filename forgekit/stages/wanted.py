"""The images that a prompt is to have: their seeds, the parameters that its generator can take, and the keys of their pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import canonical_json, content_hash, content_id
from forgekit.models import Drawing, DrawRequest, ImageGenerator
from forgekit.models.loras import refuse_strangers, with_trigger_words
from forgekit.models.roles import describe_request
from forgekit.scene import from_data, split_prompt
from forgekit.scene.syntax.parameters import checked_parameters
from forgekit.store.arguments import whole
from forgekit.store.images import encode_png

USUAL = 4  # images of a prompt
MOST_IMAGES = 100_000
MOST_PIXELS = 1 << 26  # of an image; Pillow takes larger ones for bombs
LARGEST_SEED = 2**63  # above it the store's numbers end
FRESH = ("redraw", "confirm")  # decisions of the refiner that are about other seeds, not other words


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

    @cached_property
    def image_id(self) -> str:
        """The id that this image gets in whatever process draws it."""
        return content_id("image", prompt=self.prompt_id, seed=self.request.seed, draw_key=self.draw_key)


@dataclass(frozen=True)
class Seeds:
    """The seeds of each prompt's images: `exact` ones, or `number` made from its scene."""

    number: int
    exact: tuple[int, ...] = ()

    @classmethod
    def of(cls, images_per_prompt: int | None, seeds: Sequence[int] | None) -> Seeds:
        """Return what a caller asks for; raise a ParameterError where that is nothing, or contradicts itself."""
        if seeds is not None and (isinstance(seeds, str) or not hasattr(seeds, "__len__")):
            raise ParameterError(f"seeds={seeds!r}: give a list of whole numbers, such as seeds=[1, 2, 3]")
        number = images_per_prompt if images_per_prompt is not None else USUAL if seeds is None else len(seeds)
        number = whole("images_per_prompt", number, most=MOST_IMAGES)
        if seeds is None:
            return cls(number)
        exact = tuple(seeds)
        if len(exact) != number:
            raise ParameterError(f"images_per_prompt={number}, but {len(exact)} seeds: give one of the two, or as many")
        if not all(is_seed(seed) for seed in exact) or len(set(exact)) < number:
            raise ParameterError(f"seeds={list(exact)}: give whole numbers from 0 to 2**63 - 1, each once")
        return cls(number, tuple(map(int, exact)))

    def of_prompt(self, prompt: Mapping[str, Any], seed: int) -> list[int]:
        """Return the seeds of a prompt's images, in order; `seed` is its own.

        Raises:
            ParameterError: the prompt is to be drawn on fresh seeds, which exact ones are not.
        """
        if not self.exact:
            return [image_seed(prompt["scene_hash"], seed, index) for index in range(self.number)]
        if prompt.get("decision") in FRESH:
            raise ParameterError(f"the refiner wants it on fresh seeds ({prompt['decision']}); draw it without seeds=")
        return list(self.exact)


def is_seed(value: Any) -> bool:
    """Say whether a value is a seed: a whole number that the store can hold."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < LARGEST_SEED


def wanted_images(
    model: ImageGenerator, prompt: Mapping[str, Any], seeds: Seeds, within: Sequence[Path] = ()
) -> list[Wanted]:
    """Return the images that a prompt is to have of `model`, without what data says of them and the model cannot take.

    LoRAs lie in the working folder, or in one of `within`.

    Raises:
        ParameterError: a parameter that is no number where one belongs, or draws for days.
    """
    own = prompt["base_parameters"]
    data = from_data(prompt["directives"])
    optional = frozenset(name for name in data.keys() & own.keys() - {"seed"} if own[name] == data[name])
    left_out: Mapping[str, str] = {}
    if optional and (tell := getattr(model, "not_applicable", None)):  # only diffusers' pipelines know beforehand
        left_out = tell(own, optional)
        own, optional = {name: value for name, value in own.items() if name not in left_out}, frozenset()
    parameters = {**model.default_parameters(), **own}
    seed, words = parameters.pop("seed", 0), split_prompt(prompt["prompt_text"]).words
    parameters = checked_parameters(parameters)  # of a store by mail, or one from before there were bounds
    refuse_strangers(parameters, within)
    words, wanted = with_trigger_words(words, parameters), []
    for index, exact in enumerate(seeds.of_prompt(prompt, seed)):
        request = DrawRequest(words, exact, parameters, optional)
        wanted.append(Wanted(prompt, index, request, draw_key(model, request), left_out))
    return wanted


def draw_key(model: ImageGenerator, request: DrawRequest) -> str:
    """Return a hash of all that determines the pixels."""
    parameters, optional = request.parameters, request.optional
    beside = [described] if (described := describe_request(model, parameters)) else []
    may_lose = [sorted(optional)] if optional else []  # parts its key from that of one that must have all parameters
    return content_hash([model.name, model.describe(), request.prompt, request.seed, parameters, *may_lose, *beside])


def image_seed(scene_hash: str, seed: int, index: int) -> int:
    """Return the seed of image `index` of a scene: in [0, 2**31), the same for every version and batch size."""
    return int(hashlib.sha256(f"{scene_hash}/{seed}/{index}".encode()).hexdigest()[:8], 16) >> 1


@dataclass(frozen=True)
class Drawn:
    """PNG bytes that exist already or were just drawn; `path` once they are stored."""

    png: bytes
    metadata: dict[str, Any]
    path: str | None = None


def checked_drawing(wanted: Wanted, drawing: Any) -> Drawn | ItemError:
    """Return a generator's answer as PNG bytes that can be stored, or what is wrong with it.

    Raises:
        OSError: an image of a mode that PNG does not have, or whose own file is damaged.
    """
    import numpy as np
    from PIL.Image import Image

    if not isinstance(drawing, Drawing):
        return ItemError(f"the generator returned a {type(drawing).__name__}; it must return a Drawing or an ItemError")
    image = drawing.image
    if not isinstance(image, Image):
        return ItemError(f"the generator drew a {type(image).__name__}; a Drawing holds a PIL image")
    if not 0 < image.width * image.height <= MOST_PIXELS:
        return ItemError(f"the generator drew an image of {image.width}×{image.height} pixels")
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():  # the other modes hold whole numbers
        return ItemError("the generator gave pixels that are no numbers (nan or inf)")
    seed, prompt = wanted.request.seed, wanted.request.prompt
    metadata = {"seed": seed, **drawing.metadata, "prompt": prompt, "draw_key": wanted.draw_key}
    try:
        json.dumps(json.loads(canonical_json(metadata)), allow_nan=False)
    except ValueError:
        return ItemError("the metadata of the drawing hold a number that is none (nan or inf)")
    return Drawn(encode_png(image, metadata), metadata)
