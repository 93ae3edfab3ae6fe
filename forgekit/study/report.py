"""The written result of a study: README.md with verdicts and tables, three plots, and result.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.refiner.learnings import lessons
from forgekit.store import Store
from forgekit.study.pictures import PLOTS, draw
from forgekit.study.plan import Study
from forgekit.study.results import is_shown

LESSONS = 15  # that are told, of the best and of the worst
MEMORY = ("refine", "refine-without-memory", "second half")  # what memory is worth, once it had something to learn from
BEGUN = """
select cast(min(created_at) as date) as day, count(*) filter (status <> 'archived') as open
from prompts
where starts_with(experiment, $prefix)
"""
Result = Mapping[str, Any]


@dataclass(frozen=True)
class StudyReport:
    """Where the result of a study was written, and what it says."""

    folder: Path
    verdicts: Sequence[str]

    def __str__(self) -> str:
        return "\n".join([f"study: written to {self.folder}", *(f"  {verdict}" for verdict in self.verdicts)])


def write_report(store: Store, study: Study, result: Result, out: Path) -> StudyReport:
    """Write the result to `out`/<date of its first prompt>-<name>, over an earlier one of the same study."""
    begun = store.rows(BEGUN, prefix=study.prefix)[0]
    folder = out / f"{begun['day']}-{study.name.replace('/', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    learnt = lessons(store, model=study.model, experiment=study.prefix + study.arms[-1])
    said = verdicts(result)
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for name in PLOTS:
        draw(name, result, folder / f"{name}.png")
    (folder / "README.md").write_text(_readme(study, result, said, learnt, begun["open"]), "utf-8")
    return StudyReport(folder, said)


def verdicts(result: Result) -> list[str]:
    """Say of each primary comparison whether its numbers bear it out, then what else the study saw.

    Only a primary comparison is "shown" or "NOT shown" (`is_shown`); all else begins with "exploratory" or "check".
    """
    study = result["study"]
    best, heldout, budget = study["arms"][-1], study["vision_models"][1:], study["images_per_scene"]
    said = []
    for row in result["differences"]:
        if row["role"] == "primary":
            said.append(f"{'shown' if is_shown(row) else 'NOT shown'}: {_claim(row)}")
        elif (row["arm"], row["against"], row["scenes"]) == MEMORY and row["vision_model"] in heldout:
            said.append(f"exploratory: {_claim(row)}")
    for judge in heldout:
        reached = result["images_to_match_resample"].get(judge, {}).get(best)
        said.append(
            f"exploratory: to reach the best image of best-of-{budget} on {judge}, {best} needs "
            f"{reached if reached else f'more than {budget}'} images of {budget}"
        )
    lost = result["unfaithful_prompts"]
    said.append(f"check: {lost} prompts lost, changed or added an element of their scene; must be 0")
    return said


def _claim(row: Mapping[str, Any]) -> str:
    part = "all scenes" if row["scenes"] == "all" else f"{row['scenes']} of the scenes"
    return f"{row['arm']} beats {row['against']} on {row['vision_model']} (held out), {part}: {_figures(row)}"


def _figures(row: Mapping[str, Any]) -> str:
    """Return mean, interval, p, p corrected by Holm where the row has it, n, and how many scenes are left out."""
    corrected = f", Holm p = {row['p_holm']:.2g}" if row.get("p_holm") is not None else ""
    left_out = f" ({row['left_out']} left out, unfinished)" if row.get("left_out") else ""
    if row["mean"] is None or row["low"] is None:
        return f"no figures, n = {row['n']}{left_out}"
    return f"{row['mean']:+z.3f} [{row['low']:+z.3f}, {row['high']:+z.3f}], p = {row['p']:.2g}{corrected}, n = {row['n']}{left_out}"


def _readme(study: Study, result: Result, said: Sequence[str], learnt: Sequence[str], open_prompts: int) -> str:
    floor = "; ".join(f"{judge} {_figures(row)}" for judge, row in result["noise_floor"].items())
    told = learnt if len(learnt) <= 2 * LESSONS else [*learnt[:LESSONS], "…", *learnt[-LESSONS:]]
    parts = [
        f"# {study.question}",
        _setting(study, result),
        f"**Unfinished: {open_prompts} prompts are still open; the figures are of what is done.**" * bool(open_prompts),
        "## What it shows",
        "\n".join(f"- {verdict}" for verdict in said),
        "## Arms",
        _table(
            [{**row, **row["means"]} for row in result["arms"]],
            ["arm", "scenes", "finished", "images", "missing_images", *study.vision_models],
            missing_images="missing",
        ),
        "## Differences",
        _table(
            [{**row, "figures": _figures(row)} for row in result["differences"]],
            ["arm", "against", "vision_model", "scenes", "role", "figures"],
            **{"vision_model": "judge", "role": "", "figures": "difference [95 %]"},
        ),
        f"Noise floor (exploratory), the same texts on disjoint seeds: {floor}",
        "## Does the gain transfer? (exploratory)",
        _table(
            [{**row, "warning": row["warning"] or ""} for row in result["transfer"]],
            ["against", "heldout", "n", "ratio", "warning"],
            **{"heldout": "held out", "ratio": "held-out gain / steering gain", "warning": ""},
        ),
        "## Images needed to be as good as best-of-N (exploratory)",
        _table(
            [
                {"judge": judge} | {arm: images or f"> {study.images_per_scene}" for arm, images in reached.items()}
                for judge, reached in result["images_to_match_resample"].items()
            ],
            ["judge", *study.arms],
        ),
        "![best image](best_image.png)",
        "## From block to block (exploratory)",
        "![blocks](blocks.png)",
        "## By kind of element (exploratory)",
        "![kinds](kinds.png)",
        "## By kind of scene (exploratory)",
        _categories(study, result),
        f"## What `{study.arms[-1]}` learnt (exploratory)",
        "\n".join(f"- {lesson}" for lesson in told) or "Nothing was tried three times.",
        "## Again",
        "`forgekit study --store STORE PLAN.toml`, with the plan that is in `result.json` under `study`; a study that "
        "was stopped goes on where it was.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(study: Study, result: Result) -> str:
    steering, *watching = study.vision_models
    cost, claims = result["cost"], len(result["study"]["primary"])
    scenes = max((arm["scenes"] for arm in result["arms"]), default=0)
    return (
        f"{scenes} scenes of `{study.prompts}`, generator `{study.model}` {dict(study.parameters) or ''}, "
        f"{study.images_per_prompt} images a version, {study.images_per_scene} a scene and arm. `{steering}` steers; held "
        f"out: {', '.join(f'`{judge}`' for judge in watching)}. Scores are means over scenes of the chosen "
        f"prompts on {study.images_per_prompt} fresh seeds each, which had no part in choosing them. Intervals: 95 %, BCa "
        f"bootstrap over scenes; p: Wilcoxon's signed ranks; Holm p: corrected for the {claims} primary comparisons, "
        "which the plan named before the study ran. Shown: the interval is above 0 and Holm p below 0.05. Everything "
        f"else is exploratory. {cost['images']} images, {cost['drawn']} of them drawn (the others were pictures that "
        "another arm had asked for)."
    )


def _categories(study: Study, result: Result) -> str:
    judge = study.vision_models[1]
    groups: dict[str, dict[str, Any]] = {}
    for row in result["by_category"]:
        if row["vision_model"] == judge:
            group = groups.setdefault(row["group"], {"scenes": row["group"], "n": row["scenes"]})
            group |= {row["arm"]: row["score"], "n": min(group["n"], row["scenes"])}
    return f"By `{judge}`, n scenes each:\n\n{_table(groups.values(), ['scenes', 'n', *study.arms])}"


def _table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], **headings: str) -> str:
    """Return these columns of the rows as a Markdown table, each under its name or its heading."""
    heads = [headings.get(name, name) for name in columns]
    lines = [heads, ["---"] * len(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
