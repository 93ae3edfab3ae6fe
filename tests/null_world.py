"""Worlds whose truth is known: studies in which nothing helps, or something helps by so much, without torch.

Two ways, by the same rules of chance (`World`):

- `write_studies` draws many studies with numpy and writes their evidence into a store's real tables. The version that
  the steering judge likes best is chosen there by a rule of this file (a plain maximum, which rewards luck more than
  the refiner's does); what is then said of it is by forgekit: `results`, `verdicts`.
- `run_real` runs a study through the real stages and policies; `Generator` and the judges below are its models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pandas as pd
from PIL import Image

from forgekit.errors import ItemError
from forgekit.models import Drawing, DrawRequest, Judgement
from forgekit.scene import Scene, list_elements
from forgekit.study import Study, run_study

if TYPE_CHECKING:
    from forgekit.store import Store

STEERING, WATCHING, FLATTERING = (f"null_world:{name}" for name in ("steering", "watching", "flattering"))
QUALITY = (0.35, 0.6)  # of a scene: the mean score that its pictures deserve
LUCK, OPINION = 0.1, 0.08  # standard deviations: of a picture, as all judges see it, and of one judge's view of it
FLATTERY = 0.9  # how much of the steering judge's view of a picture the flattering judge shares
COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond")


@dataclass(frozen=True)
class World:
    """What is true, and how much is drawn. `effect` is what the last arm's wording adds, `spread` its sd over scenes."""

    effect: float = 0.0
    spread: float = 0.0
    luck: float = LUCK
    scenes: int = 40
    arms: tuple[str, ...] = ("resample", "paraphrase", "refine")
    heldout: tuple[str, ...] = (WATCHING,)  # names that begin with FLATTERING flatter
    versions: int = 4
    images: int = 3  # a version

    def plan(self, name: str) -> Study:
        """Return the plan of one study of this world."""
        return Study(
            name,
            arms=self.arms,
            model="null_world:Generator",
            vision_models=(STEERING, *self.heldout),
            images_per_prompt=self.images,
            images_per_scene=self.images * self.versions,
            scenes_per_block=self.scenes,
        )


TABLES = (
    """
    insert into scenes (scene_hash, scene_text, elements, source)
    select distinct sha256(study || '/' || scene), study || ' ' || scene,
        '{"objects": [{"name": "circle", "count": 1, "attributes": [], "span": [0, 8]}], "relations": [],
          "background": null, "style": null, "rendered_text": [], "negations": []}'::json,
        json_object('row', scene, 'category', 'one object')
    from drawn
    """,
    """
    insert into prompts (id, scene_hash, parent_prompt_id, model, prompt_text, base_parameters, generation_iteration,
        status, best_image_id, current_score, experiment, created_at)
    select prompt_id, any_value(sha256(study || '/' || scene)), any_value(parent_id), 'null_world', 'a circle', '{}',
        any_value(version), 'archived', arg_max(image_id, steering), avg(steering), any_value(study || '/' || arm),
        timestamp '2026-11-01' + to_minutes(any_value(version))
    from drawn
    where version = $version
    group by prompt_id
    """,
    """
    insert into generated_images (id, prompt_id, image_path, generation_metadata, adherence_score, evaluation_details,
        created_at)
    select image_id, prompt_id, image_id || '.png', json_object('seed', version * 100 + image, 'draw_key', image_id),
        steering, json_object('vision_model', $steering), timestamp '2026-11-01' + to_minutes(version)
    from drawn
    """,
    """
    insert into image_evaluations (id, image_id, prompt_id, scene_hash, vision_model, element_scores, soft_tifa_am,
        soft_tifa_gm, judge_key, created_at)
    select md5(image_id || judge)::uuid, image_id, prompt_id, sha256(study || '/' || scene), judge,
        json_object('object:0', score), score, score, 'key', timestamp '2026-11-01' + to_minutes(version)
    from (unpivot drawn on columns(* exclude (study, arm, scene, version, image, is_last, steering, prompt_id, parent_id,
        child_id, base_id, image_id)) into name judge value score)
    """,
    """
    insert into prompt_learnings (id, prompt_id, actions, created_at)
    select distinct md5(prompt_id || 'learning')::uuid, prompt_id,
        json_object('decision', if(is_last, 'confirm', 'rewrite'), 'child_prompt_id', child_id, 'base_prompt_id', base_id),
        timestamp '2026-11-01' + to_minutes(version) + interval 30 second
    from drawn
    where child_id is not null
    """,
)


def write_studies(store: Store, world: World, count: int, *, seed: int = 0) -> list[Study]:
    """Draw `count` studies of a world and write them into the store, as if they had been run; return their plans."""
    rng = np.random.default_rng(seed)
    plans = [world.plan(f"study-{seed}-{number}") for number in range(count)]
    drawn = pd.concat([_drawn(world, plan.name, rng) for plan in plans], ignore_index=True)
    with store.transaction() as con:
        con.register("given", drawn)
        con.execute(
            """
            create temp table drawn as
            select * exclude (parent, child, base),
                md5(concat_ws('/', study, arm, scene, version))::uuid as prompt_id,
                if(parent < 0, null, md5(concat_ws('/', study, arm, scene, parent))::uuid) as parent_id,
                if(child < 0, null, md5(concat_ws('/', study, arm, scene, child))::uuid) as child_id,
                md5(concat_ws('/', study, arm, scene, base))::uuid as base_id,
                md5(concat_ws('/', study, arm, scene, version, image))::uuid as image_id
            from given
            """
        )
        for statement in TABLES:
            if "$version" in statement:  # a parent before its children
                for version in sorted(drawn["version"].unique()):
                    con.execute(statement, {"version": int(version)})
            else:
                con.execute(statement, {"steering": STEERING} if "$steering" in statement else {})
        con.execute("drop table drawn")
    return plans


def _drawn(world: World, name: str, rng: np.random.Generator) -> pd.DataFrame:
    """Draw one study: a row per image, a column per judge; the steering one's scores are in `steering` as well."""
    quality = rng.uniform(*QUALITY, world.scenes)
    gains = rng.normal(world.effect, world.spread, world.scenes)
    frames = []
    for arm in world.arms:
        truth = quality + (gains if arm == world.arms[-1] else 0.0)
        # One version for `resample`, drawn again and again; several of the same worth for the others.
        versions, images = (1, world.versions * world.images) if arm == "resample" else (world.versions, world.images)
        choosing = _scores(world, truth, (versions, images), rng)
        chosen = choosing[STEERING].mean(axis=2).argmax(axis=1)
        confirming = _scores(world, truth, (1, world.images), rng)
        frames += [
            _rows(name, arm, choosing, chosen, versions),
            _rows(name, arm, confirming, chosen, versions, at=versions),
        ]
    return pd.concat(frames, ignore_index=True)


def _scores(world: World, truth: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return each judge's scores (scene, version, image) of pictures that deserve `truth` (scene,)."""
    size = (len(truth), *shape)
    deserved = truth[:, None, None] + rng.normal(0, world.luck, size)
    view = rng.normal(0, 1, size)
    found = {STEERING: deserved + OPINION * view}
    for judge in world.heldout:
        shared = FLATTERY if judge.startswith(FLATTERING) else 0.0
        own = np.sqrt(1 - shared**2) * rng.normal(0, 1, size)
        found[judge] = deserved + OPINION * (shared * view + own)
    return {judge: np.clip(scores, 0.02, 1.0) for judge, scores in found.items()}


def _rows(
    name: str, arm: str, scores: dict[str, np.ndarray], chosen: np.ndarray, versions: int, *, at: int = 0
) -> pd.DataFrame:
    """Return a row per image, its version `at` or later; the last one before `versions` is confirmed."""
    scene, version, image = (axis.ravel() for axis in np.indices(scores[STEERING].shape))
    version = version + at
    confirming = version >= versions
    return pd.DataFrame(
        {
            "study": name,
            "arm": arm,
            "scene": scene,
            "version": version,
            "image": image,
            "parent": np.where(confirming, chosen[scene], np.where(version > 0, 0, -1)),
            "child": np.where(confirming, -1, version + 1),
            "base": chosen[scene],
            "is_last": version == versions - 1,
            "steering": scores[STEERING].ravel(),
            **{judge: values.ravel() for judge, values in scores.items()},
        }
    )


def texts(count: int) -> list[str]:
    """Return so many different scenes, each a thing or two with a colour."""
    single = [f"a {color} {shape}" for shape in SHAPES for color in COLORS]
    double = [f"{one} and {other}" for one in single for other in single if one[-3:] != other[-3:]]
    return (single + double)[:count]


def run_real(store: Store, world: World, name: str = "real") -> Study:
    """Run one study of a null world through the real stages and policies; return its plan."""
    plan = replace(world.plan(name), target=1.0)
    run_study(store, pd.DataFrame({"text": texts(world.scenes), "category": "null"}), plan)
    return plan


@dataclass
class Generator:
    """Draws noise, another for another prompt or seed: no wording is better than another."""

    name: str = "null_world:Generator"

    def default_parameters(self) -> dict[str, Any]:
        return {"num_inference_steps": 4, "guidance_scale": 3.0}

    def describe(self) -> dict[str, Any]:
        return {"repo": "noise"}

    def fits(self, prompt: str) -> bool:
        return len(prompt.split()) <= 60

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        return [Drawing(self._noise(request), {"seed": request.seed}) for request in requests]

    def _noise(self, request: DrawRequest) -> Image.Image:
        told = crc32(f"{request.prompt} {request.seed} {sorted(request.parameters.items())}".encode())
        return Image.fromarray(np.random.default_rng(told).integers(0, 256, (4, 4), dtype=np.uint8))


@dataclass
class Judge:
    """Scores a picture by what its scene deserves, its luck, and a view of its own; shares `flattery` of one view."""

    name: str
    flattery: float = 0.0
    adhering_at: float = 0.5

    @property
    def judge_key(self) -> str:
        return f"key of {self.name}"

    def judge(self, images: Sequence[Image.Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        return [self._judgement(*pair) for pair in zip(images, scenes, strict=True)]

    def _judgement(self, image: Image.Image, scene: Scene) -> Judgement:
        picture = crc32(np.asarray(image.convert("L")).tobytes())
        quality = np.random.default_rng(crc32(scene.text.encode())).uniform(*QUALITY)
        luck, view = np.random.default_rng(picture).normal(0, 1, 2)  # the view is the steering judge's
        own = np.random.default_rng([picture, crc32(self.name.encode())]).normal()
        view = self.flattery * view + np.sqrt(1 - self.flattery**2) * own
        score = float(np.clip(quality + LUCK * luck + OPINION * view, 0.02, 1.0))
        return Judgement({e.key: score for e in list_elements(scene.elements)}, None, "noise")


def steering() -> Judge:
    """Return the judge that steers: what it sees in a picture besides its luck is the view that others may share."""
    return Judge(STEERING, flattery=1.0)


def watching() -> Judge:
    """Return a judge whose view is its own."""
    return Judge(WATCHING)


def flattering() -> Judge:
    """Return a judge that likes what the steering one likes."""
    return Judge(FLATTERING, flattery=FLATTERY)


def curve_gains(store: Store) -> pd.DataFrame:
    """Return what `trends.adherence` says was gained, per experiment and judge: its last point minus its first."""
    from forgekit import trends

    table = trends.adherence(store)
    axis = "round" if "round" in table.columns else "iteration"
    ends = table.sort_values(axis).groupby(["experiment", "vision_model"], sort=True)
    gains = ends["adherence"].last() - ends["adherence"].first()
    scenes = ends["scenes"].last()
    return pd.DataFrame({"gain": gains, "scenes": scenes, "steers": ends["steers"].first()}).reset_index()


def summary_gains(store: Store, study: Study) -> pd.Series:
    """Return the gain of each arm of a study as `batch.summary` tells it, by the judge that steers."""
    from forgekit.batch import summary
    from forgekit.plans import Execution, Plan

    plan = Plan(study.name, Path("none.ipynb"), tuple(Execution(arm, {}, {}) for arm in study.arms))
    return summary(store, plan, store.folder).set_index("execution")["gain"]
