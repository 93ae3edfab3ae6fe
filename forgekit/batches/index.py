"""The index of a batch: a row for each execution, with its figures and pictures from the store, as a table and a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from forgekit import trends
from forgekit.batches.plan import Plan
from forgekit.batches.state import read_state
from forgekit.show import pages
from forgekit.show.sheets import contact_sheet, encoded
from forgekit.store import Store
from forgekit.store.images import write_whole

BY = " by "  # before the name of a judge that only watched


def summary(store: Store, plan: Plan, folder: Path) -> pd.DataFrame:
    """Return one row per execution: the parameters that vary, its status, and its key figures from the store.

    By the judge that steered (`judge`): `scenes`, `images` drawn, adherence at the `first` and `last` round, the paired
    `gain` with its interval `low` to `high` (`trends.gain`); null where the execution left none. By each judge that only
    watched the same, in columns such as `gain by mini-fuyu`. An execution that drew with several generators has a row for
    each (`generator`).
    """
    figures, rows = _figures(store), []
    for execution in plan.executions:
        state = read_state(folder, execution)
        found = figures[figures["experiment"] == plan.experiment(execution)].drop(columns="experiment")
        for row in found.to_dict("records") or [dict.fromkeys(found.columns)]:
            rows.append(
                {
                    "execution": execution.name,
                    **{name: _plain(value) for name, value in execution.values.items()},
                    "status": state.status if state else "waiting",
                    "seconds": state.seconds if state else None,
                    **row,
                    "error": state.error if state else None,
                }
            )
    return pd.DataFrame(rows)


def _figures(store: Store) -> pd.DataFrame:
    """Return what each arm drew and gained by the judge that steers it, and beside it the gain by each that only watched."""
    line = ["experiment", "model", "vision_model"]
    curve, gains = trends.adherence(store), trends.gain(store)
    drawn = curve[curve["steers"]].groupby(line, as_index=False)["images"].last()
    steered = drawn.merge(gains[[*line, "scenes", "first", "last", "gain", "low", "high"]], on=line, how="left")
    watched = gains[~gains["steers"]].pivot(index=line[:2], columns="vision_model", values=["gain", "low", "high"])
    watched.columns = [f"{measure}{BY}{judge}" for measure, judge in watched.columns]
    both = steered.merge(watched.reset_index(), on=line[:2], how="left")
    return both.rename(columns={"model": "generator", "vision_model": "judge"})


def write_index(store: Store, plan: Plan, folder: Path) -> None:
    """Write `summary.csv` and `index.html` as things stand now."""
    table = summary(store, plan, folder)
    table.to_csv(folder / "summary.csv", index=False)
    counted = table.drop_duplicates("execution")
    counts = ", ".join(f"{n} {status}" for status, n in counted["status"].value_counts().items())
    links = [_link(folder / f"{name}.html", name) or escape(name) for name in table["execution"]]
    notebooks = [_link(folder / f"{name}.ipynb", "notebook") for name in table["execution"]]
    watched = [name.removeprefix("gain") for name in table if name.startswith(f"gain{BY}")]
    told = {
        "execution": links,
        "status": [f'<span class="{word}">{word}</span>' for word in table["status"]],
        "images": table["images"].astype("Int64"),
        "scenes": table["scenes"].astype("Int64"),
        **{f"gain{by}": _intervals(table, by) for by in ("", *watched)},
        "pictures": [_picture(folder / f"{name}.png") for name in table["execution"]],
    }
    apart = [f"{end}{by}" for end in ("low", "high") for by in ("", *watched)]
    shown = table.assign(**told).drop(columns=apart).dropna(axis=1, how="all")
    shown.insert(1, "as", notebooks)
    body = [
        f"<p>{len(counted)} executions of {escape(plan.notebook.name)}: {counts}. "
        f"As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, store {escape(str(store.path))}.</p>",
        pages.table(shown, html=["execution", "as", "status", "pictures"]).to_html(),
        "<p class=quiet>Adherence by the judge that steered, cross-fitted: no image judges a version that it helped to "
        "choose. Gain is paired within scenes, low to high its 95 % interval over them; <em>gain by</em> a judge is of one that only "
        "watched. Pictures: one scene, drawn by lot and the same for all, its first image before and in the best version so far.</p>",
        f"<p>{_link(folder / 'summary.csv', 'summary.csv')}</p>",
    ]
    write_whole(folder / "index.html", pages.page(f"Batch {plan.name}", body, wide=True).encode())


def write_pictures(store: Store, experiment: str, file: Path) -> None:
    """Write two images of one scene, of its first drawing and its best version so far; the same scene for each execution.

    Which scene is told by the hash of its text, and the images are those of its first seed: no score chooses what is shown.
    """
    pictures = trends.before_after(store, experiment=experiment)
    if len(pictures):
        shown = pictures[pictures["scene_hash"] == pictures["scene_hash"].min()]
        sheet = contact_sheet(shown.groupby("moment", sort=False).head(1), row="scene_hash", block="moment")
        write_whole(file, encoded(sheet, "png"))


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _link(file: Path, text: str) -> str:
    """Return a link to a file beside the page; nothing where there is no such file."""
    return f'<a href="{escape(file.name)}">{escape(text)}</a>' if file.exists() else ""


def _intervals(table: pd.DataFrame, by: str) -> list[str | None]:
    """Return the gains of a table with their intervals, in one column; None where there is none."""
    gains = table[[f"gain{by}", f"low{by}", f"high{by}"]].astype(float).itertuples(index=False)
    return [None if gain != gain else f"{gain:+z.2f} [{low:+z.2f}, {high:+z.2f}]" for gain, low, high in gains]


def _picture(file: Path) -> str:
    name = escape(file.name)
    return (
        f'<a href="{name}"><img src="{name}" style="max-width: 16em" alt="before and after"></a>'
        if file.exists()
        else ""
    )
