"""Text-to-image models of diffusers, from the embedded `mini` to FLUX, behind the ImageGenerator protocol."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from forgekit.errors import ItemError, ParameterError, did_you_mean
from forgekit.ids import canonical_json
from forgekit.models.loras import LORAS, laid_over, read_loras
from forgekit.models.memory import REFUSALS, placement, weights
from forgekit.models.naming import LIBRARIES, plain_name
from forgekit.models.pipelines import (
    ENTRY,
    Reader,
    Signature,
    broken,
    check_scheduler,
    guidance,
    load_readers,
    pipeline_class,
    quantised_parts,
    scheduled,
    sequence_length,
    settable,
    signature_of,
    truncated,
)
from forgekit.models.prompt_weights import WEIGHTS, as_read, check_weights, compel_version, hindrance, weighed
from forgekit.models.roles import Drawing, DrawRequest
from forgekit.models.running import RunHere, alike, in_batches, quiet
from forgekit.models.weights import hash_of_file, load_weights, only_variant, weights_of

if TYPE_CHECKING:
    from PIL.Image import Image

OFFLOAD_VARIABLE = "FORGEKIT_OFFLOAD"  # "model" (or 1) or "sequential" where the GPU is too small for the models


@dataclass(frozen=True)
class DiffusionGenerator(RunHere):
    """A diffusers text-to-image pipeline. Its fields are what gets recorded; weights load on the first drawing.

    `defaults` are call arguments of the pipeline, used where a request names none. `dtype` "auto" is bfloat16 on an
    accelerator and float32 on a CPU; `device` "auto" takes CUDA or MPS where there is one. `offload` is for models larger
    than the GPU's memory: "model" keeps only the part at work there, "sequential" only the layer at work, which is slow.
    The environment variable FORGEKIT_OFFLOAD says so for all models. It changes no pixels, so it is in no draw key.
    """

    variant: str | None = None  # such as "fp16", where the repository has weights under several names
    offload: Literal["", "model", "sequential"] = ""
    quantisation: str = ""  # "int8" or "float8": weights take a byte each, which changes pixels a little
    batch_size: int = 4
    defaults: Mapping[str, Any] = field(default_factory=dict)
    world: str = ""  # of the scenes it knows, where that is a small one (scene/lexicon.py)
    most_pixels: int = 0  # of a picture it can draw, width times height; above it is noise. 0: not known

    @classmethod
    def from_address(cls, address: str) -> DiffusionGenerator | None:
        """Return the generator in a local diffusers folder or at a Hugging Face id ("owner/model"); else None."""
        name = plain_name(address, ENTRY)
        return cls(name, address, variant=only_variant(address)) if name else None

    def default_parameters(self) -> dict[str, Any]:
        """Return the pipeline call arguments used where a prompt's `base_parameters` name none."""
        return dict(self.defaults)

    def describe(self) -> dict[str, Any]:
        """Return what besides the request determines the pixels; loads no weights."""
        repo, revision = weights_of(self, self.repo, ENTRY)
        return {"model": self.name, "repo": repo, "revision": revision, **self._setting}

    def describe_request(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return what else determines the pixels of a request with these parameters: LoRAs' files by hash, compel's version.

        Raises:
            ParameterError: a LoRA is not there.
        """
        hashes = {lora.name: hash_of_file(lora.file) for lora in read_loras(parameters)}
        return ({LORAS: hashes} if hashes else {}) | ({"compel": compel_version()} if parameters.get(WEIGHTS) else {})

    @cached_property
    def _setting(self) -> dict[str, Any]:
        device, dtype = placement(self)
        versions = {package: version(package) for package in ("torch", "diffusers", "transformers")}
        kept = {"quantisation": self.quantisation} if self.quantisation else {}
        return {"dtype": dtype, "device": device, **kept, "versions": versions}

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        """Draw one picture per request, in order.

        Each has its own random generator, so its pixels do not depend on its neighbours, but for rounding: sums in
        batches of different sizes can differ in the last bit, which moves a channel by 1 of 255 at most on a CPU.

        Raises:
            UnknownModelError: the weights are not there, or do not fit into memory.
        """
        results: dict[int, Drawing | ItemError] = {}
        for places in alike([canonical_json({**self.defaults, **request.parameters}) for request in requests]):
            try:
                arguments = self.call_arguments(requests[places[0]].parameters)
                draw = partial(self._draw_batch, arguments=arguments)
                with laid_over(self.pipeline, arguments):
                    drawn = in_batches([requests[i] for i in places], self.batch_size, draw, self)
            except ParameterError as error:
                drawn = [ItemError(str(error))] * len(places)
            except REFUSALS as error:  # a text where a number belongs, say
                drawn = [ItemError(f"{self.name}: {type(error).__name__}: {error}")] * len(places)
            results.update(zip(places, drawn, strict=True))
        return [results[i] for i in range(len(requests))]

    def call_arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pipeline's call arguments for a request's `parameters`, defaults filled in.

        Raises:
            ParameterError: the pipeline has no such argument, it is nan or inf, or the negative prompt would be ignored.
        """
        arguments = {**self.defaults, **parameters}
        allowed = settable(self._signature, type(self.pipeline))
        if "scheduler" in arguments:
            check_scheduler(self.pipeline, arguments["scheduler"])
        for name, value in arguments.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ParameterError(f"{name}={value} of {self.name}: give a finite number")
            if name not in allowed:
                told = f"{self.name} ({type(self.pipeline).__name__}) has no parameter {name!r}.{did_you_mean(name, allowed)}"
                raise ParameterError(f"{told} Known: {', '.join(sorted(allowed))}")
        for name, reason in broken(self._signature, type(self.pipeline)).items():
            if arguments.get(name):
                raise ParameterError(f"{name}={arguments[name]!r} of {self.name}: {reason}")
        check_weights(arguments)
        scale, guided = guidance(self._signature, arguments)
        if arguments.get("negative_prompt") and not guided:
            raise ParameterError(f"{self.name} ignores a negative_prompt unless {scale} > 1; set {scale}, or drop it")
        if guided and scale == "true_cfg_scale":
            arguments.setdefault("negative_prompt", "")  # without one, FLUX ignores true_cfg_scale in its turn
        return arguments

    def not_applicable(self, parameters: Mapping[str, Any], optional: frozenset[str]) -> dict[str, str]:
        """Return which of the `optional` parameters have no effect here, or a bad one, and why; loads no weights."""
        pipeline = pipeline_class(self.repo)
        if not optional or pipeline is None:  # no weights either, or a class of its own, which says what it refuses
            return {}
        signature = signature_of(pipeline)
        allowed, arguments = settable(signature, pipeline), {**self.defaults, **parameters}
        left_out = {name: f"{self.name} has no such parameter" for name in optional - allowed}
        left_out |= {name: reason for name, reason in broken(signature, pipeline).items() if name in optional}
        sides = [side for side in (arguments.get("width"), arguments.get("height")) if isinstance(side, int)]
        if self.most_pixels and math.prod(sides) > self.most_pixels:
            reason = f"{self.name} draws {self.most_pixels} pixels at most"
            left_out |= dict.fromkeys(optional & {"width", "height"}, reason)
        kept = {name: value for name, value in arguments.items() if name not in left_out}
        reason, names = hindrance(kept)
        left_out |= {name: reason for name in [each for each in names if each in optional][:1]}
        scale, guided = guidance(signature, kept)
        if "negative_prompt" in optional & kept.keys() and not guided:
            left_out["negative_prompt"] = f"{self.name} ignores it unless {scale} > 1"
        return dict(sorted(left_out.items()))

    def fits(self, prompt: str) -> bool:
        """Whether the text encoders read the prompt to its end; True where the tokenizers are not at hand."""
        if self._readers is None:  # what is cut off is recorded when the prompt is drawn
            return True
        length = self._length(self.defaults)
        # The encoder that reads most counts: FLUX's CLIP cuts what its T5 reads.
        return not truncated([max(self._readers, key=lambda each: (each.limit(length), each.name))], prompt, length)

    def _draw_batch(self, batch: Sequence[DrawRequest], arguments: Mapping[str, Any]) -> list[Drawing | ItemError]:
        import torch

        pipeline, call = self.pipeline, {name: value for name, value in arguments.items() if name != LORAS}
        call["prompt"] = [request.prompt for request in batch]
        if "negative_prompt" in call:
            call["negative_prompt"] = [call["negative_prompt"]] * len(batch)
        if "output_type" in self._signature:
            call["output_type"] = "np"  # an image of whole numbers hides that they were none: nan turns black
        started = time.perf_counter()
        with quiet(*LIBRARIES), scheduled(pipeline, call.pop("scheduler", None)):  # truncation is recorded, not printed
            if call.pop(WEIGHTS, False):
                call = weighed(pipeline, call, self._length(call))
            output = pipeline(generator=[torch.Generator("cpu").manual_seed(request.seed) for request in batch], **call)
        seconds = round((time.perf_counter() - started) / len(batch), 4)
        measured = {"duration_s": seconds, "batch": len(batch)}
        withheld = getattr(output, "nsfw_content_detected", None) or [False] * len(batch)
        said = {prompt: self._said(prompt, arguments) | measured for prompt in {request.prompt for request in batch}}
        drawn = [self._drawing(r, pixels, said[r.prompt]) for r, pixels in zip(batch, output.images, strict=True)]
        refused = ItemError(f"{self.name}: the pipeline's safety checker withheld the picture")
        return [refused if hidden else each for each, hidden in zip(drawn, withheld, strict=True)]

    def _drawing(self, request: DrawRequest, pixels: Any, said: Mapping[str, Any]) -> Drawing | ItemError:
        try:
            image = as_picture(pixels)
        except ValueError as error:
            return ItemError(f"{self.name}: {error}")
        return Drawing(image, {**said, "seed": request.seed, "width": image.width, "height": image.height})

    def _said(self, prompt: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of all pictures of a prompt."""
        length = self._length(arguments)
        read, weighing = as_read(prompt, arguments)
        return {
            **self.describe(),
            **self.describe_request(arguments),
            "pipeline": type(self.pipeline).__name__,
            "parameters": arguments,
            "truncated": truncated(self._readers or [], read, length) or None,
            **weighing,
        }

    @weights
    def pipeline(self) -> Any:
        """The diffusers pipeline, loaded on first use."""
        return load_weights(self, self.repo, self._load)

    def _load(self) -> Any:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import torch

        device, dtype = placement(self)
        found = {"revision": self.revision, "variant": self.variant, "dtype": getattr(torch, dtype)}
        with quiet(*LIBRARIES):
            from diffusers import AutoPipelineForText2Image, DiffusionPipeline

            if self.quantisation:
                found["quantization_config"] = quantised_parts(self.repo, self.quantisation)
            try:
                pipeline = AutoPipelineForText2Image.from_pretrained(self.repo, **found)
            except ValueError:  # a pipeline that has no task: what its own index says
                pipeline = DiffusionPipeline.from_pretrained(self.repo, **found)
        pipeline.set_progress_bar_config(disable=True)
        offload = self.offload or os.environ.get(OFFLOAD_VARIABLE, "0")
        if device == "cpu" or offload == "0":
            pipeline.to(device)
        elif offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.enable_model_cpu_offload(device=device)
        vars(self).pop("_readers", None)  # if they could not be read before, they can now
        return pipeline

    @cached_property
    def _readers(self) -> list[Reader] | None:
        """The tokenizers, which need no room; None, remembered, where they are not at hand: each look-up takes half a minute."""
        try:
            with quiet("transformers"):
                return load_readers(self.repo, self.revision)
        except (*REFUSALS, ImportError):
            return None

    def _length(self, arguments: Mapping[str, Any]) -> int | None:
        if "max_sequence_length" in arguments:  # else diffusers is imported, for seconds
            return arguments["max_sequence_length"]
        return self._sequence_length

    @cached_property
    def _sequence_length(self) -> int | None:
        return sequence_length(self.repo, self._readers)

    @cached_property
    def _signature(self) -> Signature:
        return signature_of(type(self.pipeline))


def as_picture(pixels: Any) -> Image:
    """Return an image of diffusers' output: floats in [0, 1] as (height, width, channels), or a PIL image as it is.

    Raises:
        ValueError: some pixels are nan or inf (a half-precision model that overflowed, damaged weights).
    """
    import numpy as np
    from diffusers.utils.pil_utils import numpy_to_pil
    from PIL import Image

    if isinstance(pixels, Image.Image):
        return pixels
    if not np.isfinite(pixels).all():
        raise ValueError("the pipeline gave pixels that are no numbers (nan or inf); another dtype may help: float32")
    return numpy_to_pil(pixels)[0]
