"""A study's summary for MLflow: its trend as metrics, and contact sheets of all versions, which the UI's own grid
(ten runs at most) cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit import trends
from forgekit.ids import content_hash, content_id
from forgekit.show.sheets import contact_sheet
from forgekit.store import Store
from forgekit.tracking.run_contents import CONTENT, FORMAT, IDENTITY, SOURCE, Due, Run, safe_key, slug

if TYPE_CHECKING:
    import pandas as pd

SHEETS = 60  # scenes with a contact sheet of their own in each arm, the ones that gained most first
JPEG: dict[str, Any] = {"quality": 85, "optimize": False}

TABLES = ("adherence", "gain", "confirmed")
NOTE = """Adherence of the study **{study}** by round of drawing, cross-fitted (`trend/…`): no image judges a version
that it helped to choose. `selected/…` is the best version so far with its own images, which rises by luck alone.
`confirmed/…` is on fresh seeds. Its artifacts hold the tables with their intervals and contact sheets of every version:
the scenes before and after, and one sheet per scene in `sheets/`."""


def summary_content(due: Sequence[Due]) -> str:
    """Return what changes whenever the summary of a study with these runs has to be written again."""
    return content_hash([FORMAT, *(run.content for run in due)])


def summary_identity(study: str) -> str:
    """Return the id that the summary carries as a tag, whatever MLflow calls it."""
    return content_id("mlflow summary", study=study)


def read_summary(store: Store, study: str, due: Sequence[Due]) -> Run:
    """Return the summary of a study that has these runs: metrics per arm and vision model, by round."""
    import pandas as pd

    experiments = sorted({run.experiment for run in due})
    seen = [trends.overview(store, experiment=name) for name in experiments]
    tables = {name: pd.concat([getattr(one, name) for one in seen], ignore_index=True) for name in TABLES}
    tags = {
        IDENTITY: summary_identity(study),
        CONTENT: summary_content(due),
        "kind": "summary",
        "mlflow.note.content": NOTE.format(study=study),
        **SOURCE,
    }
    start_ms, end_ms = min(run.start_ms for run in due), max(run.end_ms for run in due)
    return Run(f"{study} · summary", tags, {}, _metrics(tables), start_ms, end_ms, tables)


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
            figures.append((safe_key("/".join([name, *line])), float(row[column]), int(row.get("round", 0))))
    return [figure for figure in figures if figure[1] == figure[1]]


def write_summary(store: Store, summary: Run, folder: Path) -> None:
    """Write the summary's artifacts into `folder`: its figures as tables and a plot, contact sheets of each arm."""
    for name in TABLES:
        summary.shown[name].to_csv(folder / f"{name}.csv", index=False)
    _write_plot(summary, folder / "adherence.png")
    for name in summary.shown["adherence"]["experiment"].unique():
        _write_sheets(store, name, folder)


def _write_plot(summary: Run, file: Path) -> None:
    from matplotlib.figure import Figure

    from forgekit.show import plots

    figure = Figure(figsize=(9, 5), layout="constrained")  # not pyplot's: nothing is to appear in a notebook
    plots.adherence(summary.shown["adherence"], confirmed=summary.shown["confirmed"], ax=figure.subplots())
    figure.savefig(file, dpi=80)


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
