"""What a refiner can do to a prompt: small named functions from a draft and a failing element to candidates.

An action only proposes. The fidelity gate (`scene.compare`) decides afterwards whether a candidate still asks
for every element of the scene, so an action may be simple-minded but never needs to be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forgekit.scene import Element, describe, describe_object, synonyms

GUIDANCE_FACTORS = (1.5, 0.67)  # stronger guidance follows the text more; weaker draws cleaner pictures
STEPS_FACTOR = 1.5
MAX_GUIDANCE = 12.0
INTENSIFIERS = {"color": "bright", "count": "exactly", "size": "very", "material": "pure"}
RESTATED = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True)
class Draft:
    """A prompt version that is to be improved: its text parsed, its parameters, and what the scene asks for."""

    text: str
    parameters: Mapping[str, Any]
    parsed: Mapping[str, Any]  # the elements of `text` itself, spans included
    wanted: Mapping[str, Any]  # the elements of the scene


@dataclass(frozen=True)
class Candidate:
    """A prompt that one action proposes, and for which element."""

    action: str
    element: str  # key of the element it is meant to help
    kind: str
    term: str
    detail: str  # what was done, in words: "scarlet -> red"
    text: str
    parameters: Mapping[str, Any]


Proposal = tuple[str, str, Mapping[str, Any]]  # detail, text, parameters
Action = Callable[[Draft, Element], Iterator[Proposal]]


def substitute(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Replace the element's term by a synonym, or by the word that an earlier substitution replaced."""
    words = [element.term, *synonyms(element.term, element.kind)]
    standing = next((word for word in words if _has_word(draft.text, word)), None)
    if standing is None:
        return
    for word in words:
        if word != standing:
            yield f"{standing} -> {word}", _replace_word(draft.text, standing, word), draft.parameters


def move_first(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Say the failing object before the others (the first words of a prompt weigh most)."""
    objects = draft.parsed["objects"]
    if len(objects) < 2 or not element.objects:
        return
    first = element.objects[0]
    if draft.parsed["relations"]:
        relation = draft.parsed["relations"][0]
        if relation["object"] == first and relation["predicate"] in INVERSE:
            yield "to the front", _with_relations(draft, inverted=True), draft.parameters
    elif first != 0 and first < len(objects):
        order = [first, *(i for i in range(len(objects)) if i != first)]
        yield "to the front", describe({**draft.parsed, "objects": [objects[i] for i in order]}), draft.parameters


def restate_relation(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Word a spatial relation differently, or state it from the other side."""
    if element.kind != "relation":
        return
    for relation in draft.parsed["relations"]:
        wordings = RESTATED.get(relation["predicate"], ())
        standing = next((w for w in sorted(wordings, key=len, reverse=True) if _has_word(draft.text, w)), None)
        for wording in wordings:
            if standing and wording != standing:
                yield f"{standing} -> {wording}", _replace_word(draft.text, standing, wording), draft.parameters
        if relation["predicate"] in INVERSE:
            yield "from the other side", _with_relations(draft, inverted=True), draft.parameters


def bind_attribute(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Tie an attribute to its noun by a clause: "a circle that is red"."""
    if element.kind not in ("color", "material", "texture", "size") or not element.objects:
        return
    index = element.objects[0]
    if index >= len(draft.parsed["objects"]):
        return
    thing = draft.parsed["objects"][index]
    bound = [a for a in thing["attributes"] if a["kind"] == element.kind]
    if not bound or thing["count"] != 1:
        return
    rest = {**thing, "attributes": [a for a in thing["attributes"] if a not in bound]}
    clause = f"{describe_object(rest)} that is {bound[0]['value']}"
    yield "as a clause", _replace_phrase(draft, index, clause), draft.parameters


def split_sentences(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Give every object a sentence of its own."""
    objects = draft.parsed["objects"]
    if len(objects) < 2 or draft.parsed["relations"] or ". " in draft.text:
        return
    sentences = [describe_object(thing) for thing in objects]
    yield "one sentence each", ". ".join(sentences) + "." + _surroundings(draft), draft.parameters


def strengthen(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Put an intensifier before the failing term: "bright red", "exactly two"."""
    word = INTENSIFIERS.get(element.kind)
    words = [element.term, *synonyms(element.term, element.kind)]
    standing = next((w for w in words if _has_word(draft.text, w)), None)
    if word and standing and not _has_word(draft.text, f"{word} {standing}"):
        yield f"{word} {standing}", _replace_word(draft.text, standing, f"{word} {standing}"), draft.parameters


def simplify(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Say the scene's elements in their plainest form and nothing else."""
    yield "only the elements", describe(draft.wanted), draft.parameters


def drop_style(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Leave out a style or background that the scene itself does not ask for."""
    for part in ("style", "background"):
        if draft.parsed.get(part) and not draft.wanted.get(part):
            yield f"no {part}", describe({**draft.parsed, part: None}), draft.parameters


def negate_unwanted(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Name the thing that appears instead in the negative prompt, where the pipeline has one."""
    if "negative_prompt" not in draft.parameters or element.kind not in ("object", "color", "negation"):
        return
    instead = element.phrase if element.kind == "negation" else next(iter(element.contrasts), "")
    standing = draft.parameters["negative_prompt"] or ""
    if instead and instead not in standing:
        text = ", ".join(part for part in (standing, instead) if part)
        yield f"not {instead}", draft.text, {**draft.parameters, "negative_prompt": text}


def change_guidance(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Follow the text more or less closely."""
    name = next((n for n in ("true_cfg_scale", "guidance_scale") if draft.parameters.get(n)), None)
    if name is None:
        return
    for factor in GUIDANCE_FACTORS:
        scale = round(draft.parameters[name] * factor, 1)
        if 1.0 < scale <= MAX_GUIDANCE:
            yield f"{name} {draft.parameters[name]} -> {scale}", draft.text, {**draft.parameters, name: scale}


def more_steps(draft: Draft, element: Element) -> Iterator[Proposal]:
    """Take more denoising steps."""
    steps = draft.parameters.get("num_inference_steps")
    if steps:
        more = round(steps * STEPS_FACTOR)
        yield f"num_inference_steps {steps} -> {more}", draft.text, {**draft.parameters, "num_inference_steps": more}


ACTIONS: dict[str, Action] = {
    action.__name__: action
    for action in (
        substitute,
        move_first,
        restate_relation,
        bind_attribute,
        split_sentences,
        strengthen,
        simplify,
        drop_style,
        negate_unwanted,
        change_guidance,
        more_steps,
    )
}


def propose(draft: Draft, element: Element, actions: Mapping[str, Action] = ACTIONS) -> list[Candidate]:
    """Return what the actions can do for a failing element; candidates that change nothing are left out."""
    return [
        Candidate(name, element.key, element.kind, element.term, detail, " ".join(text.split()), parameters)
        for name, action in actions.items()
        for detail, text, parameters in action(draft, element)
        if text != draft.text or parameters != draft.parameters
    ]


def _with_relations(draft: Draft, *, inverted: bool) -> str:
    flipped = [
        {"subject": r["object"], "predicate": INVERSE[r["predicate"]], "object": r["subject"]}
        if inverted and r["predicate"] in INVERSE and r["object"] is not None
        else r
        for r in draft.parsed["relations"]
    ]
    return describe({**draft.parsed, "relations": flipped})


def _surroundings(draft: Draft) -> str:
    nothing = {**draft.parsed, "objects": [], "relations": []}
    rest = describe(nothing)
    return f" {rest}" if rest else ""


def _replace_phrase(draft: Draft, index: int, phrase: str) -> str:
    start, end = draft.parsed["objects"][index]["span"]
    article = re.search(r"\b(an?|the|one)\s+$", draft.text[:start], re.IGNORECASE)
    return draft.text[: article.start() if article else start] + phrase + draft.text[end:]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}(e?s)?\b", text, re.IGNORECASE) is not None


def _replace_word(text: str, word: str, by: str) -> str:
    """Replace a word, keeping its plural ending, and mend the article before it."""

    def swap(match: re.Match[str]) -> str:
        plural = match["plural"] or ""
        ending = ("es" if by.endswith(("s", "x", "ch", "sh")) else "s") if plural else ""
        article = match["article"] or ""
        if article.lower() in ("a", "an"):
            article = "an" if by[0].lower() in "aeiou" else "a"
        return f"{article} {by}{ending}" if article else by + ending

    pattern = rf"\b(?:(?P<article>an?)\s+)?{re.escape(word)}(?P<plural>e?s)?\b"
    return re.sub(pattern, swap, text, count=1, flags=re.IGNORECASE)
