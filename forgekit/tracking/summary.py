"""A study's summary for MLflow: three answers in words, its trend as metrics, and sheets of what the UI's own grid (ten runs
at most) cannot show: all versions, and the pictures that judges disagree about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from forgekit import trends
from forgekit.ids import content_hash, content_id
from forgekit.show.score_figures import distribution_figure
from forgekit.show.sheets import contact_sheet, disagreement_sheet
from forgekit.store import Store
from forgekit.tracking.rounds import verdict
from forgekit.tracking.run import (
    NOTE_LIMIT,
    SOURCE,
    WORKFLOW,
    Run,
    Study,
    about_is,
    as_text,
    measured,
    runs_link,
    safe_key,
    slug,
)
from forgekit.tracking.run_contents import FORMAT, Due

SHEETS = 60  # scenes with a contact sheet of their own in each arm, the ones that gained most first
DISAGREEMENTS, PER_SCENE, NAMED = 48, 2, 2  # pictures on a sheet; of each scene; scenes in the summary's note
SECOND_MS = 1000
STEADY = "%.10g"  # threads add in any order, so further digits differ from call to call
JPEG: dict[str, Any] = {"quality": 85, "optimize": False}

TABLES = ("adherence", "gain", "round_gains", "confirmed", "judge_agreement")
LEGEND = """Figures: `trend/…` is adherence by round, cross-fitted: no image judges a version that it helped to choose; `selected/…`
is the best version so far with its own images, which rises by luck alone; `confirmed/…` is on fresh seeds. Artifacts: these
tables with their intervals, distributions by round, sheets of all versions (`sheets/`) and of what judges disagree about."""


def summary_content(due: Sequence[Due], rounds: int) -> str:
    """Return what changes whenever the summary of a study with these runs, and so many of rounds, is to be written again."""
    return content_hash([FORMAT, rounds, *(run.content for run in due)])


def summary_identity(study: str) -> str:
    """Return the id that the summary carries for ever, whatever MLflow calls it."""
    return content_id("mlflow summary", study=study)


def read_summary(store: Store, due: Sequence[Due], tables: Mapping[str, pd.DataFrame], rounds: int) -> Run:
    """Return the summary of a study that has these runs: metrics per arm and vision model, by round.

    Args:
        tables: `rounds.read_tables`.
        rounds: how many runs of rounds the study has.
    """
    study = due[0].study
    about = {"identity": summary_identity(study.name), "content": summary_content(due, rounds)}
    tags = {"kind": "summary", "place": "all", "role": "all", **SOURCE}
    end_ms = max(run.end_ms for run in due) + SECOND_MS
    disagreements = _disagreements(store, study)
    note = _note(study, tables, disagreements)
    shown = {**tables, "disagreements": disagreements}
    # It starts when all is judged: the UI's list has the newest first.
    return Run(f"summary · {study.name}", tags, about, {}, _metrics(tables), note, end_ms, end_ms, shown)


def _disagreements(store: Store, study: Study) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the pictures that each two judges are furthest apart on, in all arms."""
    found = {}
    for pair in combinations(study.vision_models, 2):
        arms = [
            trends.disagreements(store, *pair, experiment=arm, per_scene=PER_SCENE, most=DISAGREEMENTS)
            for arm in study.experiments
            if set(pair) <= {row["vision_model"] for row in store.rows(trends.judges.JUDGES, experiment=arm)}
        ]
        arms = [arm for arm in arms if len(arm)]
        if arms:
            ranked = pd.concat(arms).sort_values("gap", ascending=False, kind="stable")
            found[pair] = ranked.groupby("scene_hash").head(PER_SCENE).head(DISAGREEMENTS)
    return found


def _note(study: Study, tables: Mapping[str, pd.DataFrame], apart: Mapping[tuple[str, str], pd.DataFrame]) -> str:
    """Return the answers, one a line: of a long description the UI shows the first four lines."""
    held_out, steering = _last_rounds(study, tables["round_gains"])
    pairs = [_apart(study, pair, pictures) for pair, pictures in apart.items()]
    harsher = _harsher(study, tables["judge_agreement"])
    first = [line for line in (harsher, *held_out[:1], *pairs[:1]) if line]
    rest = "\n".join([*held_out[1:], *steering, *pairs[1:]])
    kept: list[str] = []
    for block in ("\n".join(first), rest, _scenes(tables["scenes"]), LEGEND):
        if block and sum(map(len, kept)) + len(block) < NOTE_LIMIT:
            kept.append(block)
    return "\n\n".join([*kept, "![](adherence.png)"])


def _harsher(study: Study, pairs: pd.DataFrame) -> str | None:
    """Return which judge gives the lowest scores, and how much higher the others score the same images."""
    higher: dict[str, dict[str, float]] = {judge: {} for judge in study.vision_models}
    for (judge, other), rows in pairs.groupby(["judge", "other"]):
        difference = (rows["mean_difference"] * rows["images"]).sum() / rows["images"].sum()
        higher[other][judge], higher[judge][other] = difference, -difference
    compared = {judge: others for judge, others in higher.items() if others}
    if not compared:
        return None
    harsh = max(compared, key=lambda judge: sum(compared[judge].values()) / len(compared[judge]))
    ranked = sorted(compared[harsh].items(), key=lambda item: item[1])
    said = ", ".join(f"{study.judge(judge)} scores {difference:+z.4f}" for judge, difference in ranked)
    return f"**Harsher judge: {study.judge(harsh)}.** On the same {pairs['images'].sum()} images {said}."


def _last_rounds(study: Study, gains: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return what the last round of each arm gained, by the judges that are held out and by the one that steers."""
    last = gains[gains["round"] == gains.groupby(["experiment", "model"])["round"].transform("max")]
    lines: tuple[list[str], list[str]] = ([], [])
    for row in last.to_dict("records"):
        arm = " · ".join(["", *study.label(row["experiment"], row["model"])])
        by = f"{study.judge(row['vision_model'])} ({'steers' if row['steers'] else 'held out'}){arm}"
        lines[bool(row["steers"])].append(f"**Last round ({row['round']}) by {by}:** {verdict(row)}.")
    return lines


def _apart(study: Study, pair: tuple[str, str], pictures: pd.DataFrame) -> str:
    named = ", ".join(
        f"{as_text(row['scene_text'], 40)} ({row['x']:.2f} / {row['y']:.2f})"
        for row in pictures.drop_duplicates("scene_hash").head(NAMED).to_dict("records")
    )
    place = f"#/experiments/{{experiment_id}}/runs/{{run_id}}/artifacts/{_sheet_name(pair)}?{WORKFLOW}"
    names = " / ".join(map(study.judge, pair))
    return f"**Furthest apart ({names}):** [{len(pictures)} pictures]({place}), first {named}"


def _sheet_name(pair: Sequence[str]) -> str:
    return f"disagreements-{'-'.join(slug(name) for name in pair)}.jpg"


def _scenes(scenes: pd.DataFrame) -> str:
    links = [
        f"{runs_link(as_text(row['scene_text'], 60), about_is('scene_hash', row['scene_hash']))}{gain}"
        for row in scenes.drop_duplicates("scene_hash").head(12).to_dict("records")
        for gain in [f" {row['gain']:+z.4f}" if row["gain"] == row["gain"] else ""]
    ]
    return f"**Versions of the scenes that gained most**: {' · '.join(links)}"


def _metrics(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, float, int]]:
    """Return (name, value, round) of every figure. A generator is named where an arm has several."""
    curve = tables["adherence"]
    several = set(curve.groupby("experiment")["model"].nunique().loc[lambda n: n > 1].index)
    figures = []
    for name, table, column in (
        ("trend", curve, "adherence"),
        ("selected", curve, "selected"),
        ("gain", tables["gain"], "gain"),
        ("confirmed", tables["confirmed"], "confirmed"),
        ("confirmed_gain", tables["confirmed"], "gain"),
    ):
        for row in table.to_dict("records"):
            line = [row["experiment"], *([row["model"]] if row["experiment"] in several else []), row["vision_model"]]
            figure = measured({safe_key("/".join([name, *line])): row[column]})
            figures += [(key, value, int(row.get("round", 0))) for key, value, _ in figure]
    return figures


def write_summary(store: Store, summary: Run, folder: Path) -> list[str]:
    """Write the summary's artifacts into `folder`: its figures as tables and plots, sheets of pictures.

    Returns what its description shows.
    """
    from matplotlib.figure import Figure

    from forgekit.show import plots

    for name in TABLES:
        summary.shown[name].to_csv(folder / f"{name}.csv", index=False, float_format=STEADY)
    figure = Figure(figsize=(9, 5), layout="constrained")  # not pyplot's: nothing is to appear in a notebook
    plots.adherence(summary.shown["adherence"], confirmed=summary.shown["confirmed"], ax=figure.subplots())
    figure.savefig(folder / "adherence.png", dpi=80)
    (folder / "distributions").mkdir(exist_ok=True)
    spread = summary.shown["distributions"]
    for number, of_round in spread.groupby("round"):
        picture = distribution_figure(of_round, f"Scores of round {number}")
        (folder / "distributions" / f"round-{number}.png").write_bytes(picture)
    for pair, pictures in summary.shown["disagreements"].items():
        disagreement_sheet(pictures).save(folder / _sheet_name(pair), **JPEG)
    for name in summary.shown["adherence"]["experiment"].unique():
        _write_sheets(store, name, folder)
    return ["adherence.png"]


def _write_sheets(store: Store, experiment: str, folder: Path) -> None:
    """Write one sheet of first drawings and selected versions, and one per scene with all its versions."""
    pictures = trends.pictures(store, experiment=experiment)
    before_after = trends.before_after(store, experiment=experiment)
    if pictures.empty or before_after.empty:
        return
    shown = before_after["scene_hash"].unique()[:SHEETS]
    arm = slug(experiment)
    sheets = folder / "sheets" / arm
    sheets.mkdir(parents=True, exist_ok=True)
    chosen = before_after[before_after["scene_hash"].isin(shown)]
    contact_sheet(chosen, row="scene_hash", block="moment").save(folder / f"before-after-{arm}.jpg", **JPEG)

    for scene_hash, group in pictures[pictures["scene_hash"].isin(shown)].groupby("scene_hash", sort=False):
        name = f"{slug(group['scene_text'].iloc[0])}-{scene_hash[:6]}.jpg"
        contact_sheet(group, row="prompt_id").save(sheets / name, **JPEG)
