"""The decision about one evaluated prompt, apart from any storage: accept, stop, confirm, redraw or rewrite."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forgekit.errors import ItemError
from forgekit.ids import canonical_json
from forgekit.models import LanguageModel
from forgekit.refiner.actions import Candidate, Draft
from forgekit.refiner.case import Case, Policy, Scored
from forgekit.refiner.learnings import Memory
from forgekit.scene import Lexicon, compare, default_lexicon, list_elements, parse

ROUNDING = 1e-9  # means are kept to twelve digits, so a fall of exactly one image may look like a hair more
CONFIRMING_SEED = 1000  # the chosen prompt is confirmed on seeds from the next multiple of this: the same in every arm


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    target: float
    max_iterations: int
    max_images: int | None
    patience: int
    confirm: bool
    max_minutes: float | None = None


@dataclass(frozen=True)
class Tools:
    """What a decision may use besides the record."""

    fits: Callable[[str], bool]  # whether the generator reads a prompt to its end
    lexicon: Lexicon = field(default_factory=default_lexicon)
    ask: Callable[[LanguageModel, str], str | ItemError] | None = None


@dataclass(frozen=True)
class Version:
    """A prompt version and how it fared by the objective judge, under one key.

    `element_scores` are means over its `images`; `lowest` are the probabilities in each element's worst image.
    """

    id: str
    text: str
    parameters: Mapping[str, Any]
    iteration: int
    score: float
    element_scores: Mapping[str, float]
    lowest: Mapping[str, float]
    images: int


@dataclass(frozen=True)
class Attempt:
    """Something that was drawn before for this scene in this arm."""

    id: str
    parent_id: str | None
    text: str
    parameters: Mapping[str, Any]
    images: int


@dataclass(frozen=True)
class Situation:
    """A version that was just judged, its parent, the change between them, and what came before."""

    version: Version
    parent: Version | None
    change: float | None  # of the score, version minus parent, on the seeds that both have
    elements: Mapping[str, Any]  # what the scene asks for
    attempts: Sequence[Attempt]  # the version itself among them
    pass_mark: float  # from which probability on the objective judge says that an element is there
    scene_text: str = ""
    history: Sequence[Version] = ()  # every version of the scene in this arm that was judged, the first one first
    unwanted: Sequence[str] = ()  # what the judge saw in the version's pictures that the scene does not ask for
    minutes: float = 0.0  # since the scene was taken up in this arm
    last_decision: str | None = None  # the decision that led to this version
    redraws: Mapping[str, int] = field(default_factory=dict)  # how often each version was drawn again, by its id
    rounds: int = 0  # how many decisions came before this one


@dataclass(frozen=True)
class Decision:
    """What to do and why. `base` is the best version so far; a rewrite or confirmation starts from it."""

    decision: str  # accept, stop, confirm, redraw, rewrite
    reason: str
    base: Version
    kept: bool | None  # whether the version replaced its parent; None for a first version
    candidate: Candidate | None = None
    text: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def decide(
    situation: Situation,
    policy: Policy,
    memory: Memory,
    limits: Limits,
    *,
    tools: Tools,
    rng: random.Random,
) -> Decision | ItemError:
    """Decide about one evaluated version. The same situation, evidence and `rng` give the same decision.

    An ItemError says why no decision could be made: the policy's language model failed.
    """
    version, parent = situation.version, situation.parent
    if situation.last_decision == "confirm":
        return Decision("accept", "confirmed on fresh seeds", version, True)
    kept = None if parent is None else _is_better(situation)
    base = version if parent is None or kept else parent
    ending = _ending(situation, base, limits)
    if ending is None:
        candidate = policy.next_candidate(_case(situation, base, policy, memory, tools, rng))
        if isinstance(candidate, ItemError):
            return candidate
        if candidate is not None:
            reason = (
                f"{candidate.element} scores {base.element_scores.get(candidate.element, 0.0):.2f}: {candidate.detail}"
            )
            return Decision("rewrite", reason, base, kept, candidate, candidate.text, candidate.parameters)
        parameters = {**base.parameters, "seed": base.parameters.get("seed", 0) + 1}
        return Decision("redraw", "the text stays, new seeds", base, kept, None, base.text, parameters)
    if limits.confirm:
        seed = CONFIRMING_SEED * (1 + base.parameters.get("seed", 0) // CONFIRMING_SEED)
        parameters = {**base.parameters, "seed": seed}
        return Decision("confirm", ending[1], base, kept, None, base.text, parameters)
    return Decision(*ending, base, kept)


def _is_better(situation: Situation) -> bool:
    """Whether the version beats its parent, and no element that passed in all images of the parent is lost.

    An element that now fails in some image is lost where its mean has fallen by more than 1/n, n being the number of the
    version's images: that much one image of n, which showed the element and does not any more, makes of a mean.
    One image is what luck with a seed may cost any version, so it alone does not refuse a better one.
    """
    if situation.change is None or situation.change <= 0.0:
        return False
    before, after, mark = situation.parent, situation.version, situation.pass_mark
    tolerance = 1 / after.images + ROUNDING
    return all(
        after.lowest.get(key, mark) >= mark or before.element_scores[key] - after.element_scores[key] <= tolerance
        for key, lowest in before.lowest.items()
        if lowest >= mark
    )


def _ending(situation: Situation, base: Version, limits: Limits) -> tuple[str, str] | None:
    """Return "accept" or "stop" with the reason, or None where there is something to do."""
    images = sum(attempt.images for attempt in situation.attempts)
    redraws = situation.redraws.get(base.id, 0)
    tries = redraws + sum(attempt.parent_id == base.id for attempt in situation.attempts)
    if base.score >= limits.target:
        return "accept", f"adherence {base.score:.2f} reached the target {limits.target:.2f}"
    if situation.rounds >= limits.max_iterations:
        return "stop", f"{limits.max_iterations} iterations are used up"
    if limits.max_images is not None and images >= limits.max_images:
        return "stop", f"{images} of {limits.max_images} images are drawn"
    if limits.max_minutes is not None and situation.minutes >= limits.max_minutes:
        return "stop", f"{limits.max_minutes:g} minutes are over"
    if tries >= limits.patience:
        return "stop", f"{tries} attempts from the best version brought nothing"
    return None


def _case(
    situation: Situation, base: Version, policy: Policy, memory: Memory, tools: Tools, rng: random.Random
) -> Case:
    tried = {_signature(attempt.text, attempt.parameters) for attempt in situation.attempts}
    wanted, lexicon = situation.elements, tools.lexicon
    text = situation.history[0].text if policy.from_first and situation.history else base.text

    def is_new(candidate: Candidate) -> bool:
        return _signature(candidate.text, candidate.parameters) not in tried

    def faithful(candidate: Candidate) -> bool:
        if not tools.fits(candidate.text):
            return False
        return candidate.text == text or not compare(wanted, parse(candidate.text, lexicon=lexicon), lexicon=lexicon)

    unwanted = situation.unwanted if base is situation.version else ()
    draft = Draft(text, base.parameters, parse(text, lexicon=lexicon), wanted, lexicon, unwanted)
    history = [Scored(v.text, v.score, v.element_scores) for v in situation.history]
    return Case(
        draft,
        list_elements(dict(wanted), lexicon=lexicon),
        base.element_scores,
        memory,
        faithful,
        is_new,
        rng,
        situation.scene_text,
        history,
        tools.ask,
        base.lowest,
        situation.pass_mark,
    )


def _signature(text: str, parameters: Mapping[str, Any]) -> str:
    return canonical_json([text, {name: value for name, value in parameters.items() if name != "seed"}])
