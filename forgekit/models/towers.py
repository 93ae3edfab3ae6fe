"""Two towers, of open_clip or of transformers: images and texts to unit vectors that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError
from forgekit.models.running import as_rgb, distinct, in_batches, load_transformers, on_device, quiet, words_behind

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

LOCAL, HUB, TRANSFORMERS = "local-dir:", "hf-hub:", "transformers:"  # the first two are prefixes of open_clip itself
# `model_type`s of transformers that have both towers
KINDS = ("clip", "siglip", "siglip2", "metaclip_2", "altclip", "chinese_clip", "align")


@dataclass(eq=False)
class Towers:
    """A loaded pair of towers. Similarities are scaled by `scale`, and moved by `bias` where the model is `biased`."""

    model: Any
    see: Callable[[list[Image]], Tensor]  # images in RGB to unit vectors
    read: Callable[[list[str]], Tensor]  # texts to unit vectors
    length: Callable[[str], int]  # tokens of a text, with those around it
    context: int  # how many are read

    @property
    def biased(self) -> bool:
        """Whether the model was taught by a sigmoid, with a bias (SigLIP)."""
        return getattr(self.model, "logit_bias", None) is not None

    @cached_property
    def bias(self) -> float:
        """What is added to a scaled similarity."""
        return self.model.logit_bias.item() if self.biased else 0.0

    @cached_property
    def scale(self) -> float:
        """What a similarity is multiplied with."""
        model = self.model
        return (model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature).item()  # of ALIGN

    def encode_images(self, images: Sequence[Image]) -> list[np.ndarray]:
        """Return one unit vector (float32) per image."""
        return _rows(self.see, [as_rgb(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return one unit vector (float32) per text."""
        return _rows(self.read, list(texts))

    def cut_off(self, text: str) -> str:
        """Return the words at the end of `text` that do not fit into the model's context; "" where all do."""
        return words_behind(text, lambda words: self.length(words) <= self.context)


def _rows(encode: Callable[[Any], Tensor], items: Sequence[Any]) -> list[np.ndarray]:
    import torch

    with torch.inference_mode():
        return list(encode(items).float().cpu().numpy())


def load_towers(
    model: str, pretrained: str | None, device: str, dtype: str, processor: str | None = None, resize: str | None = None
) -> Towers:
    """Load what `model` names: an open_clip name with the tag `pretrained`, or one of the prefixes and an address.

    `processor` is where that of a model of transformers is, if not with its weights; `resize` how open_clip fits an image in.
    """
    if model.startswith(TRANSFORMERS):
        return _of_transformers(model.removeprefix(TRANSFORMERS), processor, device, dtype)
    return _of_open_clip(model, pretrained, resize, device, dtype)


def encoded(
    judge: Any, items: Sequence[Any], encode: Callable[[Sequence[Any]], list[np.ndarray]], what: str
) -> list[np.ndarray | ItemError]:
    """Return the vector of each of a judge's images or texts (`what`), in order; of one without numbers, why.

    What comes several times is encoded once.
    """
    import numpy as np

    once, places = distinct(items)
    rows = in_batches(once, judge.batch_size, encode, judge)
    nothing = ItemError(f"{judge.name} gave no number (nan) for this {what}; another dtype may help: float32")
    rows = [row if isinstance(row, ItemError) or (np.isfinite(row).all() and row.any()) else nothing for row in rows]
    return [rows[place] for place in places]


def _of_open_clip(model: str, pretrained: str | None, resize: str | None, device: str, dtype: str) -> Towers:
    import open_clip
    import torch

    precision = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[dtype]
    with quiet("transformers"):
        towers, preprocess = open_clip.create_model_from_pretrained(
            model, pretrained, precision=precision, device=device, image_resize_mode=resize
        )
        tokenizer = open_clip.get_tokenizer(model)
    towers.eval()

    def see(images: list[Image]) -> Tensor:
        pixels = torch.stack([preprocess(image) for image in images])
        return towers.encode_image(pixels.to(device, getattr(torch, dtype)), normalize=True)

    def read(texts: list[str]) -> Tensor:
        return towers.encode_text(tokenizer(texts).to(device), normalize=True)

    def length(text: str) -> int:
        if hasattr(tokenizer, "tokenizer"):
            return len(tokenizer.tokenizer(text).input_ids)
        return len(tokenizer.encode(text)) + 2  # start and end tokens

    return Towers(towers, see, read, length, tokenizer.context_length)


def _of_transformers(repo: str, processor_at: str | None, device: str, dtype: str) -> Towers:
    from torch.nn.functional import normalize

    towers, processor = load_transformers("AutoModel", repo, None, device, dtype, processor_at)
    kind, text = towers.config.model_type, towers.config.text_config
    places = text.max_position_embeddings - (text.pad_token_id + 1 if kind == "altclip" else 0)  # those of RoBERTa
    context = min(places, processor.tokenizer.model_max_length)
    # SigLIP was taught on texts filled up to its context; the masks of others leave the filling out.
    padding = "max_length" if kind.startswith("siglip") else "longest"

    def see(images: list[Image]) -> Tensor:
        inputs = processor(images=images, return_tensors="pt")
        return normalize(towers.get_image_features(**on_device(inputs, towers)).pooler_output.float(), dim=-1)

    def read(texts: list[str]) -> Tensor:
        inputs = processor(text=texts, padding=padding, truncation=True, max_length=context, return_tensors="pt")
        return normalize(towers.get_text_features(**on_device(inputs, towers)).pooler_output.float(), dim=-1)

    return Towers(towers, see, read, lambda text: len(processor.tokenizer(text, verbose=False).input_ids), context)
