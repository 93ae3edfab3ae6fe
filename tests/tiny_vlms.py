"""Tiny vision-language models of random weights, of further families than tiny_judges.py has: LLaVA, PaliGemma, Gemma 3 …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tiny_words import bytes_tokenizer, chat_template, pieces_tokenizer

LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2}
SIZE = {"hidden_size": 32, "intermediate_size": 32, **LAYERS}
TEXT = {**SIZE, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 1024}
EYE = {**SIZE, "image_size": 56, "patch_size": 14}
CLIP_EYE = {"model_type": "clip_vision_model", "projection_dim": 32, **EYE}
SIGLIP_EYE = {"model_type": "siglip_vision_model", "vision_use_head": False, **EYE}
SQUARE = {"height": 56, "width": 56}
GRID = [[56, 112], [112, 56], [112, 112]]
ROWS = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
Parts = tuple[Any, Any]


def heard(model: Any) -> Any:
    """Return the model with a head of its own that peaks: random embeddings say all words alike."""
    model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight) * 1.5)
    return model.eval()


def _image_ids(tokenizer: Any, mark: str) -> dict[str, int]:
    return dict.fromkeys(("image_token_id", "image_token_index"), tokenizer.convert_tokens_to_ids(mark))


def llava() -> Parts:
    import transformers as t

    words = pieces_tokenizer(["<image>"])
    text = {"model_type": "llama", **TEXT, "vocab_size": len(words)}
    config = t.LlavaConfig(text_config=text, vision_config=CLIP_EYE, **_image_ids(words, "<image>"))
    pixels = t.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=SQUARE)
    places = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return t.LlavaForConditionalGeneration(config), t.LlavaProcessor(
        pixels, words, chat_template=chat_template(), **places
    )


def llava_next() -> Parts:
    import transformers as t

    words = pieces_tokenizer(["<image>"])
    text = {"model_type": "llama", **TEXT, "vocab_size": len(words)}
    marks = _image_ids(words, "<image>")
    config = t.LlavaNextConfig(text_config=text, vision_config=CLIP_EYE, image_grid_pinpoints=GRID, **marks)
    pixels = t.LlavaNextImageProcessor(size={"shortest_edge": 56}, crop_size=SQUARE, image_grid_pinpoints=GRID)
    places = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return t.LlavaNextForConditionalGeneration(config), t.LlavaNextProcessor(
        pixels, words, chat_template=chat_template(), **places
    )


def llava_onevision() -> Parts:
    import transformers as t

    words = bytes_tokenizer(["<image>", "<video>"])
    text = {"model_type": "qwen2", **TEXT, "vocab_size": len(words)}
    marks = _image_ids(words, "<image>") | {"video_token_index": words.convert_tokens_to_ids("<video>")}
    config = t.LlavaOnevisionConfig(text_config=text, vision_config=SIGLIP_EYE, image_grid_pinpoints=GRID, **marks)
    pixels = t.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=GRID)
    return t.LlavaOnevisionForConditionalGeneration(config), t.LlavaOnevisionProcessor(
        pixels,
        words,
        t.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template(),
    )


def _idefics(kind: str) -> Parts:
    """Return an Idefics3 or a SmolVLM: the picture as a whole and in tiles."""
    import transformers as t

    marks = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *ROWS, "<video>"]
    words = bytes_tokenizer(marks)
    config = {
        "text_config": {"model_type": "llama", **TEXT, "vocab_size": len(words)},
        "vision_config": {**SIZE, "image_size": 64, "patch_size": 8},
        "image_token_id": words.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }
    sizes = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}
    said = {"image_seq_len": 16, "chat_template": chat_template()}
    if kind == "idefics3":
        pixels = t.Idefics3ImageProcessor(do_image_splitting=True, **sizes)
        return t.Idefics3ForConditionalGeneration(t.Idefics3Config(**config)), t.Idefics3Processor(
            pixels, words, **said
        )
    pixels = t.SmolVLMImageProcessor(do_image_splitting=True, **sizes)
    videos = t.SmolVLMVideoProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 64})
    return t.SmolVLMForConditionalGeneration(t.SmolVLMConfig(**config)), t.SmolVLMProcessor(
        pixels, words, videos, **said
    )


def paligemma() -> Parts:
    import transformers as t

    pixels = t.SiglipImageProcessor(size=SQUARE)
    pixels.image_seq_length = 16
    processor = t.PaliGemmaProcessor(pixels, pieces_tokenizer())
    text = {"model_type": "gemma", **TEXT, "vocab_size": len(processor.tokenizer)}
    marks = dict.fromkeys(("image_token_id", "image_token_index"), processor.image_token_id)
    eye = {**SIGLIP_EYE, "projection_dim": 32}
    config = t.PaliGemmaConfig(text_config=text, vision_config=eye, projection_dim=32, hidden_size=32, **marks)
    return t.PaliGemmaForConditionalGeneration(config), processor


def gemma3() -> Parts:
    """Return a Gemma 3, whose template writes the first token itself."""
    import transformers as t

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    words = pieces_tokenizer(["<start_of_turn>", "<end_of_turn>", *named.values()], named)
    layers = {"sliding_window": 512, "layer_types": ["full_attention"] * 2, "bos_token_id": 1}
    start, end, _ = words.convert_tokens_to_ids(list(named.values()))
    config = t.Gemma3Config(
        text_config={**TEXT, "vocab_size": len(words), **layers},
        vision_config=SIGLIP_EYE,
        mm_tokens_per_image=4,
        boi_token_index=start,
        eoi_token_index=end,
        **_image_ids(words, "<image_soft_token>"),
    )
    template = chat_template("<start_of_image>", begin="{{ bos_token }}")
    pixels = t.Gemma3ImageProcessor(size=SQUARE)
    return t.Gemma3ForConditionalGeneration(config), t.Gemma3Processor(
        pixels, words, chat_template=template, image_seq_length=4
    )


def internvl() -> Parts:
    import transformers as t

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    named["video_token"] = "<video>"
    words = bytes_tokenizer(list(named.values()), extra_special_tokens=named)
    config = t.InternVLConfig(
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": len(words)},
        vision_config={**SIZE, "image_size": [56, 56], "patch_size": [14, 14], "use_qk_norm": False},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    pixels = t.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, max_patches=4)
    videos = t.InternVLVideoProcessor(size=SQUARE)
    return t.InternVLForConditionalGeneration(config), t.InternVLProcessor(
        pixels, words, videos, image_seq_length=4, chat_template=chat_template("<IMG_CONTEXT>")
    )


def blip2() -> Parts:
    import transformers as t

    words = bytes_tokenizer(["<image>"])
    text = {"model_type": "opt", "vocab_size": len(words), "hidden_size": 16, "ffn_dim": 16, **LAYERS}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.Blip2Config(
        text_config={**text, "word_embed_proj_dim": 16, "max_position_embeddings": 256, "pad_token_id": 1},
        vision_config={**small, "image_size": 28, "patch_size": 14},
        qformer_config={**small, "encoder_hidden_size": 16},
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    pixels = t.BlipImageProcessor(size={"height": 28, "width": 28})
    return t.Blip2ForConditionalGeneration(config), t.Blip2Processor(pixels, words, num_query_tokens=4)


FAMILIES: dict[str, Callable[[], Parts]] = {
    "llava": llava,
    "llava-next": llava_next,
    "llava-onevision": llava_onevision,
    "smolvlm2": lambda: _idefics("smolvlm"),
    "idefics3": lambda: _idefics("idefics3"),
    "paligemma": paligemma,
    "gemma3": gemma3,
    "internvl": internvl,
    "blip2": blip2,
}
