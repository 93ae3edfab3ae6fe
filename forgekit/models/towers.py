"""Two towers, of open_clip or of transformers: images and texts to unit vectors that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from forgekit.errors import ItemError
from forgekit.models.running import as_rgb, in_batches, load_transformers, on_device, quiet, words_behind

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

LOCAL, HUB, TRANSFORMERS = "local-dir:", "hf-hub:", "transformers:"  # the first two are prefixes of open_clip itself
KINDS = (  # `model_type`s of transformers that have both towers
    *("clip", "siglip", "siglip2", "metaclip_2", "altclip", "chinese_clip", "align"),
)


class Towers(Protocol):
    """A loaded pair of towers. Similarities are scaled by `scale`, and moved by `bias` where the model is `biased`."""

    scale: float
    bias: float
    biased: bool

    def encode_images(self, images: Sequence[Image]) -> list[np.ndarray]:
        """Return one unit vector (float32) per image."""

    def encode_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return one unit vector (float32) per text."""

    def cut_off(self, text: str) -> str:
        """Return the words at the end of `text` that do not fit into the model's context; "" where all do."""


def load_towers(
    model: str, pretrained: str | None, device: str, dtype: str, processor: str | None = None, resize: str | None = None
) -> Towers:
    """Load what `model` names: an open_clip name with the tag `pretrained`, or one of the prefixes and an address.

    `processor` is where that of a model of transformers is, if not with its weights; `resize` how open_clip fits an image in.
    """
    if model.startswith(TRANSFORMERS):
        return _OfTransformers(model.removeprefix(TRANSFORMERS), processor, device, dtype)
    return _OfOpenClip(model, pretrained, resize, device, dtype)


def runs_here(settings: Mapping[str, Any] | None) -> bool:
    """Say whether a config.json is that of two towers of transformers."""
    return settings is not None and settings.get("model_type") in KINDS


def encoded(
    judge: Any, items: Sequence[Any], encode: Callable[[Sequence[Any]], list[np.ndarray]], what: str
) -> list[np.ndarray | ItemError]:
    """Return the vector of each of a judge's images or texts (`what`), in order; of one without numbers, why."""
    import numpy as np

    rows = in_batches(items, judge.batch_size, encode, judge)
    nothing = ItemError(f"{judge.name} gave no number (nan) for this {what}; another dtype may help: float32")
    return [row if isinstance(row, ItemError) or (np.isfinite(row).all() and row.any()) else nothing for row in rows]


class _OfOpenClip:
    def __init__(self, model: str, pretrained: str | None, resize: str | None, device: str, dtype: str) -> None:
        import open_clip
        import torch

        precision = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[dtype]
        with quiet():
            self.model, self.preprocess = open_clip.create_model_from_pretrained(
                model, pretrained, precision=precision, device=device, image_resize_mode=resize
            )
            self.tokenizer = open_clip.get_tokenizer(model)
        self.model.eval()
        self.device, self.dtype = device, getattr(torch, dtype)
        self.scale, self.bias, self.biased = _logits(self.model)

    def encode_images(self, images: Sequence[Image]) -> list[np.ndarray]:
        import torch

        pixels = torch.stack([self.preprocess(as_rgb(image)) for image in images])
        with torch.inference_mode():
            return _rows(self.model.encode_image(pixels.to(self.device, self.dtype), normalize=True))

    def encode_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        import torch

        tokens = self.tokenizer(list(texts)).to(self.device)
        with torch.inference_mode():
            return _rows(self.model.encode_text(tokens, normalize=True))

    def cut_off(self, text: str) -> str:
        limit = self.tokenizer.context_length
        if hasattr(self.tokenizer, "tokenizer"):
            return words_behind(text, lambda words: len(self.tokenizer.tokenizer(words).input_ids) <= limit)
        return words_behind(text, lambda words: len(self.tokenizer.encode(words)) + 2 <= limit)  # start and end tokens


class _OfTransformers:
    def __init__(self, repo: str, processor: str | None, device: str, dtype: str) -> None:
        self.model, self.processor = load_transformers("AutoModel", repo, None, device, dtype, processor)
        kind, text = self.model.config.model_type, self.model.config.text_config
        places = text.max_position_embeddings - (text.pad_token_id + 1 if kind == "altclip" else 0)  # those of RoBERTa
        self.context = min(places, self.processor.tokenizer.model_max_length)
        # SigLIP was taught on texts filled up to its context; the masks of others leave the filling out.
        self.padding = "max_length" if kind.startswith("siglip") else "longest"
        self.scale, self.bias, self.biased = _logits(self.model)

    def encode_images(self, images: Sequence[Image]) -> list[np.ndarray]:
        import torch
        from torch.nn.functional import normalize

        inputs = self.processor(images=[as_rgb(image) for image in images], return_tensors="pt")
        with torch.inference_mode():
            seen = self.model.get_image_features(**on_device(inputs, self.model))
        return _rows(normalize(seen.pooler_output.float(), dim=-1))

    def encode_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        import torch
        from torch.nn.functional import normalize

        inputs = self.processor(
            text=list(texts), padding=self.padding, truncation=True, max_length=self.context, return_tensors="pt"
        )
        with torch.inference_mode():
            read = self.model.get_text_features(**on_device(inputs, self.model))
        return _rows(normalize(read.pooler_output.float(), dim=-1))

    def cut_off(self, text: str) -> str:
        return words_behind(
            text, lambda words: len(self.processor.tokenizer(words, verbose=False).input_ids) <= self.context
        )


def _logits(model: Any) -> tuple[float, float, bool]:
    bias = getattr(model, "logit_bias", None)
    scale = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature  # of ALIGN
    return scale.item(), 0.0 if bias is None else bias.item(), bias is not None


def _rows(features: Tensor) -> list[np.ndarray]:
    return list(features.float().cpu().numpy())
