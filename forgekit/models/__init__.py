"""The three model roles as Protocols; `load_model` finds what a caller names, `load_stored_model` what data names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from forgekit.errors import ItemError, ParameterError, UnknownModelError, did_you_mean
from forgekit.models.naming import note_given, was_given, why_refused

if TYPE_CHECKING:
    from PIL.Image import Image

    from forgekit.scene import Scene


@dataclass(frozen=True)
class DrawRequest:
    """One picture to draw. `parameters` holds the pipeline's own call arguments (steps, guidance, size …)."""

    prompt: str
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """One picture and all that is known about how it was made."""

    image: Image
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What one vision model saw in one image, measured against the elements of a scene.

    `element_scores` has one entry per element key that this judge can be asked about: the probability
    in [0, 1] that the image shows what the scene asks for (for a negation: that the thing is absent),
    or None where it failed to say, with the reason in `reasons`. A kind of element that is beyond the
    judge (a detector and style) has no entry.
    """

    element_scores: Mapping[str, float | None]
    text_match_score: float | None
    description: str = ""
    unwanted_elements: Sequence[str] = ()
    detected_artifacts: Sequence[str] = ()
    style_deviation: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@runtime_checkable
class ImageGenerator(Protocol):
    """A text-to-image model."""

    name: str

    def default_parameters(self) -> dict[str, Any]:
        """Return the pipeline call arguments used where a prompt's `base_parameters` name none."""

    def describe(self) -> dict[str, Any]:
        """Return everything besides the request that determines the pixels (model, revision, dtype, versions …).

        It is part of the draw key, so it must be cheap: no weights are loaded for it.
        """

    def fits(self, prompt: str) -> bool:
        """Whether the text encoders read the prompt to its end. True where that cannot be known without a download."""

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        """Draw one picture per request, in order. Pixels depend on the request alone, not on its neighbours."""


@runtime_checkable
class VisionModel(Protocol):
    """A judge: it says how faithfully images show the elements of scenes."""

    name: str
    adhering_at: float  # the image score from which on an image counts as adhering

    @property
    def judge_key(self) -> str:
        """Hash of everything that can change a verdict: weights, revision, templates, thresholds."""

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. Both are equally long."""


@runtime_checkable
class LanguageModel(Protocol):
    """A text model that follows instructions."""

    name: str

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order."""


ROLES: dict[str, tuple[type, tuple[str, ...]]] = {
    "image_generator": (ImageGenerator, ("forgekit.models.generators",)),
    "vision_model": (
        VisionModel,
        ("forgekit.models.contrastive", "forgekit.models.vqa", "forgekit.models.detector"),
    ),
    "language_model": (LanguageModel, ("forgekit.models.language",)),
}


def load_model(role: str, model: Any) -> Any:
    """Return the model of `role` that `model` stands for.

    `model` is an object that fulfils the role's Protocol (returned as it is), a known name, what a family
    takes as an address (a Hugging Face id, a local folder), or `"module:factory"`. Weights load on first use.
    It is for what a caller passes, and can run code; `load_stored_model` is for what data says.

    Raises:
        UnknownModelError: no family of the role knows the name; the message lists the known ones.
        ParameterError: the object lacks a method of the role's Protocol.
    """
    if not isinstance(model, str):
        return _checked(role, ROLES[role][0], model)
    found = _found(role, model)
    note_given(model)
    return found


def load_stored_model(role: str, name: str, *, within: Path | None = None) -> Any:
    """Return the model of `role` that a row, a plan or a store names: never code or a network address out of data.

    A known name, a Hugging Face id, or a folder of plain weights inside the working folder or `within`. Anything else
    must have been given to this process as an argument, or be listed in the environment variable
    FORGEKIT_TRUSTED_MODELS (addresses and folders, between commas).

    Raises:
        UnknownModelError: data may not name it, or no family of the role knows the name.
    """
    if not was_given(name) and (reason := why_refused(name, within=[within] if within else [])):
        raise UnknownModelError(f"no {role} is loaded: {reason}")
    return _found(role, name)


def _found(role: str, model: str) -> Any:
    protocol, families = ROLES[role]
    modules = [import_module(family) for family in families]
    for module in modules:
        if model in module.KNOWN:
            return module.KNOWN[model]
    for module in modules:
        found = module.from_address(model)
        if found is not None:
            return found
    if ":" in model:
        module_name, _, factory = model.partition(":")
        try:
            return _checked(role, protocol, getattr(import_module(module_name), factory)())
        except (ImportError, AttributeError) as error:
            raise UnknownModelError(
                f'no {role} at {model!r}: {error}. Write "module:factory", both importable'
            ) from error
    known = sorted(name for module in modules for name in module.KNOWN)
    raise UnknownModelError(
        f"no {role} is called {model!r}.{did_you_mean(model, known)} Known: {', '.join(known)}; "
        'or a Hugging Face id ("owner/name"), a local folder, or "module:factory"'
    )


def _checked(role: str, protocol: type, model: Any) -> Any:
    members = {*protocol.__annotations__, *(name for name in vars(protocol) if not name.startswith("_"))}
    lacks = sorted(name for name in members if not _has(model, name))
    if lacks:
        raise ParameterError(f"{model!r} is no {role}: it lacks {', '.join(lacks)}")
    return model


def _has(model: Any, name: str) -> bool:
    """Whether `model` has the attribute; a property is not asked for its value, which it may not have yet."""
    try:
        getattr_static(model, name)
    except AttributeError:
        return hasattr(model, name)  # of an object that stands for another one
    return True
