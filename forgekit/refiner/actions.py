"""What a refiner can do to a prompt: small named functions from a draft and a failing element to candidates.

An action only proposes. The fidelity gate (`scene.compare`) decides afterwards whether a candidate still asks
for every element of the scene, so an action may be simple-minded but never needs to be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from forgekit.models.loras import LORAS, read_loras
from forgekit.refiner.drafts import Action, Candidate, Change, Draft, has_word, lexicon_kind, replace_word
from forgekit.refiner.prose import PROSE
from forgekit.scene import Element, describe, describe_object
from forgekit.scene.lexicon import FIGURES

GUIDANCE_FACTORS = (1.5, 0.67)  # stronger guidance follows the text more; weaker draws cleaner pictures
STEPS_FACTOR = 1.5
MAX_GUIDANCE = 12.0
# "Bright red" is another red.
INTENSIFIERS = {"color": "clearly", "count": "exactly", "size": "clearly", "material": "clearly"}
RESTATED = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
SCHEDULERS = (  # those that can stand for each other; pipelines of flow matching (FLUX, SD 3) know one only
    "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DDIMScheduler",
)  # fmt: skip
STRENGTHS = (0, 0.5, 1)  # of a LoRA: none of it, half of it, as it was trained
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def use_plain_word(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Replace the element's term by the plain word for what it means or is a kind of: "scarlet" by "red"."""
    plain, standing = _plain_word(draft, element), draft.standing(element)
    if plain and standing and standing != plain:
        yield f"{standing} -> {plain}", draft.replaced(element, standing, plain)


def substitute(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Replace the element's term by another word that means the same, or by the word that an earlier substitution replaced."""
    plain, standing = _plain_word(draft, element), draft.standing(element)
    for word in draft.words_for(element):
        if standing and word not in (standing, plain):
            yield f"{standing} -> {word}", draft.replaced(element, standing, word)


def move_first(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say the failing object, or the failing style, before all else (the first words of a prompt weigh most)."""
    objects, style = draft.parsed["objects"], draft.parsed.get("style")
    if element.kind == "style" and style:
        yield "to the front", f"{style} of {draft.described({'style': None})}"
    if len(objects) < 2 or not element.objects or element.objects[0] not in draft.places:
        return
    first = draft.places[element.objects[0]]
    if draft.parsed["relations"]:
        relation = draft.parsed["relations"][0]
        if relation["object"] == first and relation["predicate"] in INVERSE:
            yield "to the front", _from_the_other_side(draft)
    elif first != 0:
        order = [first, *(i for i in range(len(objects)) if i != first)]
        yield "to the front", draft.described({"objects": [objects[i] for i in order]})


def restate_relation(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Word a spatial relation differently, or state it from the other side."""
    if element.kind != "relation":
        return
    for relation in draft.parsed["relations"]:
        wordings = RESTATED.get(relation["predicate"], ())
        standing = next((w for w in sorted(wordings, key=len, reverse=True) if has_word(draft.text, w)), None)
        for wording in wordings:
            if standing and wording != standing:
                yield f"{standing} -> {wording}", replace_word(draft.text, standing, wording)
        if relation["predicate"] in INVERSE:
            yield "from the other side", _from_the_other_side(draft)


def bind_attribute(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Tie an attribute to its noun by a clause: "a circle that is red"."""
    index = draft.places.get(element.objects[0]) if element.objects else None
    if index is None or element.kind not in ("color", "material", "texture", "size"):
        return
    thing = draft.parsed["objects"][index]
    bound = [a for a in thing["attributes"] if a["kind"] == element.kind]
    if bound and thing["count"] == 1:
        rest = {**thing, "attributes": [a for a in thing["attributes"] if a not in bound]}
        start, end = thing["span"]
        before = re.sub(r"\b(an?|the|one)\s+$", "", draft.text[:start], flags=re.IGNORECASE)
        yield "as a clause", f"{before}{describe_object(rest)} that is {bound[0]['value']}{draft.text[end:]}"


def split_sentences(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Give every object a sentence of its own."""
    objects = draft.parsed["objects"]
    if len(objects) < 2 or draft.parsed["relations"] or ". " in draft.text:
        return
    sentences = ". ".join(describe_object(thing) for thing in objects)
    yield "one sentence each", f"{sentences}. {draft.described({'objects': [], 'relations': []})}"


def strengthen(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Stress the failing term: "clearly red", "exactly two"."""
    word, standing = INTENSIFIERS.get(element.kind), draft.standing(element)
    if word and standing and not has_word(draft.text, f"{word} {standing}"):
        yield f"{word} {standing}", draft.replaced(element, standing, f"{word} {standing}")


def simplify(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Say the scene's elements in their plainest form and nothing else."""
    yield "only the elements", describe(draft.wanted)


def drop_style(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Leave out a style or background that the scene itself does not ask for."""
    for part in ("style", "background"):
        if draft.parsed.get(part) and not draft.wanted.get(part):
            yield f"no {part}", draft.described({part: None})


def negate_unwanted(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Name the thing that appears instead in the negative prompt, where the pipeline has one."""
    if "negative_prompt" not in draft.parameters or element.kind not in ("object", "color", "negation"):
        return
    instead = element.phrase if element.kind == "negation" else next(iter((*draft.unwanted, *element.contrasts)), "")
    standing = draft.parameters["negative_prompt"] or ""
    if instead and instead not in standing:
        text = ", ".join(part for part in (standing, instead) if part)
        yield f"not {instead}", {**draft.parameters, "negative_prompt": text}


def change_guidance(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Follow the text more or less closely."""
    name = next((n for n in ("true_cfg_scale", "guidance_scale") if draft.parameters.get(n)), None)
    if name is None:
        return
    for factor in GUIDANCE_FACTORS:
        scale = round(draft.parameters[name] * factor, 1)
        if 1.0 < scale <= MAX_GUIDANCE:
            yield f"{name} {draft.parameters[name]} -> {scale}", {**draft.parameters, name: scale}


def more_steps(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Take more denoising steps."""
    if steps := draft.parameters.get("num_inference_steps"):
        more = round(steps * STEPS_FACTOR)
        yield f"num_inference_steps {steps} -> {more}", {**draft.parameters, "num_inference_steps": more}


def change_scheduler(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Take another scheduler, where the prompt's parameters name one.

    Which is best for a pipeline can only be tried: "Schedulers" in the documentation of diffusers.
    """
    standing = draft.parameters.get("scheduler")
    for name in SCHEDULERS if standing in SCHEDULERS else ():
        if name != standing:
            yield f"scheduler {standing} -> {name}", {**draft.parameters, "scheduler": name}


def change_lora(draft: Draft, element: Element) -> Iterator[tuple[str, Change]]:
    """Take more or less of a LoRA that the parameters name: one of strength 0 is there to be tried.

    From nothing at 0 to all of it at 1: "LoRA", on its scale, in the documentation of diffusers.
    """
    for lora in read_loras(draft.parameters):
        named = draft.parameters[LORAS]
        for strength in (each for each in STRENGTHS if each != lora.strength):
            said = named[lora.name]
            value = {**said, "strength": strength} if isinstance(said, Mapping) else strength
            detail = f"{lora.name} {lora.strength:g} -> {lora.name} {strength:g}"
            yield detail, {**draft.parameters, LORAS: {**named, lora.name: value}}


WORD_ACTIONS = (
    *(use_plain_word, substitute, move_first, restate_relation, bind_attribute, split_sentences, strengthen),
    *(simplify, drop_style),
)
PARAMETER_ACTIONS = (negate_unwanted, change_guidance, more_steps, change_scheduler, change_lora)
ACTIONS: dict[str, Action] = {action.__name__: action for action in (*WORD_ACTIONS, *PROSE, *PARAMETER_ACTIONS)}


def propose(draft: Draft, element: Element, actions: Iterable[str] = ACTIONS) -> list[Candidate]:
    """Return what the actions of these names can do for a failing element, without what changes nothing.

    Actions that say something in prose are left out for a generator that knows the words of the mini world only.
    """
    found = []
    for name in actions:
        if draft.lexicon.world == FIGURES and ACTIONS[name] in PROSE:
            continue
        for detail, change in ACTIONS[name](draft, element):
            text, parameters = (change, draft.parameters) if isinstance(change, str) else (draft.text, change)
            if change not in (draft.text, draft.parameters):
                text = " ".join(text.split())
                found.append(Candidate(name, element.key, element.kind, element.term, detail, text, parameters))
    return found


def _plain_word(draft: Draft, element: Element) -> str | None:
    """Return the concept that the element's term belongs to, where the lexicon knows it."""
    kind, term, words = lexicon_kind(element), element.term.lower(), draft.words
    kinds = dict.fromkeys([words.naming(term) if kind == "object" else kind, kind])
    return next((words.concept(term, each) for each in kinds if (each, term) in words.meanings), None)


def _from_the_other_side(draft: Draft) -> str:
    flipped = [
        {"subject": r["object"], "predicate": INVERSE[r["predicate"]], "object": r["subject"]}
        if r["predicate"] in INVERSE and r["object"] is not None
        else r
        for r in draft.parsed["relations"]
    ]
    return draft.described({"relations": flipped})
