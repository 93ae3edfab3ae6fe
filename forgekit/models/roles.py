"""The contract of the three roles of models: what each is asked, what it answers, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from forgekit.errors import ItemError

if TYPE_CHECKING:
    from PIL.Image import Image

    from forgekit.scene import Scene


@dataclass(frozen=True)
class DrawRequest:
    """One picture to draw. `parameters` holds the pipeline's own call arguments (steps, guidance, size …).

    Those named in `optional` came with data, not from who draws: a generator may do without one that it cannot take, and then
    says so in the metadata, as `parameters_not_applied`: {name: reason}.
    """

    prompt: str
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()


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

    `answers` is for a benchmark's own questions, by key: {"answer": what was said, "right": is it the expected one, "plain":
    the probability of the expected one among all words}.
    """

    element_scores: Mapping[str, float | None]
    text_match_score: float | None
    description: str = ""
    unwanted_elements: Sequence[str] = ()
    detected_artifacts: Sequence[str] = ()
    style_deviation: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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


def as_they_come(model: Any, method: str) -> Callable[..., Any]:
    """Return how to ask a model so that results can be kept one by one: `draw_each` for its `draw`, where it has that.

    It yields lists of (place, result), in whatever order they come. Models behind servers have it.
    """
    return getattr(model, f"{method}_each", None) or getattr(model, method)


def in_order(groups: Iterable[Sequence[tuple[int, Any]]], count: int) -> list[Any]:
    """Return the `count` results that come in groups of (place, result), by place."""
    results = {place: result for group in groups for place, result in group}
    return [results[place] for place in range(count)]


def world_of(generator: ImageGenerator) -> str:
    """Return the small world whose scenes alone a generator knows, "figures" for `mini`; "" for one that knows any scene."""
    return getattr(generator, "world", "")  # most generators do not say


def may_steer(judge: VisionModel) -> bool:
    """Say whether a judge scores elements; one that measures a picture as a whole (a preference score) only watches."""
    return getattr(judge, "scores_elements", True)  # most judges do, and do not say


def describe_request(generator: ImageGenerator, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what besides its own description and the request's words determines the pixels: the hashes of LoRAs."""
    tell = getattr(generator, "describe_request", None)  # only diffusers' pipelines have any here
    return tell(parameters) if tell else {}


@runtime_checkable
class VisionModel(Protocol):
    """A judge: it says how faithfully images show the elements of scenes."""

    name: str
    adhering_at: float  # the pass mark: the probability from which on an element is there, and an image adheres

    @property
    def judge_key(self) -> str:
        """Hash of everything that can change a verdict: weights, revision, templates, thresholds."""

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. Both are equally long.

        An image that cannot be read becomes an ItemError.

        Raises:
            UnknownModelError: its weights are not there.
        """


@runtime_checkable
class LanguageModel(Protocol):
    """A text model that follows instructions."""

    name: str

    def generate(self, requests: Sequence[str]) -> list[str | ItemError]:
        """Answer each request with text, in order."""


def at_once(model: Any) -> int:
    """Return how many times as much as usual a stage hands to a model in one go: as many as a pool has workers, else 1."""
    return getattr(model, "at_once", 1)


PROTOCOLS: Mapping[str, type] = {
    "image_generator": ImageGenerator,
    "vision_model": VisionModel,
    "language_model": LanguageModel,
}
