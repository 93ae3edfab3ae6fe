"""What a pipeline of diffusers takes, told without its weights: which parameters, which schedulers, how much of a prompt."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ParameterError, did_you_mean
from forgekit.models.loras import LORAS
from forgekit.models.prompt_weights import ENCODERS, WEIGHTS
from forgekit.models.running import quantised
from forgekit.models.weights import settings_at

ENTRY = "model_index.json"  # a file that every pipeline of diffusers has
# Call arguments of pipelines that are ours to set, or that would change the prompt or the output behind our back.
RESERVED = frozenset(
    {"self", "prompt", "prompt_2", "prompt_3", "image", "mask_image", "generator", "latents", "num_images_per_prompt"}
    | {"output_type", "return_dict", "callback", "callback_steps", "caption_upsample_temperature"}
    | {"callback_on_step_end", "callback_on_step_end_tensor_inputs"}
)
LARGE = re.compile("transformer|unet|text_encoder")  # parts of a pipeline
Signature = Mapping[str, inspect.Parameter]


def pipeline_class(address: str) -> type | None:
    """Return the class that the index of a folder or hub repository names; None where none is to be read, or not diffusers'."""
    import diffusers

    index = settings_at(address, ENTRY, fetch=True) or {}
    return getattr(diffusers, str(index.get("_class_name")), None)


def sequence_length(address: str, readers: Sequence[Reader] | None) -> int | None:
    """Return the `max_sequence_length` of the pipeline at an address where a call names none; None where nothing asks for it."""
    if readers and all(reader.is_clip for reader in readers):
        return None
    pipeline = pipeline_class(address)
    length = signature_of(pipeline).get("max_sequence_length") if pipeline else None
    return length.default if length else None


def signature_of(pipeline: type) -> Signature:
    """Return the call arguments of a class of pipelines."""
    return inspect.signature(pipeline.__call__).parameters


def settable(signature: Signature, pipeline: type) -> set[str]:
    """Return the names of the parameters that a request may set."""
    ours = {"scheduler", *([LORAS] if hasattr(pipeline, "load_lora_weights") else [])}
    ours |= {WEIGHTS} if pipeline.__name__ in ENCODERS else set()
    return ours | {n for n in signature if n not in RESERVED and not n.endswith(("embeds", "_image"))}


def broken(signature: Signature, pipeline: type) -> dict[str, str]:
    """Return which parameters of a class of pipelines fail with the libraries that are here, and why."""
    one_encoder = "text_encoder_2" not in inspect.signature(pipeline).parameters
    told = "diffusers' pipelines of one text encoder fail on it with transformers 5"
    return {"clip_skip": told} if one_encoder and "clip_skip" in signature else {}


def guidance(signature: Signature, arguments: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what turns the negative prompt on where it is above 1, and whether it is."""
    scale = "true_cfg_scale" if "true_cfg_scale" in signature else "guidance_scale"
    return scale, arguments.get(scale, signature[scale].default if scale in signature else 1) > 1


def check_scheduler(pipeline: Any, name: Any) -> None:
    """Raise a ParameterError where the pipeline cannot run with the scheduler of diffusers called `name`."""
    known = sorted(each.__name__ for each in getattr(getattr(pipeline, "scheduler", None), "compatibles", ()))
    if name not in known:
        raise ParameterError(
            f"scheduler={name!r} does not go with {type(pipeline).__name__}."
            f"{did_you_mean(str(name), known)} Known: {', '.join(known) or 'none, so leave it out'}"
        )


@contextmanager
def scheduled(pipeline: Any, name: str | None) -> Iterator[None]:
    """Have the pipeline run with the scheduler `name`, set up as its own one is; with its own where that is None.

    Both define how noise is taken away step by step, and share their settings ("Schedulers" in the documentation of diffusers).
    """
    if name is None:
        yield
        return
    import diffusers

    own = pipeline.scheduler
    pipeline.scheduler = getattr(diffusers, name).from_config(own.config)
    try:
        yield
    finally:
        pipeline.scheduler = own


def quantised_parts(address: str, kind: str) -> Any:
    """Return how the large parts of a pipeline, its denoiser and its text encoders, are loaded `quantised`."""
    import diffusers
    import transformers

    how = quantised(kind)
    index = settings_at(address, ENTRY) or {}
    libraries = {name: part[0] for name, part in index.items() if isinstance(part, list) and part and LARGE.match(name)}
    ways = {"diffusers": diffusers.TorchAoConfig, "transformers": transformers.TorchAoConfig}
    parts = {name: ways[library](how) for name, library in libraries.items() if library in ways}
    return diffusers.PipelineQuantizationConfig(quant_mapping=parts)


@dataclass(frozen=True)
class Reader:
    """A tokenizer of a pipeline and the text encoder it feeds."""

    name: str  # "tokenizer", "tokenizer_2" …
    tokenizer: Any
    encoder: str  # class of the text encoder: "CLIPTextModel", "T5EncoderModel" …
    pipeline: str = ""  # class of the pipeline

    @property
    def is_clip(self) -> bool:
        """Whether it stops where its tokenizer says; others stop where the call says."""
        return "CLIP" in self.encoder

    def limit(self, max_sequence_length: int | None) -> int:
        """Return how many tokens of a prompt are read, special and chat-template tokens already taken off."""
        total = self.tokenizer.model_max_length
        if max_sequence_length is not None and not self.is_clip:
            total = max_sequence_length
        return total - self._overhead()

    def _overhead(self) -> int:
        """Return how many tokens are not the prompt's: special tokens, or all of the chat template."""
        if self.pipeline.startswith("Sana"):
            return 2  # what it tells its encoder first is cut off again, and two tokens of the prompt's with it
        if self.is_clip or "T5" in self.encoder or not getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer.num_special_tokens_to_add()
        messages = [{"role": "user", "content": ""}]
        if "Mistral" in self.encoder:  # Flux2Pipeline alone speaks to its encoder first
            from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

            messages.insert(0, {"role": "system", "content": SYSTEM_MESSAGE})
        return len(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


def load_readers(repo: str, revision: str | None) -> list[Reader]:
    """Return the readers of the pipeline at `repo` (folder or hub id), loading tokenizers only.

    Raises:
        OSError: nothing to load at `repo`.
    """
    index = settings_at(repo, ENTRY, revision, fetch=True)
    if index is None:
        raise OSError(f"no {ENTRY} at {repo}")
    return [
        Reader(
            name,
            _tokenizer_class(part).from_pretrained(repo, subfolder=name, revision=revision),
            index.get(name.replace("tokenizer", "text_encoder"), [None, ""])[1],
            str(index.get("_class_name")),
        )
        for name, part in sorted(index.items())
        if name.startswith("tokenizer") and part[0]
    ]


def _tokenizer_class(part: Sequence[str]) -> Any:
    """Return the class that the pipeline itself loads this tokenizer with, which needs no torch; `AutoTokenizer`, which does,
    where it names a processor, or one that cannot say where in a text a token stands."""
    import transformers

    named = getattr(transformers, part[1], None) if part[0] == "transformers" and "Tokenizer" in part[1] else None
    fast = isinstance(named, type) and issubclass(named, transformers.PreTrainedTokenizerFast)
    return named if fast else transformers.AutoTokenizer


def truncated(readers: Sequence[Reader], prompt: str, max_sequence_length: int | None) -> dict[str, str]:
    """Return the part of `prompt` that each reader cuts off; readers that read it all are left out."""
    cut = {}
    for reader in readers:
        told = reader.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        spans, limit = told["offset_mapping"], reader.limit(max_sequence_length)
        if len(spans) > limit:
            cut[reader.name] = prompt[spans[max(limit, 0)][0] :]
    return cut
