"""Tiny pairs of towers of random weights, of the families of transformers that CLIP has beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiny_models import word_tokenizer

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE = {**SMALL, "image_size": 32, "patch_size": 8}
ENDS = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 2}
SQUARE = {"size": {"height": 32, "width": 32}}
Parts = tuple[Any, Any]


def _words() -> Any:
    return word_tokenizer(ending=True)


def _pixels() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def metaclip() -> Parts:
    import transformers as t

    words = _words()
    text = {**SMALL, **ENDS, "vocab_size": len(words), "max_position_embeddings": 16}
    config = t.MetaClip2Config(text_config=text, vision_config=IMAGE, projection_dim=16)
    return t.MetaClip2Model(config), t.CLIPProcessor(_pixels(), words)


def altclip() -> Parts:
    import transformers as t

    words = _words()
    text = {**SMALL, **ENDS, "vocab_size": len(words), "max_position_embeddings": 17, "project_dim": 16}
    config = t.AltCLIPConfig(text_config=text, vision_config=IMAGE, projection_dim=16)
    return t.AltCLIPModel(config), t.AltCLIPProcessor(_pixels(), words)


def chinese_clip() -> Parts:
    import transformers as t

    words = _words()
    text = {**SMALL, "pad_token_id": 0, "vocab_size": len(words), "max_position_embeddings": 16}
    config = t.ChineseCLIPConfig(text_config=text, vision_config=IMAGE, projection_dim=16)
    return t.ChineseCLIPModel(config), t.ChineseCLIPProcessor(
        t.ChineseCLIPImageProcessor(**SQUARE, crop_size=SQUARE["size"]), words
    )


def align() -> Parts:
    import transformers as t

    words = _words()
    text = {**SMALL, "pad_token_id": 0, "vocab_size": len(words), "max_position_embeddings": 16}
    image = {"image_size": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 64}
    image["initializer_range"] = 0.5  # as its usual one gives so narrow a tower no picture at all
    config = t.AlignConfig(text_config=text, vision_config=image, projection_dim=32)
    return t.AlignModel(config), t.AlignProcessor(t.EfficientNetImageProcessor(**SQUARE), words)


def siglip2() -> Parts:
    """Return a SigLIP 2 that takes pictures of any shape, as patches."""
    import transformers as t

    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz,"]
    words = t.Siglip2Tokenizer(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    text = {**SMALL, "vocab_size": len(letters), "max_position_embeddings": 16, "projection_size": 32, **ENDS}
    image = {**SMALL, "num_patches": 16, "patch_size": 16}
    pixels = t.Siglip2ImageProcessor(patch_size=16, max_num_patches=16)
    return t.Siglip2Model(t.Siglip2Config(text_config=text, vision_config=image)), t.Siglip2Processor(pixels, words)


KINDS: dict[str, Callable[[], Parts]] = {
    "metaclip": metaclip,
    "altclip": altclip,
    "chinese-clip": chinese_clip,
    "align": align,
    "siglip2": siglip2,
}
