"""What an explorer looks at, and that as plain HTML: a version of a scene, its elements, its images, its lessons."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from forgekit import trends
from forgekit.errors import ParameterError, did_you_mean
from forgekit.show import pages
from forgekit.show.sheets import told_seed
from forgekit.store import Store

MOST_IMAGES = 48  # shown at once
SCOPES = ("this version", "this scene", "the experiment")
ORDERS = ("the worst first", "widest gap first")
JUDGED = "select distinct experiment, vision_model from current_scores order by all"
STEERING = "select vision_model from steering_judges where experiment = $experiment"


@dataclass
class Selection:
    """What is looked at. Every change keeps the rest of it as far as that exists, and falls back to the first."""

    store: Store
    experiment: str
    scene_hash: str = ""
    prompt_id: str = ""
    vision_model: str = ""
    scores: tuple[float, float] = (0.0, 1.0)
    scope: str = SCOPES[0]
    order: str = ORDERS[0]
    scenes: pd.DataFrame = field(init=False)
    versions: pd.DataFrame = field(init=False)
    judged: list[dict[str, str]] = field(init=False)

    @classmethod
    def first(cls, store: Store, experiment: str | None, scene: str | None, vision_model: str | None) -> Selection:
        """Return what `explore` begins with, each given name checked."""
        judged = store.rows(JUDGED)
        if not judged:
            raise ParameterError(
                f"{store.path} has no judged images to explore yet; run `fk.evaluate_images(store)` first"
            )
        experiments = list(dict.fromkeys(row["experiment"] for row in judged))
        chosen = cls(store, _one_of("experiment", experiment, experiments) or experiments[0])
        chosen.refresh()
        texts = dict(zip(chosen.scenes["scene_text"], chosen.scenes["scene_hash"], strict=True))
        chosen.scene_hash = texts[_one_of("scene", scene, list(texts))] if scene else chosen.scene_hash
        chosen.vision_model = _one_of("vision_model", vision_model, chosen.judges) or chosen.vision_model
        chosen.refresh()
        return chosen

    def refresh(self) -> None:
        """Read the store again: what can be chosen, and what is chosen.

        The first version offered is the best so far by its own images, the first scene the one with the largest
        cross-fitted gain.
        """
        self.judged = self.store.rows(JUDGED)
        self.scenes = trends.scenes(self.store, experiment=self.experiment).drop_duplicates("scene_hash")
        self.scene_hash = _kept(self.scene_hash, self.scenes["scene_hash"])
        versions = trends.lineage(self.store, self.scene_hash)
        self.versions = versions[versions["experiment"] == self.experiment].reset_index(drop=True)
        best = self.versions["current_score"].astype(float).where(self.versions["decision"] != "confirm")
        default = self.versions["prompt_id"][best.idxmax() if best.notna().any() else 0]
        self.prompt_id = self.prompt_id if self.prompt_id in set(self.versions["prompt_id"]) else default
        self.vision_model = _kept(self.vision_model, self.judges)

    @property
    def experiments(self) -> list[str]:
        """The experiments with judged images."""
        return list(dict.fromkeys(row["experiment"] for row in self.judged))

    @property
    def judges(self) -> list[str]:
        """The vision models that judged the experiment, the steering one first."""
        names = [row["vision_model"] for row in self.judged if row["experiment"] == self.experiment]
        rows = self.store.rows(STEERING, experiment=self.experiment)
        steering = rows[0]["vision_model"] if rows else None
        return sorted(names, key=lambda name: (name != steering, name))

    @property
    def version(self) -> pd.Series:
        """The chosen version's row of `trends.lineage`."""
        return self.versions[self.versions["prompt_id"] == self.prompt_id].iloc[0]

    def parent_text(self) -> str | None:
        """The text of the version that the chosen one was made from; None for a first version."""
        parent = self.versions[self.versions["prompt_id"] == self.version["parent_prompt_id"]]
        return parent["prompt_text"].iloc[0] if len(parent) else None

    def pictures(self) -> pd.DataFrame:
        """The images of the chosen scope in the chosen order, with the chosen judge's scores: `trends.pictures`.

        `gap` is how far, in [0, 1], the judge of the experiment that is furthest from them scores the same image; null
        where no other has.
        """
        ids = {
            SCOPES[0]: [self.prompt_id],
            SCOPES[1]: self.versions["prompt_id"].tolist(),
            SCOPES[2]: None,
        }[self.scope]
        said = {judge: self._scores(judge, ids) for judge in self.judges}
        images = said[self.vision_model]
        mine = images.set_index("image_id")["score"].astype(float)
        gaps = [
            (table.set_index("image_id")["score"].astype(float) - mine).abs()
            for judge, table in said.items()
            if judge != self.vision_model
        ]
        widest = pd.concat(gaps, axis=1).max(axis=1) if gaps else pd.Series(dtype=float)
        images = images.assign(gap=images["image_id"].map(widest))
        if self.order == ORDERS[1]:
            return images.sort_values("gap", ascending=False, na_position="last", kind="stable")
        return images.sort_values("score", na_position="first", kind="stable")

    def _scores(self, judge: str, prompt_ids: list[str] | None) -> pd.DataFrame:
        return trends.pictures(self.store, experiment=self.experiment, vision_model=judge, prompt_ids=prompt_ids)


def show_version(chosen: Selection) -> str:
    """Return the chosen version as HTML: scene, prompt with what changed, element scores, decisions."""
    version = chosen.version
    scene = chosen.scenes[chosen.scenes["scene_hash"] == chosen.scene_hash].iloc[0]
    elements = trends.version_elements(chosen.store, chosen.prompt_id)
    elements = elements[elements["vision_model"] == chosen.vision_model]
    known = version["scores"] if isinstance(version["scores"], dict) else {}
    scores = ", ".join(f"{judge} {score:.2f}" for judge, score in known.items())
    decided = trends.decisions(chosen.store, chosen.scene_hash, experiment=chosen.experiment)
    decided = decided.drop(columns=["experiment", "model", "prompt_id"]).dropna(axis=1, how="all")
    mark = elements["pass_mark"].iloc[0] if len(elements) else 0.0  # of this judge: the same in every row
    bars = pages.bars(elements[["phrase", "kind", "score"]], pass_mark=mark)
    return (
        f'<style>{pages.NESTED}</style><div class="forgekit">'
        f"<p><b>Scene</b> {escape(scene['scene_text'])}</p>{_worth(scene)}"
        f"<p><b>Prompt</b> {pages.marked_diff(chosen.parent_text(), version['prompt_text'])}</p>"
        f"<p><b>Scores</b> {escape(scores) or 'none yet'} &nbsp; <b>Status</b> {escape(version['status'])}</p>"
        f"<p><b>Elements</b>, the worst first, mean over {version['images']} images; "
        f"missing below {mark:.2f}</p>{bars.to_html()}<p><b>Lessons</b>: what was decided at each version, and how the "
        f"score changed</p>{pages.table(decided).to_html()}</div>"
    )


def show_pictures(chosen: Selection) -> str:
    """Return the images of the chosen scope and order whose score lies in the chosen range, as HTML."""
    images = chosen.pictures()
    low, high = chosen.scores
    inside = images[images["score"].between(low, high) | (images["score"].isna() & (low <= 0))]
    shown = inside.head(MOST_IMAGES)
    more = f", the first {MOST_IMAGES} shown" if len(inside) > MOST_IMAGES else ""
    cards = "".join(_card(row) for row in shown.itertuples())
    return (
        f"<p><b>Images</b> of {escape(chosen.scope)} with a score from {low:.2f} to {high:.2f}: "
        f"{len(inside)} of {len(images)}{more}, {chosen.order}</p>{_histogram(images['score'], low, high)}"
        f'<div style="display:flex;flex-wrap:wrap;gap:10px">{cards}</div>'
    )


def _worth(scene: pd.Series) -> str:
    """Return what the scene has come to by the judge that steers, as far as that is known."""
    figures = {
        "first": "first_score",
        "last, cross-fitted": "last_score",
        "on fresh seeds": "confirmed_score",
        "best version so far, selected": "selected_score",
    }
    known = [f"{name} {scene[column]:.2f}" for name, column in figures.items() if scene[column] == scene[column]]
    return f"<p><b>Scene's score</b> {', '.join(known) or 'none yet'}</p>"


def _card(row: Any) -> str:
    score = f"{row.score:.2f}" if row.score == row.score else "no score"
    missing = row.failed if hasattr(row.failed, "__len__") else []  # null: no verdict
    failed = "".join(f'<div style="color:{pages.BAD}">✗ {escape(phrase)}</div>' for phrase in missing)
    image = pages.picture_file(row.file, alt=told_seed(row.seed), width=150)
    drawn = f"round {row.round:.0f}, " if row.round == row.round else ""
    gap = f" · gap {row.gap:.2f}" if row.gap == row.gap else ""
    label = f"v{row.iteration} · {score}{gap}<br>{drawn}{told_seed(row.seed)}"
    return f'<div style="width:150px;font-size:12px;line-height:1.3">{image}<div>{label}</div>{failed}</div>'


def _histogram(scores: pd.Series, low: float, high: float) -> str:
    """Return twenty bars over [0, 1], those in the chosen range in full colour."""
    counts, edges = np.histogram(scores.dropna().astype(float), bins=20, range=(0, 1))
    bars = "".join(
        f'<i title="{n} images" style="flex:1; height:{50 * n / max(1, counts.max()):.1f}px; background:{pages.GOOD}; '
        f'opacity:{1 if low <= edge + 0.025 <= high else 0.25}"></i>'
        for n, edge in zip(counts, edges, strict=False)
    )
    row = "width:400px; display:flex; gap:2px"
    return (
        f'<div style="{row}; align-items:end; height:50px; border-bottom:1px solid #999">{bars}</div>'
        f'<div style="{row}; justify-content:space-between; font-size:11px"><i>0</i><i>0.5</i><i>1</i></div>'
    )


def _kept(value: str, known: Any) -> str:
    known = list(known)
    return value if value in known else known[0]


def _one_of(what: str, value: str | None, known: list[str]) -> str | None:
    if value is not None and value not in known:
        listed = ", ".join(known[:10])
        raise ParameterError(f"no judged {what} {value!r} in the store.{did_you_mean(value, known)} Known: {listed}")
    return value
