"""Who may judge, and what a judge may say: whatever a model returns is a judgement that can be stored, or a reason."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import storable
from forgekit.models.roles import Judgement, VisionModel, may_steer
from forgekit.scene import Element


def check_judges(judges: Sequence[VisionModel]) -> None:
    """Refuse judges that cannot sit together; the first one steers.

    Raises:
        ParameterError: there is none, or two of one name; the first scores no elements; a pass mark is no number in [0, 1].
    """
    names = [judge.name for judge in judges]
    if not judges or len(set(names)) < len(names):
        raise ParameterError(f"vision_models={names}: give at least one, each name once")
    if not may_steer(judges[0]):
        raise ParameterError(
            f"vision_models={names}: {names[0]} scores no elements of a scene, so it can watch but not steer; "
            "name a judge that does first, such as mini-owl or CLIP-L14"
        )
    for judge in judges:
        mark = judge.adhering_at
        if isinstance(mark, bool) or not isinstance(mark, Real) or not 0 <= mark <= 1:
            raise ParameterError(f"adhering_at={mark!r} of {judge.name}: give a number from 0 to 1")


def check_templates(judge: Any, *fields: str) -> None:
    """Raise a ParameterError where a template of a judge has no place, {}, for the phrase or text that it asks about."""
    for field in fields:
        if "{}" not in (template := getattr(judge, field)):
            raise ParameterError(f"{field}={template!r} of {judge.name}: put {{}} where the text belongs")


def checked_judgement(verdict: Any, elements: Sequence[Element]) -> Judgement | ItemError:
    """Return what a judge said about a picture with nothing in it but what a judgement can hold.

    Element scores, `text_match_score` and `style_deviation` are numbers in [0, 1], metrics are finite, its elements are
    the scene's `elements`. What is no such number becomes None with a reason, what is no such element is left out with one.
    """
    if not isinstance(verdict, Judgement):
        return ItemError(f"it returned a {type(verdict).__name__}; a judge returns a Judgement or an ItemError")
    if not isinstance(verdict.element_scores, Mapping):
        return ItemError(f"its element_scores are a {type(verdict.element_scores).__name__}, not one score per element")
    known = {element.key for element in elements}
    reasons = {str(key): str(reason) for key, reason in dict(verdict.reasons or {}).items()}
    strange = sorted(str(key) for key in verdict.element_scores if key not in known)
    reasons |= {key: "the scene has no such element" for key in strange}
    if strange and len(strange) == len(verdict.element_scores):
        return ItemError(f"none of the elements that it scored is one of the scene: {', '.join(strange)}")
    given = {key: score for key, score in verdict.element_scores.items() if key in known}
    scores = {key: _number(score, key, reasons, top=1.0) for key, score in given.items()}
    answers = dict(verdict.answers or {})
    metrics = {str(key): _number(value, str(key), reasons) for key, value in dict(verdict.metrics or {}).items()}
    return Judgement(
        element_scores=scores,
        text_match_score=_number(verdict.text_match_score, "text_match_score", reasons, top=1.0),
        description=storable(str(verdict.description)),
        unwanted_elements=storable([str(thing) for thing in verdict.unwanted_elements]),
        detected_artifacts=storable([str(flaw) for flaw in verdict.detected_artifacts]),
        style_deviation=_number(verdict.style_deviation, "style_deviation", reasons, top=1.0),
        reasons=storable(reasons),
        metrics=storable(metrics),
        answers=storable({key: dict(said) for key, said in answers.items() if _is_answer(key, said, known)}),
    )


def _is_answer(key: Any, said: Any, known: Collection[str]) -> bool:
    """Say whether an answer is about an element of the scene and says whether it is the right one."""
    return key in known and isinstance(said, Mapping) and type(said.get("right")) in (bool, int)


def _number(value: Any, name: str, reasons: dict[str, str], *, top: float | None = None) -> float | int | None:
    """Return `value` as a finite number, in [0, `top`] where that is given; else None, with a word in `reasons`."""
    if value is None:
        return None
    number = value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy or torch
        number = value.item()
    if isinstance(number, bool) or not isinstance(number, Real):
        reason = f"no number: {type(value).__name__} {str(value)[:40]!r}"
    elif not math.isfinite(number):
        reason = f"no number: {float(number)}"
    elif top is not None and (number < 0 or not number <= top):
        reason = f"{float(number):g} lies outside 0 to {top:g}"
    else:
        return number if isinstance(number, int) and top is None else float(number)
    reasons[name] = f"{reasons[name]}; {reason}" if name in reasons else reason
    return None
