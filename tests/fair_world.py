"""Worlds whose truth is known: every picture is a fair draw around what its version is worth. Rows only, no models.

`World` says how pictures come out and how much is drawn; numpy draws, by scene, round and image at once, and SQL writes
a store's real tables from that, a hundred thousand verdicts in a few seconds. Which version the refiner would go on
from is decided here, by a plain maximum of what the steering judge says; what is then told of it is forgekit's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from forgekit.store import Store

JUDGES = ("steering", "watching")  # the second sees the same pictures with errors of its own
ARMS = ("rewrite", "redraw")
AGAIN = ("redraw", "resample")  # arms that draw the first version again and again
FLATTERY = (
    0.9  # how much of the steering judge's view of a picture is shared by a judge that has "flattering" in its name
)


@dataclass(frozen=True)
class World:
    """How pictures come out. A version is worth what its scene deserves, in `quality`, and `effect` more where it helps.

    The effect, with the standard deviation `spread` over scenes, is that of the arms `helps`, from version `helps_from`
    on. A scene stops when the best version has a mean of `target`, and is then carried forward; None: all go on. With
    `confirm` each scene's chosen version is drawn once more on fresh seeds, a fair draw too, or images that all score
    `confirmed`. The first judge steers.
    """

    scenes: int = 600
    images: int = 4
    rounds: int = 6
    arms: tuple[str, ...] = ARMS
    judges: tuple[str, ...] = JUDGES
    quality: tuple[float, float] = (0.35, 0.65)
    luck: float = 0.2  # standard deviation of a picture, as all judges see it
    opinion: float = 0.05  # of one judge's view of a picture
    effect: float = 0.0
    spread: float = 0.0
    helps: tuple[str, ...] = ("rewrite", "refine")
    helps_from: int = 1
    target: float | None = None
    confirm: bool = False
    confirmed: float | None = None
    seed: int = 0
    names: Mapping[str, str] = field(default_factory=dict)  # of experiments, by arm, where not those of the arms

    def fill(self, store: Store) -> Store:
        """Write all arms of the world into a store and return it."""
        experiments = {arm: self.names.get(arm, arm) for arm in self.arms}
        write(store, [self.draw("scene", experiments, np.random.default_rng(self.seed))], self.judges)
        return store

    def draw(self, name: str, experiments: Mapping[str, str], rng: np.random.Generator) -> pd.DataFrame:
        """Return a row per image of a world whose scenes are called "`name` 0", "`name` 1" and so on."""
        deserved = rng.uniform(*self.quality, self.scenes)
        gains = rng.normal(self.effect, self.spread, self.scenes)
        arms = [self._arm(rng, arm, deserved, gains).assign(experiment=experiments[arm]) for arm in self.arms]
        return pd.concat(arms, ignore_index=True).assign(name=name)

    def _arm(self, rng: np.random.Generator, arm: str, deserved: np.ndarray, gains: np.ndarray) -> pd.DataFrame:
        """Draw each scene round by round; its base is the version that real comparisons leave."""
        versions, again = np.arange(self.rounds), arm in AGAIN
        worth = deserved[:, None] + gains[:, None] * (arm in self.helps) * (versions >= self.helps_from)
        said = self._say(rng, worth)
        means = said[self.judges[0]].mean(axis=2)
        standing = means.cumsum(axis=1) / (versions + 1) if again else np.maximum.accumulate(means, axis=1)
        best = np.maximum.accumulate(np.where((means == standing) & (not again), versions, 0), axis=1)
        last = np.full(self.scenes, self.rounds - 1)
        if self.target is not None:
            reached = standing >= self.target
            last = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
        scene, round_, image = (axis.ravel() for axis in np.indices(said[self.judges[0]].shape))
        drawn = pd.DataFrame(
            {
                "scene": scene,
                "version": 0 if again else round_,
                "round": round_,
                "image": image,
                "seed": image + 1000 * round_ * again,
                "parent": np.where(again | (round_ == 0), -1, best[scene, round_ - 1]),
                "looked_at": 0 if again else round_ - 1,
                "base": best[scene, round_ - 1],
                "decision": "redraw" if again else "rewrite",
                **{judge: scores.ravel() for judge, scores in said.items()},
            }
        )[round_ <= last[scene]]
        if not self.confirm:
            return drawn
        chosen = best[np.arange(self.scenes), last]
        return pd.concat([drawn, self._confirm(rng, worth, chosen, last, again)])

    def _confirm(
        self, rng: np.random.Generator, worth: np.ndarray, chosen: np.ndarray, last: np.ndarray, again: bool
    ) -> pd.DataFrame:
        said = self._say(rng, np.take_along_axis(worth, chosen[:, None], axis=1))
        if self.confirmed is not None:
            said = {judge: np.full_like(scores, self.confirmed) for judge, scores in said.items()}
        scene, _, image = (axis.ravel() for axis in np.indices(said[self.judges[0]].shape))
        return pd.DataFrame(
            {
                "scene": scene,
                "version": self.rounds,
                "round": last[scene] + 1,
                "image": image,
                "seed": image + 1_000_000,
                "parent": chosen[scene],
                "looked_at": 0 if again else last[scene],
                "base": chosen[scene],
                "decision": "confirm",
                **{judge: scores.ravel() for judge, scores in said.items()},
            }
        )

    def _say(self, rng: np.random.Generator, worth: np.ndarray) -> dict[str, np.ndarray]:
        """Return each judge's scores (scene, version, image) of pictures of versions that are worth (scene, version)."""
        size = (*worth.shape, self.images)
        seen = worth[:, :, None] + rng.normal(0, self.luck, size)
        steering = rng.normal(0, 1, size)
        said = {}
        for number, judge in enumerate(self.judges):
            shared = 1.0 if number == 0 else FLATTERY * ("flattering" in judge)
            view = shared * steering + np.sqrt(1 - shared**2) * rng.normal(0, 1, size)
            said[judge] = np.clip(seen + self.opinion * view, 0.02, 1.0)
        return said


GIVEN = """
create temp table drawn as
select *, sha256(name || '/' || scene) as scene_hash,
    md5(concat_ws('/', experiment, name, scene, version))::uuid as prompt_id,
    if(parent < 0, null, md5(concat_ws('/', experiment, name, scene, parent))::uuid) as parent_id,
    md5(concat_ws('/', experiment, name, scene, looked_at))::uuid as looked_at_id,
    md5(concat_ws('/', experiment, name, scene, base))::uuid as base_id,
    md5(concat_ws('/', experiment, name, scene, version, round, image))::uuid as image_id,
    timestamp '2026-11-01' + to_minutes(round) as drawn_at
from given
"""
PROMPTS = """
insert into prompts (id, scene_hash, parent_prompt_id, model, prompt_text, base_parameters, generation_iteration, status,
    best_image_id, current_score, experiment, created_at)
select prompt_id, any_value(scene_hash), any_value(parent_id), 'fair', 'a circle', '{}', $version, 'archived',
    arg_max(image_id, steers), avg(steers), any_value(experiment), min(drawn_at)
from drawn
where version = $version
group by prompt_id
"""
SCENES = """
insert into scenes (scene_hash, scene_text, elements, source)
select distinct scene_hash, name || ' ' || scene,
    '{"objects": [{"name": "circle", "count": 1, "attributes": [], "span": [0, 8]}], "relations": [],
      "background": null, "style": null, "rendered_text": [], "negations": []}'::json,
    json_object('row', scene, 'category', 'one object')
from drawn
"""
EVIDENCE = (
    """
    insert into generated_images (id, prompt_id, image_path, generation_metadata, adherence_score, evaluation_details,
        round, image_index, created_at)
    select image_id, prompt_id, image_id || '.png', json_object('seed', seed, 'draw_key', image_id), steers,
        json_object('vision_model', $steering), round, image, drawn_at
    from drawn
    """,
    """
    insert into image_evaluations (id, image_id, prompt_id, scene_hash, vision_model, element_scores, soft_tifa_am,
        soft_tifa_gm, judge_key, created_at)
    select md5(image_id || judge)::uuid, image_id, prompt_id, scene_hash, judge, json_object('object:0', score), score,
        score, 'key', drawn_at
    from (unpivot drawn on {judges} into name judge value score)
    """,
    """
    insert into prompt_learnings (id, prompt_id, actions, created_at)
    select distinct md5(concat(experiment, scene_hash, round))::uuid, looked_at_id,
        json_object('decision', decision, 'base_prompt_id', base_id,
            'child_prompt_id', if(decision = 'redraw', null, prompt_id)),
        drawn_at - interval 30 second
    from drawn
    where round > 0
    """,
)


def write(store: Store, worlds: Sequence[pd.DataFrame], judges: Sequence[str]) -> None:
    """Write what was drawn (`World.draw`) into a store, as if it had been run, in one transaction."""
    drawn = pd.concat(worlds, ignore_index=True)
    columns = ", ".join(f'"{judge}"' for judge in judges)
    with store.transaction() as con:
        con.register("given", drawn.assign(steers=drawn[judges[0]]))
        con.execute(GIVEN)
        con.execute(SCENES)
        for version in sorted(drawn["version"].unique()):  # a parent before its children
            con.execute(PROMPTS, {"version": int(version)})
        for statement in EVIDENCE:
            values = {"steering": judges[0]} if "$steering" in statement else None
            con.execute(statement.format(judges=columns) if "{judges}" in statement else statement, values)
        con.execute("drop table drawn")
