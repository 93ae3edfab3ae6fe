"""The decision about one evaluated prompt, apart from any storage: accept, stop, confirm, redraw or rewrite."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forgekit.errors import ItemError
from forgekit.refiner.actions import Candidate, Draft
from forgekit.refiner.case import Case, Policy, Refusal, Situation, Tools, Version
from forgekit.refiner.learnings import Memory
from forgekit.scene import parse
from forgekit.store import arguments

ROUNDING = 1e-9  # means are kept to twelve digits, so a fall of exactly one image may look like a hair more
CONFIRMING_SEED = 1000  # the chosen prompt is confirmed on seeds from the next multiple of this: the same in every arm


@dataclass(frozen=True)
class Limits:
    """When to stop. Raises ParameterError: one is of another type or out of its range."""

    target: float
    max_iterations: int
    max_images: int | None
    patience: int
    confirm: bool
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        arguments.number("target", self.target, most=1.0)
        arguments.switch("confirm", self.confirm)
        for name in ("max_iterations", "max_images", "patience"):
            if name != "max_images" or self.max_images is not None:
                arguments.whole(name, getattr(self, name), least=0)
        if self.max_minutes is not None:
            arguments.number("max_minutes", self.max_minutes)


@dataclass(frozen=True)
class Decision:
    """What to do and why. `base` is the best version so far; a rewrite or confirmation starts from it."""

    decision: str  # accept, stop, confirm, redraw, rewrite
    reason: str
    base: Version
    kept: bool | None  # whether the version replaced its parent; None for a first version
    parameters: Mapping[str, Any] = field(default_factory=dict)  # how what comes next is to be drawn
    candidate: Candidate | None = None
    refused: Sequence[Refusal] = ()  # what the gate refused of a language model's proposals

    @property
    def text(self) -> str:
        """The prompt that is to be drawn next, with the syntax of the best version so far."""
        return self.base.reworded(self.candidate.text)[0] if self.candidate else self.base.text

    @property
    def lost_syntax(self) -> list[str]:
        """What of that syntax has no place in the new words."""
        return self.base.reworded(self.candidate.text)[1] if self.candidate else []


def decide(
    situation: Situation, policy: Policy, memory: Memory, limits: Limits, *, tools: Tools, rng: random.Random
) -> Decision | ItemError:
    """Decide about one evaluated version. The same situation, evidence and `rng` give the same decision.

    An ItemError says why no decision could be made: the policy's language model failed.
    """
    version, parent = situation.version, situation.parent
    if situation.last_decision == "confirm":
        return Decision("accept", "confirmed on fresh seeds", version, True)
    kept = None if parent is None else _is_better(version, parent, situation)
    base = version if parent is None or kept else parent
    seed = base.parameters.get("seed", 0)
    ending = _ending(situation, base, limits)
    if ending is not None and limits.confirm:
        fresh = CONFIRMING_SEED * (1 + seed // CONFIRMING_SEED)
        return Decision("confirm", ending[1], base, kept, {**base.parameters, "seed": fresh})
    if ending is not None:
        return Decision(*ending, base, kept)
    case = _case(situation, base, policy, memory, tools, rng)
    candidate = policy.next_candidate(case)
    if isinstance(candidate, ItemError):
        return candidate
    if candidate is None:
        parameters = {**base.parameters, "seed": seed + 1}
        return Decision("redraw", "the text stays, new seeds", base, kept, parameters, refused=case.refused)
    reason = f"{candidate.element} scores {base.element_scores.get(candidate.element, 0.0):.2f}: {candidate.detail}"
    return Decision("rewrite", reason, base, kept, candidate.parameters, candidate, case.refused)


def _is_better(after: Version, before: Version, situation: Situation) -> bool:
    """Whether the version beats its parent, and no element that passed in all images of the parent is lost.

    An element that now fails in some image is lost where its mean has fallen by more than 1/n, n being the number of the
    version's images: that much one image of n, which showed the element and does not any more, makes of a mean.
    One image is what luck with a seed may cost any version, so it alone does not refuse a better one.
    """
    if situation.change is None or situation.change <= 0.0:
        return False
    mark, tolerance = situation.pass_mark, 1 / after.images + ROUNDING
    return all(
        after.lowest.get(key, mark) >= mark or before.element_scores[key] - after.element_scores[key] <= tolerance
        for key, lowest in before.lowest.items()
        if lowest >= mark
    )


def _ending(situation: Situation, base: Version, limits: Limits) -> tuple[str, str] | None:
    """Return "accept" or "stop" with the reason, or None where there is something to do."""
    images = sum(version.images for version in situation.versions)
    redraws = situation.redraws.get(base.id, 0)
    tries = redraws + sum(version.parent_id == base.id for version in situation.versions)
    if base.score is not None and base.score >= limits.target:
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
    text = (situation.judged[0] if policy.from_first else base).asked
    unwanted = situation.unwanted if base is situation.version else ()
    parsed = parse(text, lexicon=tools.lexicon)
    draft = Draft(text, base.parameters, parsed, situation.wanted, tools.lexicon, unwanted)
    return Case(situation, base, draft, memory, tools, rng)
