"""Weights of a prompt's words as they are drawn: the parameter `prompt_weights`, for pipelines that compel knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from forgekit.errors import ParameterError
from forgekit.scene.syntax.weighing import weigh

WEIGHTS = "prompt_weights"  # the parameter
APPLIED = "weights_applied"  # what is recorded of it
TEXTS = ("prompt", "negative_prompt")
MISSING = "it takes compel, which is not installed: pip install 'forgekit[weights]'"
LAST, PENULTIMATE = "LAST_HIDDEN_STATES_NORMALIZED", "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED"
# By class of pipeline, as compel's CompelForSD, CompelForSDXL and CompelForFlux have it: the text encoders that read word by word,
# what of them is read, and the one that reads the text as a whole, where words have no weight.
ENCODERS: Mapping[str, tuple[Sequence[str], str, str | None]] = {
    "StableDiffusionPipeline": (["text_encoder"], LAST, None),
    "StableDiffusionXLPipeline": (["text_encoder", "text_encoder_2"], PENULTIMATE, "text_encoder_2"),
    "FluxPipeline": (["text_encoder_2"], LAST, "text_encoder"),
}


def compel_version() -> str | None:
    """Return the version of compel, which determines pixels; None where it is not installed."""
    try:
        return version("compel")
    except PackageNotFoundError:
        return None


def hindrance(arguments: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return why words cannot be weighed as the arguments of a call say, and the arguments of which one must go; else ("", [])."""
    if arguments.get(WEIGHTS) and compel_version() is None:
        return MISSING, [WEIGHTS]
    if arguments.get(WEIGHTS) and arguments.get("clip_skip"):
        return f"clip_skip and {WEIGHTS} do not go together", ["clip_skip", WEIGHTS]
    return "", []


def check_weights(arguments: Mapping[str, Any]) -> None:
    """Raise a ParameterError where words cannot be weighed as the arguments of a call say."""
    reason, _ = hindrance(arguments)
    if not isinstance(arguments.get(WEIGHTS, False), bool):
        reason = "give true or false"
    if reason:
        raise ParameterError(f"{WEIGHTS}={arguments[WEIGHTS]!r}: {reason}")


def as_read(prompt: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Return a prompt as text encoders read it, and what is recorded: the weights, as written, that are applied, if any.

    Those of the prompt come first, then those of the negative prompt.
    """
    if not arguments.get(WEIGHTS):
        return prompt, {}
    read = weigh(prompt)
    marks = [*read.marks, *weigh(arguments.get("negative_prompt") or "").marks]
    return read.text, {APPLIED: marks} if marks else {}


def weighed(pipeline: Any, call: Mapping[str, Any], length: int | None) -> dict[str, Any]:
    """Return a pipeline's call with embeddings in the place of its texts, their words weighed by compel.

    Where all weighs 1 the texts stay texts, without their marks. A weight below 0 counts as 0. A text is cut off where the
    pipeline cuts it: CLIP encoders at what their tokenizer says, T5 at `length` tokens, the call's `max_sequence_length`.

    Raises:
        ParameterError: the weights of the pipeline are loaded layer by layer.
    """
    texts = {name: call[name] for name in TEXTS if name in call}
    call = {name: value for name, value in call.items() if name not in texts}
    if all(weigh(text).is_plain for side in texts.values() for text in side):
        return call | {name: [weigh(text).text for text in side] for name, side in texts.items()}
    import torch
    from compel import EmbeddingsProvider, ReturnedEmbeddingsType

    by_word, kind, as_whole = ENCODERS[type(pipeline).__name__]
    device = pipeline._execution_device

    @cache
    def provider(encoder: str) -> EmbeddingsProvider:
        model = getattr(pipeline, encoder)
        if model.device.type == "meta":
            raise ParameterError(f'{WEIGHTS} does not go with the offload "sequential"; "model" works')
        tokenizer = getattr(pipeline, encoder.replace("text_encoder", "tokenizer"))
        return EmbeddingsProvider(
            tokenizer,
            model,
            returned_embeddings_type=getattr(ReturnedEmbeddingsType, kind),
            model_max_length=None if "CLIP" in type(model).__name__ else length,
            device=device,
        )

    @cache
    def words(text: str) -> torch.Tensor:
        parts = [(part, max(weight, 0.0)) for part, weight in weigh(text).parts if part.strip()]
        asked = ([[part for part, _ in parts]], [[weight for _, weight in parts]])
        read = [provider(e).get_embeddings_for_weighted_prompt_fragments(*asked, device=device) for e in by_word]
        return torch.cat(read, dim=-1)

    with torch.no_grad():
        for name, side in texts.items():
            call[f"{name}_embeds"] = torch.cat([words(text) for text in side])
            if as_whole:
                whole = provider(as_whole).get_pooled_embeddings([weigh(text).text for text in side], device=device)
                call[name.replace("prompt", "pooled_prompt_embeds")] = whole
    return call
