"""A study as one HTML page that needs no network: figures, pictures before and after, what was rewritten and learnt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from forgekit import trends
from forgekit.progress import StageReport, running
from forgekit.refiner import learnings
from forgekit.show import pages, plots
from forgekit.show.sheets import contact_sheet
from forgekit.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LESSONS = 20
REWRITES = """
select
    c.experiment,
    s.scene_text,
    p.prompt_text as before,
    c.prompt_text as after,
    v.pairs,
    v.change
from prompts c
join prompts p on p.id = c.parent_prompt_id
join scenes s on s.scene_hash = c.scene_hash
join steering_judges j on j.experiment = c.experiment
join version_changes v on v.prompt_id = c.id and v.vision_model = j.vision_model
where c.experiment in (select unnest($arms::varchar[]))
  and c.prompt_text <> p.prompt_text
order by abs(v.change) desc, c.id
limit $limit
"""
COUNTS = """
select
    p.experiment,
    count(distinct p.scene_hash) as scenes,
    count(distinct p.id) as versions,
    count(i.id) as images,
    strftime(min(p.created_at), '%Y-%m-%d %H:%M') as begun,
    strftime(max(p.last_updated), '%Y-%m-%d %H:%M') as ended
from prompts p
left join generated_images i on i.prompt_id = p.id
where p.experiment in (select unnest($arms::varchar[]))
group by all
order by all
"""


def write_report(store: Store, file: str | Path, *, experiment: str | None = None, scenes: int = 12) -> StageReport:
    """Write one HTML page about an experiment, or about all arms of a study; an existing file is replaced.

    The page carries its pictures and opens from disk on any machine.

    Args:
        experiment: an experiment, or a study whose arms are `experiment`/…; None for everything in the store.
        scenes: how many scenes are shown before and after, the ones that gained most first.

    Raises:
        ParameterError: there is no such experiment.
    """
    file = Path(file)
    names = trends.arms(store, experiment)
    with running("report", total=0, unit="page") as (report, _):
        title = f"Prompt adherence: {experiment or store.path.name}"
        html = pages.page(title, _body(store, names, scenes))
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        partial.write_text(html)
        partial.replace(file)
        report.done = 1
        report.notes.append(f"{file}, {len(html) / 2**20:.1f} MiB")
    return report


def _body(store: Store, names: Sequence[str], scenes: int) -> Iterator[str]:
    yield f"<p class=quiet>forgekit, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, store {escape(str(store.path))}</p>"
    yield pages.table(store.df(COUNTS, arms=list(names)))
    trend = _of(trends.adherence, store, names)
    if trend["selected"].notna().sum() == 0:
        yield "<p>In these experiments nothing is judged yet.</p>"
        return
    yield from _trend_section(store, names, trend)
    yield from _element_section(store, names)
    yield from _before_after_section(store, names, scenes)
    yield from _rewrite_section(store, names, scenes)
    yield from _judge_section(store, names)
    yield "<h2>Cost</h2>"
    cost = _of(trends.cost, store, names)
    yield pages.table(cost.drop(columns=["first_call", "last_call"]))


def _trend_section(store: Store, names: Sequence[str], trend: pd.DataFrame) -> Iterator[str]:
    line = ["experiment", "model", "vision_model"]
    images = trend.groupby(line, as_index=False)["images"].last()
    yield "<h2>Adherence</h2><p>Cross-fitted: a version of a scene is chosen on one half of its seeds and scored on the "
    yield "other, so that luck in choosing is not told as progress; with 95 % intervals over scenes. A judge that does "
    yield "not steer is held out: a gain that it does not confirm is no gain.</p>"
    gains = _of(trends.gain, store, names)
    if len(gains):
        yield pages.table(gains.merge(images, on=line, how="left"))
    else:
        yield "<p>No version has images in both halves of its seeds: there is no gain to tell, only a selected best.</p>"
    confirmed = _of(trends.confirmed, store, names)
    if len(confirmed):
        yield "<h3>The chosen versions on fresh seeds</h3>"
        yield pages.table(confirmed)
    yield _plot(partial(plots.adherence, confirmed=confirmed), trend, "adherence by round")
    yield _plot(plots.pareto, trend, "adherence against images drawn")
    yield _plot(plots.deltas, _of(trends.version_deltas, store, names), "change from version to version")
    spread = _of(trends.distributions, store, names)
    for name in names:
        arm = spread[spread["experiment"] == name]
        if len(arm):
            yield f"<h3>Distribution of scores: {escape(name)}</h3>"
            height = 1.2 + 0.9 * arm["round"].nunique()
            yield _plot(plots.distribution, arm, f"distribution of scores in {name}", height=height)


def _element_section(store: Store, names: Sequence[str]) -> Iterator[str]:
    yield "<h2>What is drawn well and what is not</h2>"
    for question, what in ((trends.by_element_kind, "kind"), (trends.by_term, "word of the scene texts")):
        table = _of(question, store, names)
        for key, panel in table.groupby(list(plots.LINES), sort=False):  # a judge for itself: they may disagree
            height = 1.2 + 0.35 * panel[panel.columns[3]].nunique()
            alt = f"mean score by {what}: {' · '.join(key)}"
            yield _plot(plots.elements, panel, alt, height=min(height, 20))
    together = pd.concat([trends.failing_together(store, experiment=name) for name in names], ignore_index=True)
    together = together[together["both_failed"] > 0].head(10)
    if len(together):
        yield "<h3>What fails together</h3>"
        yield pages.table(together)


def _before_after_section(store: Store, names: Sequence[str], scenes: int) -> Iterator[str]:
    yield "<h2>Before and after</h2>"
    for name in names:
        pictures = trends.before_after(store, experiment=name)
        shown = pictures[pictures["scene_hash"].isin(pictures["scene_hash"].unique()[:scenes])]
        if len(shown):
            yield f"<h3>{escape(name)}: the scenes that gained most</h3><p>The first drawing, and the best version so far "
            yield "as its own images selected it; in the order of the cross-fitted gain.</p>"
            yield pages.picture(contact_sheet(shown, row="scene_hash", block="moment"), alt="images before and after")


def _rewrite_section(store: Store, names: Sequence[str], limit: int) -> Iterator[str]:
    rewrites = store.df(REWRITES, arms=list(names), limit=limit)
    if not len(rewrites):
        return
    marked = [pages.marked_diff(b, a) for b, a in zip(rewrites["before"], rewrites["after"], strict=True)]
    yield "<h2>Rewrites that changed most</h2><p>The largest changes by the judge that steers, on the pairs of images that "
    yield "share a seed: picked for their size, so larger than they would be again.</p>"
    yield pages.table(
        rewrites.assign(prompt=marked)[["experiment", "scene_text", "prompt", "pairs", "change"]], html=["prompt"]
    )
    lessons = learnings.lessons(store)[:LESSONS]
    if lessons:
        yield "<h2>Lessons, from the whole store</h2><ul>"
        yield "".join(f"<li>{escape(lesson)}</li>" for lesson in lessons) + "</ul>"


def _judge_section(store: Store, names: Sequence[str]) -> Iterator[str]:
    agreement = _of(trends.judge_agreement, store, names, named=True)
    if not len(agreement):
        return
    yield "<h2>Do the judges agree?</h2>"
    yield pages.table(agreement)
    first = agreement.iloc[0]
    pairs = _of(
        lambda s, experiment: trends.judge_pairs(s, first["judge"], first["other"], experiment=experiment), store, names
    )
    pairs = pairs.sort_values("x", key=lambda x: -(x - pairs["y"]).abs(), kind="stable")

    def draw(data: pd.DataFrame, *, ax: Axes) -> Axes:
        return plots.judges(data, folder=str(store.folder), ax=ax)

    yield _plot(draw, pairs, "scores of two judges", height=7)


def _of(
    question: Callable[..., pd.DataFrame], store: Store, names: Sequence[str], *, named: bool = False
) -> pd.DataFrame:
    """Ask a question about each experiment; `named` adds which, where the answer does not say."""
    answers = [question(store, experiment=name) for name in names]
    if named:
        answers = [answer.assign(experiment=name) for answer, name in zip(answers, names, strict=True)]
    return pd.concat(answers, ignore_index=True)


def _plot(plot: Callable[..., Axes], data: pd.DataFrame, alt: str, *, height: float = 4.0) -> str:
    return f"<p>{pages.png(plots.as_png(plot, data, height=height), alt=alt)}</p>" if len(data) else ""
