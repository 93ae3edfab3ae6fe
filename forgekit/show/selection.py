"""One version of a scene, looked at closely, as plain HTML: its prompt, its elements, its images, its lessons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import pandas as pd

from forgekit import trends
from forgekit.errors import ParameterError, did_you_mean
from forgekit.show import pages
from forgekit.show.sheets import told_seed
from forgekit.store import Store

MOST_IMAGES = 48  # shown at once
JUDGED = "select distinct experiment, vision_model from current_scores order by all"
STEERING = "select vision_model from steering_judges where experiment = $experiment"


@dataclass(frozen=True)
class Selection:
    """What is looked at, and what there is beside it; `dataclasses.replace` looks at something else."""

    store: Store
    experiments: list[str]  # those with judged images
    experiment: str
    judges: list[str]  # of this experiment, the steering one first
    vision_model: str
    scenes: pd.DataFrame  # of this experiment, the largest cross-fitted gain first
    scene_hash: str
    prompt_id: str = ""  # a version; "" for the best so far by its own images

    @classmethod
    def first(cls, store: Store, experiment: str | None, scene: str | None, vision_model: str | None) -> Selection:
        """Return what `explore` begins with, each given name checked: None for the first, of scenes the one that gained most.

        Raises:
            ParameterError: there is no such experiment, scene or judge in the store, or nothing in it is judged.
        """
        judged = store.rows(JUDGED)
        if not judged:
            raise ParameterError(
                f"{store.path} has no judged images to explore yet; run `fk.evaluate_images(store)` first"
            )
        experiments = list(dict.fromkeys(row["experiment"] for row in judged))
        experiment = _one_of("experiment", experiment, experiments)
        steering = [row["vision_model"] for row in store.rows(STEERING, experiment=experiment)]
        names = [row["vision_model"] for row in judged if row["experiment"] == experiment]
        judges = sorted(names, key=lambda name: (name not in steering, name))
        scenes = trends.scenes(store, experiment=experiment).drop_duplicates("scene_hash")
        texts = dict(zip(scenes["scene_text"], scenes["scene_hash"], strict=True))
        scene_hash = texts[_one_of("scene", scene, list(texts))]
        judge = _one_of("vision_model", vision_model, judges)
        return cls(store, experiments, experiment, judges, judge, scenes, scene_hash)

    @cached_property
    def versions(self) -> pd.DataFrame:
        """The rows of `trends.lineage` of the experiment."""
        versions = trends.lineage(self.store, self.scene_hash)
        return versions[versions["experiment"] == self.experiment].reset_index(drop=True)

    @property
    def version(self) -> pd.Series:
        """The chosen version's row of `versions`."""
        if self.prompt_id:
            return self.versions[self.versions["prompt_id"] == self.prompt_id].iloc[0]
        score = self.versions["current_score"].astype(float).where(self.versions["decision"] != "confirm")
        return self.versions.iloc[score.idxmax() if score.notna().any() else 0]

    def parent_text(self) -> str | None:
        """The text of the version that the chosen one was made from; None for a first version."""
        parent = self.versions[self.versions["prompt_id"] == self.version["parent_prompt_id"]]
        return parent["prompt_text"].iloc[0] if len(parent) else None


def show_version(chosen: Selection) -> str:
    """Return the chosen version as HTML: scene, prompt with what changed, element scores, decisions."""
    version = chosen.version
    scene = chosen.scenes[chosen.scenes["scene_hash"] == chosen.scene_hash].iloc[0]
    elements = trends.version_elements(chosen.store, version["prompt_id"])
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
    """Return the images of the chosen version as HTML, the worst first."""
    ids = [chosen.version["prompt_id"]]
    images = trends.pictures(
        chosen.store, experiment=chosen.experiment, vision_model=chosen.vision_model, prompt_ids=ids
    )
    worst = images.sort_values("score", na_position="first", kind="stable").head(MOST_IMAGES)
    more = f", the worst {MOST_IMAGES} shown" if len(images) > MOST_IMAGES else ", the worst first"
    cards = "".join(_card(row) for row in worst.itertuples())
    return f'<p><b>Images</b>: {len(images)}{more}</p><div style="display:flex;flex-wrap:wrap;gap:10px">{cards}</div>'


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
    label = f"v{row.iteration} · {score}<br>{drawn}{told_seed(row.seed)}"
    return f'<div style="width:150px;font-size:12px;line-height:1.3">{image}<div>{label}</div>{failed}</div>'


def _one_of(what: str, value: str | None, known: list[str]) -> str:
    """Return the name that was given, checked, or the first one."""
    if value is not None and value not in known:
        listed = ", ".join(known[:10])
        raise ParameterError(f"no judged {what} {value!r} in the store.{did_you_mean(value, known)} Known: {listed}")
    return known[0] if value is None else value
