"""How benchmarks score what a judge said of one image: their own rules, each with its source.

A rule yields values; the figures of a benchmark are means over them. `by` says what a value is counted by: "all", or a column of
the paper's table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

CLIPSCORE_WEIGHT = 2.5  # of `clip_score` (Hessel et al. 2021); T2I-CompBench takes the bare cosine
SPATIAL_LEAST = 0.5  # below, T2I-CompBench's detector score is 0
DSG_DATA = {  # the data that DSG-1k's texts are of, as its data_utils.py names them
    "tifa160": "tifa", "stanford_paragraph": "paragraph", "localized_narratives": "paragraph", "countbench": "count",
    "vrd": "relation", "diffusiondb": "real_user", "midjourney": "real_user", "posescript": "pose", "whoops": "defying",
    "drawtext": "text",
}  # fmt: skip


class Value(NamedTuple):
    """One figure that a mean is taken over."""

    measure: str
    by: str
    category: str
    score: float


@dataclass(frozen=True)
class Said:
    """What a judge said of one image, by element. A question that was not askable keeps the judge's own answer to it."""

    category: str  # of the text, as its benchmark has it
    chance: Mapping[str, float]  # of the expected answer, among the possible ones
    right: Mapping[str, bool]  # whether the answer is the expected one
    plain: Mapping[str, float]  # of the expected answer, among all words
    not_askable: frozenset[str]  # their parent is not there
    types: Mapping[str, str]  # the benchmark's own kind of each question
    metrics: Mapping[str, float | None]
    text: float | None  # of the whole text


def geneval(said: Said) -> Iterator[Value]:
    """Is the image right, by task (Ghosh et al. 2023; evaluation/summary_scores.py of djghosh13/geneval).

    A detector tells by GenEval's own rules; for other judges an image is right where every element is there.
    """
    own = said.metrics.get("geneval")
    yield Value("GenEval", "task", said.category, float(all(said.right.values())) if own is None else own)


def dsg(said: Said) -> Iterator[Value]:
    """Share of questions answered yes; with dependency a child of a "no" counts 0 (Cho et al. 2024, `calc_vqa_score` of j-min/DSG)."""
    answers = {key: float(right) for key, right in said.right.items()}
    valid = {key: 0.0 if key in said.not_askable else right for key, right in answers.items()}
    for measure, scores in (("DSG with dependency", valid), ("DSG without dependency", answers)):
        yield Value(measure, "all", "all", fmean(scores.values()))
        yield Value(measure, "data", DSG_DATA.get(said.category, said.category), fmean(scores.values()))
        for key, score in scores.items():
            broad, _, detailed = said.types[key].partition("/")
            yield Value(measure, "question", broad, score)
            if detailed.strip("- "):
                yield Value(measure, "question in detail", f"{broad}/{detailed}", score)


def tifa(said: Said) -> Iterator[Value]:
    """Share of right answers, the likeliest choice being the answer; by type over all questions (Hu et al. 2023, tifa_score.py)."""
    yield Value("TIFA", "all", "all", fmean(said.right.values()))
    yield Value("TIFA", "data", said.category, fmean(said.right.values()))
    for key, right in said.right.items():
        yield Value("TIFA", "question type", said.types[key], float(right))


def geneval2(said: Said) -> Iterator[Value]:
    """Soft-TIFA: arithmetic and geometric means of the plain probabilities, by atomicity, AM by skill (Kamath et al. 2025)."""
    am, gm = fmean(said.plain.values()), math.prod(said.plain.values()) ** (1 / len(said.plain))
    for measure, score in (("Soft-TIFA AM", am), ("Soft-TIFA GM", gm)):
        yield Value(measure, "all", "all", score)
        yield Value(measure, "atomicity", said.category, score)
    for key, chance in said.plain.items():
        yield Value("Soft-TIFA AM", "skill", said.types[key], chance)


def gecko(said: Said) -> Iterator[Value]:
    """Mean probability of the expected answers, by prompt set and skill (Wiles et al. 2025).

    Its questions are not public, so they are written by forgekit, and its filter of them (NLI) falls away.
    """
    score, (prompts, _, data) = fmean(said.chance.values()), said.category.partition(" / ")
    skill = data.split(":")[0] if "(S)" in prompts else data.rsplit("_", 1)[0]
    for by, category in (("all", "all"), ("prompt set", prompts), ("skill", f"{prompts} {skill}")):
        yield Value("Gecko", by, category, score)


def genai_bench(said: Said) -> Iterator[Value]:
    """VQAScore of the whole text, by skill (Li et al. 2024, Lin et al. 2024)."""
    score = said.metrics.get("vqa_score")
    score = said.text if score is None else score
    if score is not None:
        yield Value("VQAScore", "all", "all", score)
        for skill in filter(None, said.category.split(", ")):
            yield Value("VQAScore", "skill", skill, score)


def t2i_compbench(said: Said) -> Iterator[Value]:
    """By category, each by the rule that T2I-CompBench has for it (Huang et al. 2023), with this judge in place of theirs."""
    category = said.category
    if category in ("spatial", "3d_spatial"):
        measure, score = "UniDet", _spatial(said)
    elif category == "numeracy":
        measure, score = "UniDet", _numeracy(said)
    elif category in ("non_spatial", "action"):
        measure, score = "CLIPScore" if said.metrics.get("clip_score") is not None else "VQAScore", _whole(said)
    elif category.startswith("complex"):
        acting = _of(said, "action")
        parts = (_binding(said), _spatial(said), _whole(said) if acting else None)
        known = [part for part in parts if part is not None]
        measure, score = "3-in-1", fmean(known) if known else None
    else:
        measure, score = "BLIP-VQA", _binding(said)
    if score is not None:
        yield Value(measure, "category", category, score)


def _of(said: Said, *kinds: str) -> dict[str, float]:
    return {key: chance for key, chance in said.chance.items() if key.split(":")[0] in kinds}


def _binding(said: Said) -> float | None:
    """The product over the things named: each by its attributes, where it has none by being there (BLIP_vqa.py asks "NP?")."""
    things = {key.split(":")[1]: chance for key, chance in _of(said, "object").items()}
    attributes: dict[str, float] = {}
    for key, chance in said.chance.items():
        kind, _, number = key.partition(":")
        if kind not in ("object", "count", "relation", "action", "text", "negation") and number:
            thing = number.split(":")[0]
            attributes[thing] = attributes.get(thing, 1.0) * chance
    return math.prod((things | attributes).values()) if things or attributes else None


def _spatial(said: Said) -> float | None:
    """Half for the two things, half for their place, nothing below one half (2D_spatial_eval.py)."""
    places, things = _of(said, "relation"), _of(said, "object")
    if not places or not things:
        return None
    score = fmean(things.values()) / 2 + fmean(places.values()) / 2
    return score if score >= SPATIAL_LEAST else 0.0


def _numeracy(said: Said) -> float | None:
    """Half for a thing that is there, half for its number; a single thing has the right number (numeracy_eval.py)."""
    things = [key for key in said.right if key.startswith("object:")]
    halves = [said.right[key] * (1 + said.right.get(key.replace("object", "count"), True)) / 2 for key in things]
    return fmean(halves) if halves else None


def _whole(said: Said) -> float | None:
    clip = said.metrics.get("clip_score")
    return said.text if clip is None else clip / CLIPSCORE_WEIGHT


RULES: Mapping[str, Callable[[Said], Iterator[Value]]] = {
    "geneval": geneval,
    "dsg-1k": dsg,
    "tifa": tifa,
    "geneval2": geneval2,
    "t2i-compbench": t2i_compbench,
    "gecko": gecko,
    "genai-bench": genai_bench,
}
ANNOTATED = ("geneval", "dsg-1k", "tifa", "geneval2")  # whose rules are about their own annotation, and nothing else


def said_of(verdict: Mapping[str, Any], questions: list[Mapping[str, Any]]) -> Said:
    """Return what a stored verdict says. `pass_mark` decides where the judge gave no answer in words."""
    output = verdict["model_output"] or {}
    answers, unasked = output.get("answers") or {}, output.get("not_askable") or {}
    chance = {key: unasked.get(key, score) for key, score in verdict["element_scores"].items()}
    chance = {key: score for key, score in chance.items() if score is not None}
    mark = verdict["pass_mark"]
    return Said(
        category=verdict["category"] or "none",
        chance=chance,
        right={key: answers[key]["right"] if key in answers else score >= mark for key, score in chance.items()},
        plain={key: answers[key]["plain"] if key in answers else score for key, score in chance.items()},
        not_askable=frozenset(unasked),
        types={key: key.split(":")[0] for key in chance} | {q["key"]: q["type"] or "none" for q in questions},
        metrics=output.get("metrics") or {},
        text=(verdict["adherence_analysis"] or {}).get("text_match_score"),
    )
