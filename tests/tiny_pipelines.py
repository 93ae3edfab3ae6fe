"""Tiny image generators of random weights, of further pipelines than tiny_models.py has: SD 3, PixArt, Sana, Qwen-Image …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiny_models import autoencoder, clip_encoder, flux, t5_encoder, word_tokenizer
from tiny_words import bytes_tokenizer, chat_template

LAYERS = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}


def _matching(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def _words() -> Any:
    return word_tokenizer(ending=True, model_max_length=32)


def schnell() -> Any:
    """Return a FLUX that is not told how strongly to follow the prompt."""
    pipeline = flux()
    config = {**pipeline.transformer.config, "guidance_embeds": False}
    pipeline.register_modules(transformer=type(pipeline.transformer).from_config(config))
    return pipeline


def flux_2() -> Any:
    import diffusers as d
    import transformers as t

    marks = ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<s>"]
    words = bytes_tokenizer(marks)
    image = words.convert_tokens_to_ids("[IMG]")
    config = t.Mistral3Config(
        text_config={"model_type": "mistral", "vocab_size": len(words), "num_hidden_layers": 31, **LAYERS},
        vision_config={
            **{"model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"intermediate_size": 16, "head_dim": 8, "image_size": 56, "patch_size": 14},
        },
        image_token_index=image,
        spatial_merge_size=1,
    )
    template = chat_template("[IMG]", begin="<s>")
    reader = t.PixtralProcessor(
        t.PixtralImageProcessor(), words, patch_size=14, spatial_merge_size=2, chat_template=template
    )
    transformer = d.Flux2Transformer2DModel(
        **{"in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16},
        **{"num_attention_heads": 2, "joint_attention_dim": 48, "axes_dims_rope": (4, 4, 4, 4)},
    )
    encoder = t.Mistral3ForConditionalGeneration(config).eval()
    return d.Flux2Pipeline(_matching(), autoencoder(4, "AutoencoderKLFlux2"), encoder, reader, transformer)


def sd3() -> Any:
    import diffusers as d

    words = _words()
    clips = [clip_encoder(len(words), projected=True) for _ in range(2)]
    transformer = d.SD3Transformer2DModel(
        **{"sample_size": 32, "patch_size": 1, "in_channels": 4, "out_channels": 4, "num_layers": 1},
        **{"attention_head_dim": 8, "num_attention_heads": 4, "joint_attention_dim": 32},
        **{"caption_projection_dim": 32, "pooled_projection_dim": 64},
    )
    texts = {"text_encoder": clips[0], "text_encoder_2": clips[1], "text_encoder_3": t5_encoder(len(words))}
    tokenizers = {"tokenizer": words, "tokenizer_2": words, "tokenizer_3": words}
    return d.StableDiffusion3Pipeline(
        transformer, _matching(shift=3.0), autoencoder(4, shift_factor=0.06), **texts, **tokenizers
    )


def pixart() -> Any:
    import diffusers as d

    words = _words()
    transformer = d.PixArtTransformer2DModel(
        **{"sample_size": 8, "num_layers": 1, "patch_size": 2, "attention_head_dim": 8, "num_attention_heads": 3},
        **{"caption_channels": 32, "in_channels": 4, "out_channels": 8, "cross_attention_dim": 24},
        **{"norm_type": "ada_norm_single", "norm_elementwise_affine": False, "norm_eps": 1e-6},
        use_additional_conditions=False,
    )
    return d.PixArtSigmaPipeline(words, t5_encoder(len(words)), autoencoder(4), transformer, d.DDIMScheduler())


def sana() -> Any:
    import diffusers as d
    import transformers as t

    words = bytes_tokenizer(["<bos>"])
    text = {**LAYERS, "hidden_size": 8, "num_hidden_layers": 1, "sliding_window": 64, "vocab_size": len(words)}
    blocks, channels = ("ResBlock", "EfficientViTBlock"), (8, 8)
    vae = d.AutoencoderDC(
        **{"in_channels": 3, "latent_channels": 4, "attention_head_dim": 2, "scaling_factor": 0.41},
        **{"encoder_block_types": blocks, "decoder_block_types": blocks},
        **{"encoder_block_out_channels": channels, "decoder_block_out_channels": channels},
        **{"encoder_qkv_multiscales": ((), (5,)), "decoder_qkv_multiscales": ((), (5,))},
        **{"encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1)},
        **{"downsample_block_type": "conv", "upsample_block_type": "interpolate"},
        **{"decoder_norm_types": "rms_norm", "decoder_act_fns": "silu"},
    )
    transformer = d.SanaTransformer2DModel(
        **{"patch_size": 1, "in_channels": 4, "out_channels": 4, "num_layers": 1, "num_attention_heads": 2},
        **{"attention_head_dim": 4, "num_cross_attention_heads": 2, "cross_attention_head_dim": 4},
        **{"cross_attention_dim": 8, "caption_channels": 8, "sample_size": 32},
    )
    encoder = t.Gemma2Model(t.Gemma2Config(**text)).eval()
    return d.SanaPipeline(words, encoder, vae, transformer, _matching(shift=7.0))


def z_image() -> Any:
    import diffusers as d
    import transformers as t

    words = bytes_tokenizer(["<think>", "</think>"])
    words.chat_template = chat_template()
    encoder = t.Qwen3Model(t.Qwen3Config(vocab_size=len(words), num_hidden_layers=2, **LAYERS)).eval()
    transformer = d.ZImageTransformer2DModel(
        **{"all_patch_size": (2,), "all_f_patch_size": (1,), "in_channels": 4, "dim": 32, "n_layers": 2},
        **{"n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 16},
        **{"axes_dims": [8, 4, 4], "axes_lens": [1536, 512, 512]},
    )
    return d.ZImagePipeline(
        _matching(), autoencoder(4, scaling_factor=0.36, shift_factor=0.1), encoder, words, transformer
    )


def qwen_image() -> Any:
    import diffusers as d
    import transformers as t

    words = bytes_tokenizer(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"])
    words.chat_template = chat_template()
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    small = {"hidden_size": 16, "intermediate_size": 16}
    config = t.Qwen2_5_VLConfig(
        text_config={
            **small,
            **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
            **{"rope_parameters": rope, "vocab_size": len(words)},
        },
        vision_config={**small, "depth": 1, "num_heads": 2, "out_hidden_size": 16},
    )
    vae = d.AutoencoderKLQwenImage(
        **{"base_dim": 24, "z_dim": 4, "dim_mult": [1, 2, 4], "num_res_blocks": 1},
        **{"temperal_downsample": [False, True], "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4},
    )
    transformer = d.QwenImageTransformer2DModel(
        **{"patch_size": 2, "in_channels": 16, "out_channels": 4, "num_layers": 1, "attention_head_dim": 16},
        **{"num_attention_heads": 3, "joint_attention_dim": 16, "axes_dims_rope": (8, 4, 4)},
    )
    encoder = t.Qwen2_5_VLForConditionalGeneration(config).eval()
    return d.QwenImagePipeline(_matching(use_dynamic_shifting=True), vae, encoder, words, transformer)


def chroma() -> Any:
    import diffusers as d

    words = _words()
    transformer = d.ChromaTransformer2DModel(
        **{"patch_size": 1, "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16},
        **{"num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": (4, 4, 8)},
        **{"approximator_hidden_dim": 32, "approximator_layers": 1, "approximator_num_channels": 16},
    )
    vae = autoencoder(4, shift_factor=0.1)
    return d.ChromaPipeline(_matching(), vae, t5_encoder(len(words)), words, transformer)


PIPELINES: dict[str, Callable[[], Any]] = {
    "schnell": schnell,
    "flux-2": flux_2,
    "sd3": sd3,
    "pixart": pixart,
    "sana": sana,
    "z-image": z_image,
    "qwen-image": qwen_image,
    "chroma": chroma,
}
