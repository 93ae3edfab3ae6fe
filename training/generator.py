"""The parts of `mini`, a FLUX of 3.5 M parameters, and how they become a diffusers folder and training state."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file
from tokenizers import Regex, pre_tokenizers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from training.words import word_tokenizer

# One word a line; line numbers are the weights' token ids, so only append.
VOCABULARY = Path(__file__).parent / "vocabulary.txt"
TEXT_TOKENS = 32
LATENT_CHANNELS, LATENT_SIDE = 4, 16
TOKEN_SIDE = LATENT_SIDE // 2  # FLUX packs 2x2 latents into one image token
TOKENS, TOKEN_WIDTH = TOKEN_SIDE**2, LATENT_CHANNELS * 4
HEADS, HEAD_WIDTH = 4, 32
CLIP_WIDTH = 64
WIDTH = HEADS * HEAD_WIDTH
T5 = {
    **{"d_model": WIDTH, "d_kv": HEAD_WIDTH, "num_heads": HEADS, "d_ff": 2 * WIDTH, "num_layers": 3},
    **{"feed_forward_proj": "gated-gelu", "dropout_rate": 0.0, "pad_token_id": 0, "eos_token_id": 1},
}
CLIP = {
    **{"hidden_size": CLIP_WIDTH, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"max_position_embeddings": TEXT_TOKENS, "projection_dim": CLIP_WIDTH},
    **{"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
}
TRANSFORMER = {
    **{"num_layers": 3, "num_single_layers": 4, "num_attention_heads": HEADS, "attention_head_dim": HEAD_WIDTH},
    **{"in_channels": TOKEN_WIDTH, "patch_size": 1, "axes_dims_rope": (4, 14, 14), "guidance_embeds": False},
    **{"joint_attention_dim": WIDTH, "pooled_projection_dim": CLIP_WIDTH},
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer: lower case, commas and stops apart, every other word `<unk>`."""
    pieces = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("[,.]"), "isolated")]
    )
    special = {"pad_token": "<pad>", "eos_token": "</s>", "model_max_length": TEXT_TOKENS}
    return word_tokenizer(VOCABULARY.read_text().split(), special=special, ending="</s>", pieces=pieces)


class MiniFlux(nn.Module):
    """Text encoders and transformer of `mini`, trained together. The autoencoder stands apart: it is trained first."""

    def __init__(self) -> None:
        super().__init__()
        words = len(VOCABULARY.read_text().split())
        self.t5 = T5EncoderModel(T5Config(vocab_size=words, **T5))
        self.clip = CLIPTextModel(CLIPTextConfig(vocab_size=words, **CLIP))
        self.transformer = FluxTransformer2DModel(**TRANSFORMER)
        rows, columns = torch.meshgrid(torch.arange(TOKEN_SIDE), torch.arange(TOKEN_SIDE), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(TOKENS, 3).float()
        self.register_buffer("image_ids", places, persistent=False)
        self.register_buffer("text_ids", torch.zeros(TEXT_TOKENS, 3), persistent=False)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return text features (n, 32, 128) and the pooled vector (n, 64) of token ids (n, 32)."""
        return self.t5(ids).last_hidden_state, self.clip(ids).pooler_output

    def forward(self, tokens: Tensor, t: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
        """Return the velocity noise - clean of image tokens (n, 64, 16) at times `t` (n,) in [0, 1], 1 being noise."""
        return self.transformer(
            hidden_states=tokens,
            timestep=t,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            img_ids=self.image_ids,
            txt_ids=self.text_ids,
            return_dict=False,
        )[0]


def load_exported(model: MiniFlux, folder: Path) -> None:
    """Load the weights that `export` wrote to `folder`."""
    parts = {
        "text_encoder": (model.clip, "model"),
        "text_encoder_2": (model.t5, "model"),
        "transformer": (model.transformer, "diffusion_pytorch_model"),
    }
    for name, (module, file) in parts.items():
        load_grown(module, {k: v.float() for k, v in load_file(folder / name / f"{file}.safetensors").items()})


def load_grown(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load weights made with a shorter vocabulary: words appended since keep their fresh embeddings."""
    grown = {}
    for name, fresh in module.state_dict().items():
        old = state.get(name, fresh)  # tied weights are stored once
        grown[name] = old if old.shape == fresh.shape else torch.cat([old, fresh[len(old) :]])
    module.load_state_dict(grown)


def pack(latents: Tensor) -> Tensor:
    """Pack latents (n, 4, 16, 16) into image tokens (n, 64, 16), as FluxPipeline does."""
    n = len(latents)
    blocks = latents.reshape(n, LATENT_CHANNELS, TOKEN_SIDE, 2, TOKEN_SIDE, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(n, TOKENS, TOKEN_WIDTH)


def unpack(tokens: Tensor) -> Tensor:
    """Undo `pack`."""
    n = len(tokens)
    blocks = tokens.reshape(n, TOKEN_SIDE, TOKEN_SIDE, LATENT_CHANNELS, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(n, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)


@torch.no_grad()
def encode_pictures(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Return pictures (n, 3, 64, 64) in [0, 1] as latents (n, 4, 16, 16) of unit variance."""
    latents = vae.encode((pictures * 2 - 1).contiguous(memory_format=torch.channels_last)).latents
    return ((latents - vae.config.shift_factor) * vae.config.scaling_factor).contiguous()


def export(model: MiniFlux, vae: AutoencoderTiny, folder: Path) -> None:
    """Write a FluxPipeline folder in half precision; `AutoPipelineForText2Image.from_pretrained` opens it."""
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0, use_dynamic_shifting=False),
        vae=vae,
        text_encoder=model.clip,
        tokenizer=tokenizer(),
        text_encoder_2=model.t5,
        tokenizer_2=tokenizer(),
        transformer=model.transformer,
    )
    for name in ("vae", "text_encoder", "text_encoder_2", "transformer"):
        setattr(pipeline, name, deepcopy(getattr(pipeline, name)).eval().half())  # the caller's own stay as they are
    pipeline.vae.register_to_config(_name_or_path="")
    pipeline.save_pretrained(folder, safe_serialization=True)
