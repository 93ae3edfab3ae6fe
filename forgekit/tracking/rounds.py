"""The runs that people compare: one per (experiment, generator, round, vision model), from the tables of `trends`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from forgekit import trends
from forgekit.ids import content_hash, content_id
from forgekit.show.score_figures import distribution_figure
from forgekit.store import Store
from forgekit.tracking.run import SOURCE, Run, Study, measured, role
from forgekit.tracking.run_contents import FORMAT

TABLES = (
    *("adherence", "gain", "round_gains", "confirmed", "distributions"),
    *("by_element_kind", "judge_agreement", "scenes"),
)
FIGURE = "distribution.png"
LINE = ["experiment", "model", "vision_model"]

# When the images of each round were first and last judged.
JUDGED = """
select
    p.experiment, p.model, e.vision_model, c.round,
    epoch_ms(min(e.created_at)) as start_ms,
    epoch_ms(max(e.created_at)) as end_ms
from image_evaluations e
join competing_images c using (image_id)
join prompts p on p.id = c.prompt_id
join judges_in($experiment, null) j using (experiment, vision_model, judge_key)
where e.error is null
group by all
"""


def read_tables(store: Store, study: Study) -> dict[str, pd.DataFrame]:
    """Return what `trends` tells about a study, all arms in each table."""
    return {
        name: pd.concat(
            [getattr(trends, name)(store, experiment=arm).assign(experiment=arm) for arm in study.experiments],
            ignore_index=True,
        )
        for name in TABLES
    }


def read_rounds(store: Store, study: Study, tables: Mapping[str, pd.DataFrame]) -> list[Run]:
    """Return the runs of all rounds of a study, in their order."""
    times = {
        tuple(row[name] for name in (*LINE, "round")): (row["start_ms"], row["end_ms"])
        for arm in study.experiments
        for row in store.rows(JUDGED, experiment=arm)
    }
    runs = []
    for line, curve in tables["adherence"].groupby(LINE, sort=False):
        known = {name: _of(tables[name], LINE, line) for name in ("round_gains", "distributions", "by_element_kind")}
        last = curve["round"].max()
        for row in curve.to_dict("records"):
            told = {name: table[table["round"] == row["round"]] for name, table in known.items()}
            others = _of(tables["distributions"], ["experiment", "model", "round"], (*line[:2], row["round"]))
            place = "last" if row["round"] == last else "first" if row["round"] == 0 else "between"
            runs.append(_round(study, row, told, others, place, _time(times, line, row["round"])))
    return runs


def _time(times: Mapping[tuple[Any, ...], tuple[int, int]], line: tuple[Any, ...], number: int) -> tuple[int, int]:
    """Return when a round was judged; one that nothing was drawn in has the time of the one before."""
    known = {key[-1]: time for key, time in times.items() if key[:-1] == line}
    return known[max((other for other in known if other <= number), default=min(known))]


def _of(table: pd.DataFrame, names: Sequence[str], values: Sequence[Any]) -> pd.DataFrame:
    return table[(table[list(names)] == list(values)).all(axis=1)]


def _round(
    study: Study,
    row: Mapping[str, Any],
    told: Mapping[str, pd.DataFrame],
    others: pd.DataFrame,
    place: str,
    time_ms: tuple[int, int],
) -> Run:
    experiment, generator, judge, number = row["experiment"], row["model"], row["vision_model"], int(row["round"])
    gain: dict[str, Any] = next(iter(told["round_gains"].to_dict("records")), {})
    spread: dict[str, Any] = next(iter(told["distributions"].to_dict("records")), {})
    failed = told["by_element_kind"].sort_values("failure_rate", ascending=False)
    metrics = measured(
        {
            "adherence/mean": row["adherence"],
            **{f"adherence/{name}": row[name] for name in ("low", "high", "selected")},
            "gain/mean": gain.get("gain"),
            **{f"gain/{name}": gain.get(name) for name in ("low", "high", "scenes")},
            **{f"failed/{kind.kind}": kind.failure_rate for kind in failed.itertuples()},
            **{f"score/{name}": spread.get(name) for name in ("mean", "std", "q05", "q25", "q50", "q75", "q95")},
            "n/scenes": row["scenes"],
            "n/images": spread.get("images"),
        }
    )
    tags = {
        **{"kind": "round", "vision_model": judge, "role": role(row["steers"]), "round": str(number), "place": place},
        **study.differing(experiment, generator),
        **SOURCE,
    }
    parts = [f"round {number}", study.judge(judge), tags["role"], *study.label(experiment, generator)]
    note = _note(row, gain, failed, study.judge(judge), tags["role"])
    identity = content_id("mlflow round", experiment=experiment, model=generator, round=number, vision_model=judge)
    bars = [[b.vision_model, *map(int, b.histogram)] for b in others.itertuples()]
    content = content_hash([FORMAT, tags, metrics, note, bars])
    about = {"identity": identity, "content": content}
    return Run(" · ".join(parts), tags, about, {}, metrics, note, *time_ms, others)


def write_round(run: Run, folder: Path) -> list[str]:
    """Write how the scores of the round spread, by all judges, into `folder`; return what its note shows."""
    if run.shown.empty:
        return []
    arm = run.name.split(" · ")[3:]  # where there are several
    title = " · ".join([f"Scores of round {run.tags['round']}", *arm])
    (folder / FIGURE).write_bytes(distribution_figure(run.shown, title))
    return [FIGURE]


def verdict(gain: Mapping[str, Any]) -> str:
    """Return in words what a round gained on the round before, and whether its interval leaves that open."""
    helped = "it helped" if gain["low"] > 0 else "it hurt" if gain["high"] < 0 else "not shown that it helped"
    return f"{helped}, {gain['gain']:+z.4f} [{gain['low']:+z.4f}, {gain['high']:+z.4f}], {gain['scenes']:.0f} scenes"


def _note(row: Mapping[str, Any], gain: Mapping[str, Any], failed: pd.DataFrame, judge: str, role: str) -> str:
    known = row["adherence"] == row["adherence"]
    mean = f"{row['adherence']:.4f} [{row['low']:.4f}, {row['high']:.4f}], cross-fitted" if known else "not known"
    lines = [f"**{judge} ({role})**: adherence {mean}, {row['scenes']} scenes."]
    if gain:
        lines.append(f"**Against round {row['round'] - 1}**: {verdict(gain)}.")
    if len(failed):
        told = ", ".join(f"{kind.kind} {kind.failure_rate:.0%} of {kind.scenes}" for kind in failed.itertuples())
        lines.append(f"**Elements below the pass mark**, by scenes that ask for them: {told}.")
    return "\n\n".join([*lines, f"![]({FIGURE})"])
