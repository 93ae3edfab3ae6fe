"""What image pipelines give for pictures, as PIL images: only numbers make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def as_picture(pixels: Any) -> Image:
    """Return an image of diffusers' output: floats in [0, 1] as (height, width, channels), or a PIL image as it is.

    Rounds as diffusers does, so that the pixels are those that the pipeline would have made an image of itself.

    Raises:
        ValueError: some pixels are nan or inf (a half-precision model that overflowed, damaged weights), or `pixels`
            are no picture.
    """
    from PIL import Image

    if isinstance(pixels, Image.Image):
        return pixels
    values = np.asarray(pixels)
    if values.dtype.kind not in "fu" or values.ndim != 3 or values.shape[-1] not in (1, 3, 4):
        raise ValueError(f"the pipeline gave no picture but {values.dtype} of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the pipeline gave pixels that are no numbers (nan or inf); another dtype may help: float32")
    if values.dtype.kind == "f":
        values = (values * 255).round().astype("uint8")
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
