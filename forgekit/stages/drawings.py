"""The pictures that a prompt is to have, and what an image generator gave in their place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ItemError
from forgekit.ids import canonical_json, content_hash, content_id
from forgekit.models import Drawing, DrawRequest, ImageGenerator
from forgekit.store.images import encode_png


@dataclass(frozen=True)
class Wanted:
    """One image that a prompt is to have. `draw_key` hashes everything that determines its pixels.

    `index` is its place among the prompt's images, `round` the number of decisions about the scene that came before
    it, and `learning_id` the last of these, which caused it.
    """

    prompt_id: str
    index: int
    request: DrawRequest
    draw_key: str
    round: int
    learning_id: str | None

    @property
    def image_id(self) -> str:
        """The id that this image gets in whatever process draws it."""
        return content_id("image", prompt=self.prompt_id, seed=self.request.seed, draw_key=self.draw_key)


@dataclass(frozen=True)
class Picture:
    """PNG bytes that exist already or were just drawn; `path` once they are stored."""

    png: bytes
    metadata: dict[str, Any]
    path: str | None = None


def image_seed(scene_hash: str, seed: int, index: int) -> int:
    """Return the seed of image `index` of a scene: in [0, 2**31), the same for every version and batch size."""
    return int(hashlib.sha256(f"{scene_hash}/{seed}/{index}".encode()).hexdigest()[:8], 16) >> 1


def wanted_images(model: ImageGenerator, prompt: Mapping[str, Any], images_per_prompt: int) -> list[Wanted]:
    """Return the images that a prompt (a row with its round and learning_id) is to have of `model`."""
    parameters = {**model.default_parameters(), **prompt["base_parameters"]}
    seed = parameters.pop("seed", 0)
    wanted = []
    for index in range(images_per_prompt):
        request = DrawRequest(prompt["prompt_text"], image_seed(prompt["scene_hash"], seed, index), parameters)
        key = content_hash([model.name, model.describe(), request.prompt, request.seed, parameters])
        wanted.append(Wanted(prompt["id"], index, request, key, prompt["round"], prompt["learning_id"]))
    return wanted


def described(images: Sequence[Wanted]) -> dict[str, Any]:
    """Return the request of a call that draws `images`, as it is logged."""
    return {
        "requests": [
            {"prompt_id": image.prompt_id, "prompt": image.request.prompt, "seed": image.request.seed}
            | ({"learning_id": image.learning_id} if image.learning_id else {})
            for image in images
        ],
        "parameters": dict(images[0].request.parameters),
    }


def checked_drawing(wanted: Wanted, drawing: Any) -> Picture | ItemError:
    """Return a generator's answer as PNG bytes that can be stored, or what is wrong with it.

    Raises:
        OSError: an image of a mode that PNG does not have, or whose own file is damaged.
    """
    from PIL.Image import Image

    if not isinstance(drawing, Drawing):
        return ItemError(f"the generator returned a {type(drawing).__name__}; it must return a Drawing or an ItemError")
    image = drawing.image
    if not isinstance(image, Image):
        return ItemError(f"the generator drew a {type(image).__name__}; a Drawing holds a PIL image")
    if 0 in image.size:
        return ItemError(f"the generator drew an image of {image.width}×{image.height} pixels")
    if not _is_finite(image):
        return ItemError("the generator gave pixels that are no numbers (nan or inf)")
    metadata = {"seed": wanted.request.seed, **drawing.metadata}
    metadata |= {"prompt": wanted.request.prompt, "draw_key": wanted.draw_key}
    try:
        json.dumps(json.loads(canonical_json(metadata)), allow_nan=False)
    except ValueError:
        return ItemError("the metadata of the drawing hold a number that is none (nan or inf)")
    return Picture(encode_png(image, metadata), metadata)


def _is_finite(image: Any) -> bool:
    if image.mode != "F":  # the other modes hold whole numbers
        return True
    import numpy as np

    return bool(np.isfinite(np.asarray(image)).all())
