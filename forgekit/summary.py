"""A study's summary for MLflow: its trend as metrics, and contact sheets of all versions, which the UI's own grid
(ten runs at most) cannot show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from forgekit import mirror, trends
from forgekit.ids import content_id
from forgekit.sheets import contact_sheet
from forgekit.store import Store

SHEETS = 60  # scenes with a contact sheet of their own, the ones that gained most first
JPEG = {"quality": 85, "optimize": False}

EXPERIMENTS = """
select experiment, min(epoch_ms(created_at)) as start_ms, max(epoch_ms(last_updated)) as end_ms
from prompts
where experiment = $study or starts_with(experiment, $study || '/')
group by experiment
order by experiment
"""


def summary_run(store: Store, study: str, folder: Path) -> mirror.Run:
    """Return the summary of a study as a run, its artifacts written into `folder`."""
    arms = store.rows(EXPERIMENTS, study=study)
    names = [arm["experiment"] for arm in arms]
    trend = pd.concat([trends.adherence(store, experiment=name) for name in names], ignore_index=True)
    trend.to_csv(folder / "adherence.csv", index=False)
    _write_plot(trend, folder / "adherence.png")
    before_after = pd.concat([trends.before_after(store, experiment=name) for name in names], ignore_index=True)
    _write_sheets(store, names, before_after, folder)
    metrics = [
        (f"adherence/{row.experiment}/{row.vision_model}", float(row.adherence), int(row.iteration))
        for row in trend.itertuples()
        if row.adherence == row.adherence
    ]
    tags = {
        "forgekit.identity": content_id("mlflow summary", study=study),
        "forgekit.content": "summary",
        "kind": "summary",
        "mlflow.note.content": f"Adherence of the study **{study}** by iteration; `sheets/` has every version's images.",
        "mlflow.source.name": "forgekit",
        "mlflow.source.type": "LOCAL",
    }
    times = min(arm["start_ms"] for arm in arms), max(arm["end_ms"] for arm in arms)
    return mirror.Run(tags["forgekit.identity"], f"{study} · summary", tags, {}, metrics, *times)


def _write_plot(trend: pd.DataFrame, file: Path) -> None:
    from matplotlib.figure import Figure

    from forgekit import plots

    figure = Figure(figsize=(9, 5), layout="constrained")  # not pyplot's: nothing is to appear in a notebook
    plots.adherence(trend, ax=figure.subplots())
    figure.savefig(file, dpi=100)


def _write_sheets(store: Store, experiments: list[str], before_after: pd.DataFrame, folder: Path) -> None:
    """Write one sheet of first and best versions, and one per scene with all its versions."""
    (folder / "sheets").mkdir()
    means = before_after.groupby(["scene_hash", "moment"])["score"].mean().unstack()
    gains = (means["after"] - means["before"]).sort_values(ascending=False, kind="stable")
    shown = list(gains.index[:SHEETS])
    first = before_after[before_after["scene_hash"].isin(shown)]
    contact_sheet(first, row="scene_hash", block="moment").save(folder / "before_after.jpg", **JPEG)
    pictures = pd.concat([trends.pictures(store, experiment=name) for name in experiments], ignore_index=True)
    for scene_hash, group in pictures[pictures["scene_hash"].isin(shown)].groupby("scene_hash", sort=False):
        name = f"{mirror.slug(group['scene_text'].iloc[0])}-{scene_hash[:6]}.jpg"
        contact_sheet(group, row="prompt_id").save(folder / "sheets" / name, **JPEG)
