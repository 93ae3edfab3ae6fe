"""Tiny judges of random weights, of the architectures that the big ones have; what they share is in tiny_models.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_models import WORDS, chat, word_tokenizer
from tiny_towers import KINDS

from forgekit.scene import Scene, parse

LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {"hidden_size": 32, "intermediate_size": 32, **LAYERS}
VISION_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TURNS = ("<|im_start|>", "<|im_end|>")


def scene(text: str) -> Scene:
    return Scene(text, parse(text))


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return a picture of noise; `size` is width and height."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def build_judge(kind: str, folder: Path) -> Path:
    """Write the model of that kind, always with the same weights, in the layout in which the big ones are shared."""
    torch.manual_seed(0)
    for part in JUDGES[kind]():
        part.save_pretrained(folder)
    return folder


def build_clip(folder: Path, **extra: Any) -> Path:
    """Write a CLIP like ViT-L-14 in the layout that `local-dir:` reads; `extra` goes into its configuration."""
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, **extra}
    preprocess = {"size": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def fuyu_tokenizer() -> Any:
    """Return a tokenizer for FuyuProcessor, which drops the first token before an image, taking it for a "▁"."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<eos>", "<unk>", "▁", "|SPEAKER|", "|NEWLINE|", "<s>", "<0x04>", "?", ".", '"', *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    replaced = ((Regex(r"^\|speaker\|"), "▁|SPEAKER|"), ("|speaker|", "|SPEAKER|"), ("|newline|", "|NEWLINE|"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), *(normalizers.Replace(*pair) for pair in replaced)]
    )
    pieces = Regex(r"\|SPEAKER\||\|NEWLINE\||<s>|<0x04>|▁|\w+|[^\w\s]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(pieces, "isolated")]
    )
    ends = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)


def fuyu() -> tuple[Any, ...]:
    from transformers import FuyuConfig, FuyuForCausalLM, FuyuImageProcessor, FuyuProcessor

    words = fuyu_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0}
    ends = {"pad_token_id": 0, "bos_token_id": words.bos_token_id, "eos_token_id": 1}
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 256, "rope_parameters": rope, **ends}
    image = {"image_size": 64, "patch_size": 8, "image_token_id": words.convert_tokens_to_ids("|SPEAKER|")}
    pixels = FuyuImageProcessor(size={"height": 64, "width": 64}, patch_size={"height": 8, "width": 8})
    model = FuyuForCausalLM(FuyuConfig(text_config={"model_type": "persimmon", **text}, **image))
    return model, FuyuProcessor(image_processor=pixels, tokenizer=words)


def qwen_vl(
    version: str, *, text: Any = None, vision: Any = None, patch: int = 8, pixels: int = 4096
) -> tuple[Any, ...]:
    """Return a Qwen2.5-VL or a Qwen3-VL that reads up to `pixels` pixels; `text` and `vision` make its towers larger."""
    import transformers as t

    words = word_tokenizer((*TURNS, *VISION_MARKS), lower=False)
    start, end, image, video = words.convert_tokens_to_ids(list(VISION_MARKS))
    ids = {"vision_start_token_id": start, "vision_end_token_id": end, "image_token_id": image, "video_token_id": video}
    towers = {"hidden_size": 32, "intermediate_size": 32, "depth": 2, "num_heads": 2, "out_hidden_size": 32}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    if version == "2.5":
        towers |= {"fullatt_block_indexes": [1], "window_size": 4 * patch}
        kinds = t.Qwen2_5_VLConfig, t.Qwen2_5_VLForConditionalGeneration, t.Qwen2_5_VLProcessor, t.Qwen2VLVideoProcessor
    else:
        towers |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        rope["mrope_interleaved"] = True
        kinds = t.Qwen3VLConfig, t.Qwen3VLForConditionalGeneration, t.Qwen3VLProcessor, t.Qwen3VLVideoProcessor
    configuration, model, processor, videos = kinds
    config = configuration(
        text_config={
            **SMALL,
            **{"num_key_value_heads": 1, "head_dim": 16, "rope_parameters": rope},
            **{"vocab_size": len(words), "max_position_embeddings": 512},
            **{"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0},
            **(text or {}),
        },
        vision_config={**towers, "patch_size": patch, **(vision or {})},
        **ids,
    )
    sizes = {"patch_size": patch, "size": {"shortest_edge": 256, "longest_edge": pixels}}
    return model(config), processor(
        image_processor=t.Qwen2VLImageProcessor(**sizes),
        tokenizer=words,
        video_processor=videos(**sizes),
        chat_template=chat("<|vision_start|><|image_pad|><|vision_end|>"),
    )


def smolvlm() -> tuple[Any, ...]:
    """Return SmolVLM's architecture under its older name; SmolVLM's own processor needs one more library, for videos."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor, Idefics3Processor

    words = word_tokenizer(
        (*TURNS, "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"), lower=False
    )
    ends = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    config = Idefics3Config(
        text_config={"model_type": "llama", **SMALL, "vocab_size": len(words), **ends},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    sizes = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 32}, "do_image_splitting": False}
    pixels = Idefics3ImageProcessor(**sizes)
    return Idefics3ForConditionalGeneration(config), Idefics3Processor(
        pixels, words, image_seq_len=4, chat_template=chat("<image>")
    )


def owl(version: str) -> tuple[Any, ...]:
    """Return an OWL-ViT ("") or an OWLv2 ("v2")."""
    import transformers as t

    words = word_tokenizer(ending=True, model_max_length=16)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    settings = {
        "text_config": {**size, **ends, "vocab_size": len(words), "max_position_embeddings": 16},
        "vision_config": {**size, "hidden_size": 24, "image_size": 32, "patch_size": 8},
        "projection_dim": 16,
    }
    square = {"height": 32, "width": 32}
    if version == "v2":
        model = t.Owlv2ForObjectDetection(t.Owlv2Config(**settings))
        return model, t.Owlv2Processor(image_processor=t.Owlv2ImageProcessor(size=square), tokenizer=words)
    model = t.OwlViTForObjectDetection(t.OwlViTConfig(**settings))
    pixels = t.OwlViTImageProcessor(size=square, crop_size=square)
    return model, t.OwlViTProcessor(image_processor=pixels, tokenizer=words)


def grounding_dino() -> tuple[Any, ...]:
    import transformers as t

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    words = t.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, do_lower_case=True)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    swin = {"image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
    config = t.GroundingDinoConfig(
        backbone_config={"model_type": "swin", **swin, "out_features": ["stage2", "stage3", "stage4"]},
        text_config={"model_type": "bert", **text, "vocab_size": len(vocabulary)},
        d_model=32,
        **{"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 12, "max_text_len": 64},
    )
    pixels = t.GroundingDinoImageProcessor(size={"height": 128, "width": 128})
    return t.GroundingDinoForObjectDetection(config), t.GroundingDinoProcessor(image_processor=pixels, tokenizer=words)


def towers(kind: str) -> tuple[Any, ...]:
    """Return a CLIP or a SigLIP of transformers."""
    import transformers as t

    words = word_tokenizer(ending=True)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 1, "pad_token_id": 0}
    image = {**SMALL, "image_size": 32, "patch_size": 8}
    if kind == "siglip":
        pixels = t.SiglipImageProcessor(size={"height": 32, "width": 32})
        return t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=image)), t.SiglipProcessor(pixels, words)
    pixels = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    config = t.CLIPConfig(text_config=text, vision_config=image, projection_dim=16)
    return t.CLIPModel(config), t.CLIPProcessor(pixels, words)


VLMS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "fuyu": fuyu,
    "qwen2.5": lambda: qwen_vl("2.5"),
    "qwen3": lambda: qwen_vl("3"),
    "smolvlm": smolvlm,
}
DETECTORS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "owlvit": lambda: owl(""),
    "owlv2": lambda: owl("v2"),
    "grounding-dino": grounding_dino,
}
TOWERS: dict[str, Callable[[], tuple[Any, ...]]] = {kind: partial(towers, kind) for kind in ("clip", "siglip")} | KINDS
JUDGES = {**VLMS, **DETECTORS, **TOWERS}
