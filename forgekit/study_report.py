"""The written result of a study: README.md with tables and verdicts, three plots, and result.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.learnings import lessons
from forgekit.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from forgekit.store import Store

LESSONS = 15
DATE = "select cast(min(created_at) as date) as day from prompts where starts_with(experiment, $prefix)"
UNFINISHED = "select count(*) as n from prompts where starts_with(experiment, $prefix) and status <> 'archived'"
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
    day = store.rows(DATE, prefix=study.prefix)[0]["day"]
    folder = out / f"{day}-{study.name.replace('/', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    open_prompts = store.rows(UNFINISHED, prefix=study.prefix)[0]["n"]
    learnt = lessons(store, model=study.model, experiment=study.prefix + study.arms[-1], min_tried=3)
    said = verdicts(result)
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, draw in PLOTS.items():
        _draw(draw, result, folder / f"{name}.png")
    (folder / "README.md").write_text(_readme(study, result, said, learnt, open_prompts))
    return StudyReport(folder, said)


def verdicts(result: Result) -> list[str]:
    """Say of each claim that a study is to test whether its numbers bear it out, with the numbers."""
    study = result["study"]
    arms, best, budget = study["arms"], study["arms"][-1], study["images_per_scene"]
    said = []
    for judge in study["vision_models"][1:]:
        for other in arms[:-1]:
            part = "second half" if other == "refine-without-memory" else "all"
            found = _difference(result, best, other, judge, part)
            said.append(
                f"{_yes(found['low'] is not None and found['low'] > 0)}: {best} beats {other} on {judge} (held out), "
                f"{'second half of the scenes' if part != 'all' else 'all scenes'}: {_interval(found)}"
            )
        reached = result["images_to_match_resample"].get(judge, {}).get(best)
        said.append(
            f"{_yes(reached is not None and 2 * reached <= budget)}: {best} needs at most half the images of "
            f"best-of-{budget} to reach its best image on {judge}: {reached if reached else f'more than {budget}'}"
        )
    lost = result["unfaithful_prompts"]
    said.append(f"{_yes(lost == 0)}: no prompt lost, changed or added an element of its scene: {lost} did")
    return said


def _yes(holds: bool) -> str:
    return "shown" if holds else "NOT shown"


def _difference(result: Result, arm: str, other: str, judge: str, part: str) -> Mapping[str, Any]:
    key = (arm, other, judge, part)
    rows = result["differences"]
    return next(row for row in rows if (row["arm"], row["against"], row["vision_model"], row["scenes"]) == key)


def _interval(row: Mapping[str, Any]) -> str:
    if row["mean"] is None or row["low"] is None:
        return "no figures"
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], p = {row['p']:.2g}, n = {row['n']}"


def _readme(study: Study, result: Result, said: Sequence[str], learnt: Sequence[str], open_prompts: int) -> str:
    steering, *watching = study.vision_models
    cost = result["cost"]
    scenes = max((arm["scenes"] for arm in result["arms"]), default=0)
    parts = [
        f"# {study.question}",
        f"{scenes} scenes of `{study.prompts}`, generator `{study.model}` {dict(study.parameters) or ''}, "
        f"{study.images_per_prompt} images a version, {study.images_per_scene} a scene and arm. `{steering}` steers; held "
        f"out: {', '.join(f'`{judge}`' for judge in watching)}. Scores are means over scenes of the chosen "
        f"prompts on {study.images_per_prompt} fresh seeds each, which had no part in choosing them. Intervals: 95 %, "
        f"bootstrap over scenes; p: Wilcoxon's signed ranks. {cost['images']} images, {cost['drawn']} of them drawn "
        "(the others were pictures that another arm had asked for).",
        *(
            [f"**Unfinished: {open_prompts} prompts are still open; the figures are of what is done.**"]
            * bool(open_prompts)
        ),
        "## What it shows",
        "\n".join(f"- {verdict}" for verdict in said),
        "## Arms",
        _table(
            ["arm", "scenes", "images", *study.vision_models],
            [
                [a["arm"], a["scenes"], a["images"], *(_number(a["means"][j]) for j in study.vision_models)]
                for a in result["arms"]
            ],
        ),
        "## Differences",
        _table(
            ["arm", "against", "judge", "scenes", "difference [95 %]"],
            [[d["arm"], d["against"], d["vision_model"], d["scenes"], _interval(d)] for d in result["differences"]],
        ),
        "Noise floor, the same texts on disjoint seeds: "
        + "; ".join(f"{judge} {_interval(row)}" for judge, row in result["noise_floor"].items()),
        "## Does the gain transfer?",
        _table(
            ["against", "held out", "held-out gain / steering gain", ""],
            [[t["against"], t["heldout"], _number(t["ratio"]), t["warning"] or ""] for t in result["transfer"]],
        ),
        "## Images needed to be as good as best-of-N",
        _table(
            ["judge", *study.arms],
            [
                [j, *(row[a] or f"> {study.images_per_scene}" for a in study.arms)]
                for j, row in result["images_to_match_resample"].items()
            ],
        ),
        "![best image](best_image.png)",
        "## From block to block",
        "![blocks](blocks.png)",
        "## By kind of element",
        "![kinds](kinds.png)",
        "## By kind of scene",
        _categories(study, result),
        f"## What `{study.arms[-1]}` learnt",
        "\n".join(f"- {lesson}" for lesson in _ends(learnt)) or "Nothing was tried three times.",
        "## Again",
        "`forgekit study --store STORE PLAN.toml`, with the plan that is in `result.json` under `study`; a study that "
        "was stopped goes on where it was.",
    ]
    return "\n\n".join(parts) + "\n"


def _ends(learnt: Sequence[str]) -> list[str]:
    """The best and the worst lessons."""
    return list(learnt) if len(learnt) <= 2 * LESSONS else [*learnt[:LESSONS], "…", *learnt[-LESSONS:]]


def _categories(study: Study, result: Result) -> str:
    judge = study.vision_models[1]
    rows = [row for row in result["by_category"] if row["vision_model"] == judge]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    scores = {(row["group"], row["arm"]): row["score"] for row in rows}
    counts = {row["group"]: row["scenes"] for row in rows}
    body = [[g, counts[g], *(_number(scores.get((g, a))) for a in study.arms)] for g in groups]
    return f"By `{judge}`:\n\n" + _table(["scenes", "n", *study.arms], body)


def _table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _draw(draw: Callable[[Result, Sequence[Axes]], None], result: Result, path: Path) -> None:
    import matplotlib.pyplot as plt

    judges = result["study"]["vision_models"]
    figure, axes = plt.subplots(1, len(judges), figsize=(5.5 * len(judges), 4), layout="constrained", sharey=True)
    draw(result, list(axes))
    for judge, ax in zip(judges, axes, strict=True):
        ax.set_title(f"{judge} ({'steers' if judge == judges[0] else 'held out'})")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _draw_best_image(result: Result, axes: Sequence[Axes]) -> None:
    _lines(result, axes, result["best_image"], x="images")
    axes[0].set(xlabel="images drawn for a scene", ylabel="score of the best one")


def _draw_blocks(result: Result, axes: Sequence[Axes]) -> None:
    _lines(result, axes, result["by_block"], x="group", marker="o")
    axes[0].set(xlabel="block of scenes, in the order taken up", ylabel="confirmed score")


def _draw_kinds(result: Result, axes: Sequence[Axes]) -> None:
    from forgekit.plots import COLORS

    arms, rows = result["study"]["arms"], result["by_kind"]
    kinds = sorted({row["kind"] for row in rows})
    for judge, ax in zip(result["study"]["vision_models"], axes, strict=True):
        scores = {(r["arm"], r["kind"]): r["score"] for r in rows if r["vision_model"] == judge}
        for number, arm in enumerate(arms):
            x = [i + 0.2 * (number - (len(arms) - 1) / 2) for i in range(len(kinds))]
            heights = [scores.get((arm, kind)) or float("nan") for kind in kinds]
            ax.bar(x, heights, width=0.18, color=COLORS[number], label=arm)
        ax.set_xticks(range(len(kinds)), kinds, rotation=30)
    axes[0].set(ylabel="mean element score, confirmed", ylim=(0, 1))


def _lines(
    result: Result, axes: Sequence[Axes], rows: Sequence[Mapping[str, Any]], *, x: str, marker: str = ""
) -> None:
    from forgekit.plots import COLORS

    for judge, ax in zip(result["study"]["vision_models"], axes, strict=True):
        for number, arm in enumerate(result["study"]["arms"]):
            line = [r for r in rows if r["vision_model"] == judge and r["arm"] == arm and r["score"] is not None]
            ax.plot([r[x] for r in line], [r["score"] for r in line], color=COLORS[number], marker=marker, label=arm)


PLOTS: Mapping[str, Callable[[Result, Sequence[Axes]], None]] = {
    "best_image": _draw_best_image,
    "blocks": _draw_blocks,
    "kinds": _draw_kinds,
}
