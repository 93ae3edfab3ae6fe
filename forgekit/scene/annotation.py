"""A benchmark's own questions: how they stand in the elements document, and which of them can be asked at all.

`document["questions"]` is a list of {"key", "kind", "term", "question", "expected", "choices", "parents"}, and besides:
`about` names the element of the document's objects and relations that a question asks for, which lends it its phrase and
contrasts; `type` is the benchmark's own name for the question's kind ("attribute/color", "animal/human").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from forgekit.scene.element import Element

YES_NO = {"yes", "no"}


def own_questions(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the benchmark's questions of a document; none where it has none, or had them before they were asked."""
    questions = document.get("questions") or ()
    return questions if all("key" in question for question in questions) else ()


def asked_elements(questions: Iterable[Mapping[str, Any]], written: Iterable[Element]) -> list[Element]:
    """Return one element for each question. `written` are those of the document's objects and relations."""
    known = {element.key: element for element in written}
    return [_asked(question, known.get(question.get("about") or "")) for question in questions]


def _asked(question: Mapping[str, Any], about: Element | None) -> Element:
    return Element(
        key=question["key"],
        kind=question["kind"],
        term=question["term"],
        phrase=about.phrase if about else "",
        question=question["question"],
        expected=question["expected"],
        contrasts=about.contrasts if about else (),
        objects=about.objects if about else (),
        choices=tuple(question.get("choices") or ()),
        parents=tuple(question.get("parents") or ()),
    )


def not_askable(elements: Sequence[Element], is_there: Callable[[str], bool | None]) -> dict[str, str]:
    """Return the elements that cannot be asked about, each with the reason: a parent is not there.

    `is_there` tells by an element's key what the judge said of it, None where it did not say. Only a question's own parents
    count, by their own answers, as in DSG's `calc_vqa_score` (github.com/j-min/DSG).
    """
    questions = {element.key: element.question for element in elements}
    absent = {key for key in questions if is_there(key) is False}
    reasons = {}
    for element in elements:
        missing = [questions[parent] for parent in element.parents if parent in absent and parent != element.key]
        if missing:
            reasons[element.key] = f"not askable: {' '.join(missing)} no"
    return reasons
