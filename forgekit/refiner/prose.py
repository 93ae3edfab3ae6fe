"""Actions for generators that read prose (T5 or CLIP text encoders trained on captions of any kind): FLUX, SDXL and their like.

Each says once more, in a sentence of its own, what the scene asks for already. The sources tell why it may help; whether it
does, the learnings of each generator tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from forgekit.refiner.drafts import Action, Change, Draft
from forgekit.scene import Element, describe_object

SIDES = {
    "left of": ("on the left", "on the right"),
    "right of": ("on the right", "on the left"),
    "above": ("at the top", "at the bottom"),
    "below": ("at the bottom", "at the top"),
}
NEAR = ("next to", "left of", "right of", "above", "below")  # relations whose second thing is no place for the first
NAMED = range(2, 5)  # how many things are named one by one


def place_in_front(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say that the failing thing is in the foreground and clearly visible.

    Where in the frame a subject is belongs to what FLUX is told of it: Black Forest Labs, prompting guide
    (docs.bfl.ai/guides/usecases_t2i_json_prompting, "position").
    """
    index = _failing_thing(draft, element)
    if element.kind not in ("object", "count") or index is None or "foreground" in draft.text:
        return
    verb = _be(draft, index)
    if not _lies_behind(draft, index):
        yield "in the foreground", draft.added(f"{draft.the(index)} {verb} in the foreground and clearly visible")
    elif "clearly visible" not in draft.text:
        yield "clearly visible", draft.added(f"{draft.the(index)} {verb} clearly visible")


def lay_out(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say of two things on which side of the picture each is, or that they are side by side.

    Captions rarely say where things are, and models that were trained on captions that do place them better: Chatterjee et
    al. 2024, "Getting it Right" (SPRIGHT, arXiv:2404.01197).
    """
    if element.kind != "relation" or len(draft.places.keys() & set(element.objects)) < 2:
        return
    ends = [draft.places[end] for end in element.objects]
    one, other = map(draft.the, ends)
    if element.term in SIDES:
        here, there = SIDES[element.term]
        if f"is {here}" not in draft.text:
            is_one, is_other = (_be(draft, end) for end in ends)
            yield "layout", draft.added(f"{one} {is_one} {here}, {other} {is_other} {there}")
    elif element.term == "next to" and "side by side" not in draft.text:
        yield "side by side", draft.added(f"{one} and {other} are side by side")


def name_each(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Name each of several things: "one cat and another cat" for "two cats", up to four.

    Models are right about very small numbers only and get worse with each more (Kajić et al. 2024, GeckoNum,
    arXiv:2406.14774), so the number is taken apart into ones. That rewording rarely helps beyond two is known, too:
    "Text-to-Image Diffusion Models Cannot Count, and Prompt Refinement Cannot Help" (2025, T2ICountBench).
    """
    index = _failing_thing(draft, element)
    if element.kind != "count" or index is None or draft.parsed["objects"][index]["count"] not in NAMED:
        return
    thing = draft.parsed["objects"][index]
    one = describe_object({**thing, "count": 1}).split(" ", 1)[1]
    named = [f"one {one}", *[f"another {one}"] * (thing["count"] - 1)]
    start, end = thing["span"]
    before = draft.text[:start].removesuffix("exactly ")
    yield "one by one", f"{before}{', '.join(named[:-1])} and {named[-1]}{draft.text[end:]}"


def tell_apart(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say that two things that could be taken for each other are distinct.

    Text encoders mix up what they read together, a lion and an elephant as much as a cat and a dog: Chen et al. 2024, "A Cat
    Is A Cat (Not A Dog!)" (arXiv:2410.00321).
    """
    objects, index = draft.parsed["objects"], _failing_thing(draft, element)
    if index is None or "distinct" in draft.text:
        return
    for other in range(len(objects)):
        if other != index and _look_alike(draft, objects[index]["name"], objects[other]["name"]):
            first, second = sorted((index, other))
            yield "distinct", draft.added(f"{draft.the(first)} and {draft.the(second)} are clearly distinct")
            return


def add_detail(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say that a missing thing is shown in fine detail.

    A neglected thing that is described more closely is neglected less: Chang et al. 2024, Patcher (arXiv:2406.16272). Features
    of its own would change the scene, so only how closely it is shown is said.
    """
    index = _failing_thing(draft, element)
    if element.kind == "object" and index is not None and "detail" not in draft.text:
        yield "in detail", draft.added(f"{draft.the(index)} {_be(draft, index)} shown in fine detail")


PROSE: tuple[Action, ...] = (place_in_front, lay_out, name_each, tell_apart, add_detail)


def _failing_thing(draft: Draft, element: Element) -> int | None:
    """Return the only object that the element is about, by its place in the text."""
    return draft.places.get(element.objects[0]) if len(element.objects) == 1 else None


def _be(draft: Draft, index: int) -> str:
    return "is" if draft.parsed["objects"][index]["count"] == 1 else "are"


def _lies_behind(draft: Draft, index: int) -> bool:
    """Say whether something is in front of, on or in the object, so that it cannot be in the foreground itself."""
    relations = draft.parsed["relations"]
    behind = any(r["subject"] == index and r["predicate"] == "behind" for r in relations)
    return behind or any(r["object"] == index and r["predicate"] not in (*NEAR, "behind") for r in relations)


def _look_alike(draft: Draft, one: str, other: str) -> bool:
    """Say whether two names are the same or stand beside each other in kind."""
    concepts = {draft.lexicon.concept(name, "object") for name in (one, other)}
    return len(concepts) == 1 or any(concepts <= {*group} for group in draft.lexicon.siblings.values())
