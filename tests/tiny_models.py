"""Tiny image generators of random weights, of the pipelines that the big ones have; the judges are in tiny_judges.py.

Tokenizers have one token a word, and know the words of WORDS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = (  # noqa: SIM905
    "a an the some is are there how many what does this image show picture of in on it with to and no left right above "
    "below next one two three four five six seven eight nine ten eleven twelve zero red blue green yellow orange purple "
    "pink black white gray brown circle circles square squares triangle triangles star stars heart hearts ring rings "
    "cross crosses background style watercolor flat design line art photo very small large bright cat dog couch answer "
    "question word yes describe user assistant or"
).split()
ENDS = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}


def word_tokenizer(marks: Sequence[str] = (), *, lower: bool = True, ending: bool = False, **options: Any) -> Any:
    """Return a tokenizer of one token a word. `marks` are special tokens; `ending` closes every text with <eos>."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = WORDS if lower else [*WORDS, *(word.title() for word in WORDS)]
    names = ["<pad>", "<eos>", "<unk>", *marks, "\n", "\n\n", ":", "?", ".", ",", '"', *words]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), "removed", invert=True)
    if ending:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ENDS, **options)
    wrapped.add_special_tokens({"additional_special_tokens": list(marks)})
    return wrapped


def chat(image: str) -> str:
    """Return a chat template that puts `image` where a message has a picture."""
    return (
        "<|im_start|>user\n{% for part in messages[0]['content'] %}{% if part['type'] == 'image' %}"
        f"{image}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}<|im_end|>\n<|im_start|>assistant\n"
    )


def clip_encoder(vocabulary: int, *, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
    config = CLIPTextConfig(vocab_size=vocabulary, max_position_embeddings=32, projection_dim=32, **size, **ends)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5_encoder(vocabulary: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    size = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 32, "num_layers": 1, "dropout_rate": 0.0}
    return T5EncoderModel(T5Config(vocab_size=vocabulary, **size)).eval()


def autoencoder(channels: int, kind: str = "AutoencoderKL", **options: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        **options,
    )


def flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    words = word_tokenizer(ending=True, model_max_length=32)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(1, shift_factor=0.1),
        text_encoder=clip_encoder(len(words)),
        tokenizer=words,
        text_encoder_2=t5_encoder(len(words)),
        tokenizer_2=words,
        transformer=transformer,
    )


def flux_2_klein() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    words = word_tokenizer(ending=True, model_max_length=32)
    words.chat_template = "{% for m in messages %}the image of {{ m.content }} {% endfor %}on the left"
    size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    qwen = Qwen3Config(vocab_size=len(words), num_hidden_layers=28, head_dim=8, **size)  # layers 9, 18 and 27 are read
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, "AutoencoderKLFlux2"),
        text_encoder=Qwen3ForCausalLM(qwen).eval(),
        tokenizer=words,
        transformer=transformer,
    )


def unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        **options,
    )


def stable_diffusion() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    words = word_tokenizer(ending=True, model_max_length=32)
    return StableDiffusionPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(len(words)),
        tokenizer=words,
        unet=unet(sample_size=16, cross_attention_dim=32, attention_head_dim=4),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    words = word_tokenizer(ending=True, model_max_length=32)
    embedding = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    return StableDiffusionXLPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(len(words)),
        tokenizer=words,
        text_encoder_2=clip_encoder(len(words), projected=True),
        tokenizer_2=words,
        unet=unet(
            sample_size=16,
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            projection_class_embeddings_input_dim=80,  # 6 numbers of 8 each, and the 32 of the text
            **embedding,
        ),
        scheduler=EulerDiscreteScheduler(),
    )


GENERATORS: dict[str, Callable[[], Any]] = {
    "flux": flux,
    "flux-2-klein": flux_2_klein,
    "stable-diffusion": stable_diffusion,
    "sdxl": sdxl,
}


def build_generator(kind: str, folder: Path) -> Path:
    """Write the generator of that kind, always with the same weights, in the layout in which the big ones are shared."""
    torch.manual_seed(0)
    GENERATORS[kind]().save_pretrained(folder)
    return folder
