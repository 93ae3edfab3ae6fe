"""LoRAs laid over a pipeline for some calls: the parameter `loras`, by folder, file or hub id, each with its strength."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.errors import ParameterError
from forgekit.models.memory import REFUSALS
from forgekit.models.naming import why_refused
from forgekit.models.weights import hub_file

LORAS = "loras"  # the parameter
ENDING = ".safetensors"
USUAL = f"pytorch_lora_weights{ENDING}"  # what diffusers calls a LoRA's weights


@dataclass(frozen=True)
class Lora:
    """Weights that change a model's style or teach it a thing, how strongly, and the words that they listen to."""

    name: str
    strength: float
    words: str

    @property
    def file(self) -> Path:
        """Where its weights are. Raises ParameterError: there are none, several, or none that are safetensors."""
        path = Path(self.name)
        if path.is_dir():
            usual, files = path / USUAL, sorted(path.glob(f"*{ENDING}"))
            found = usual if usual.is_file() else files[0] if len(files) == 1 else None
        elif path.is_file():
            found = path
        else:
            owner, repository, entry = [*self.name.split("/", 2), "", ""][:3]
            found = hub_file(f"{owner}/{repository}", entry or USUAL, fetch=(entry or USUAL).endswith(ENDING))
        if found is None or found.suffix != ENDING:
            raise ParameterError(
                f"no LoRA at {self.name!r}; give a {ENDING} file, a folder with one, or a hub id, such as owner/name or "
                f"owner/name/weights{ENDING}"
            )
        return found


def read_loras(parameters: Mapping[str, Any]) -> list[Lora]:
    """Return the LoRAs that parameters name, as {name: strength} or {name: {"strength": 0.8, "words": "…"}}.

    Raises:
        ParameterError: they are said otherwise, or a strength is no finite number.
    """
    said, loras = parameters.get(LORAS) or {}, []
    for name, value in said.items() if isinstance(said, Mapping) else [(said, said)]:
        told = value if isinstance(value, Mapping) else {"strength": value}
        strength, words = told.get("strength", 1.0), told.get("words", "")
        number = isinstance(strength, int | float) and not isinstance(strength, bool) and math.isfinite(strength)
        if not (number and isinstance(words, str) and isinstance(name, str)) or told.keys() - {"strength", "words"}:
            raise ParameterError(
                f'{LORAS}: {name!r} is {value!r}; give a strength, as in {{"folder": 0.8}}, or with trigger words '
                '{"folder": {"strength": 0.8, "words": "in the style of sks"}}'
            )
        loras.append(Lora(name, float(strength), words.strip()))
    return loras


def with_trigger_words(prompt: str, parameters: Mapping[str, Any]) -> str:
    """Return a prompt as it is drawn: with the trigger words of its LoRAs, but those of strength 0, that it does not have."""
    drawn = [lora for lora in read_loras(parameters) if lora.strength]
    missing = [lora.words for lora in drawn if lora.words.lower() not in prompt.lower()]
    return ", ".join([prompt, *missing])


def refuse_strangers(parameters: Mapping[str, Any], within: Sequence[Path]) -> None:
    """Raise a ParameterError where data names a LoRA that it may not: one outside the working folder and `within`."""
    for lora in read_loras(parameters):
        path = Path(lora.name)
        if reason := why_refused(str(path.resolve()) if path.exists() else lora.name, within=within):
            raise ParameterError(reason.replace("its model", "its LoRA", 1))


@contextmanager
def laid_over(pipeline: Any, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Have the pipeline draw with the LoRAs that the parameters name, and after that as it did before.

    Raises:
        ParameterError: a LoRA is not there, or none of its weights fit the pipeline.
    """
    adapters = {f"lora_{place}": lora for place, lora in enumerate(read_loras(parameters))}
    if not adapters:
        yield
        return
    try:
        for adapter, lora in adapters.items():
            _load(pipeline, lora, adapter)
        pipeline.set_adapters(list(adapters), adapter_weights=[lora.strength for lora in adapters.values()])
        yield
    finally:
        pipeline.unload_lora_weights()


def _load(pipeline: Any, lora: Lora, adapter: str) -> None:
    file = lora.file
    try:
        pipeline.load_lora_weights(
            str(file.parent), weight_name=file.name, adapter_name=adapter, use_safetensors=True, local_files_only=True
        )
        fits = any(adapter in names for names in pipeline.get_list_adapters().values())
        reason = "none of its weights are for it"
    except REFUSALS as error:
        fits, reason = False, str(error).splitlines()[0]
        if "PEFT" in reason:
            reason = "it takes peft, which is not installed: pip install 'forgekit[lora]'"
    if not fits:
        raise ParameterError(f"the LoRA {lora.name!r} does not go with {type(pipeline).__name__}: {reason}")
