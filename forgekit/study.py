"""A study: arms × scenes at an equal image budget, run block by block, resumable, with held-out judges watching."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.metrics import Difference, paired_difference, transfer_ratio
from forgekit.policies import load_policy
from forgekit.scene import compare, parse
from forgekit.stages.completing import complete_prompts
from forgekit.stages.evaluating import evaluate_images
from forgekit.stages.generating import generate_images
from forgekit.stages.importing import import_prompts
from forgekit.stages.refining import refine_prompts

if TYPE_CHECKING:
    import pandas as pd

    from forgekit.store import Store

log = logging.getLogger(__name__)

UNFINISHED = "select count(*) as n from prompts where starts_with(experiment, $prefix) and status <> 'archived'"

# The confirmed score of each scene in each arm, by each judge: images on seeds that had no part in choosing the prompt.
CONFIRMED = """
select
    p.experiment[length($prefix) + 1:] as arm,
    p.scene_hash,
    s.vision_model,
    avg(s.soft_tifa_gm) as score
from prompts p
join image_scores s on s.prompt_id = p.id
where starts_with(p.experiment, $prefix)
  and exists (
      from prompt_learnings l
      where l.actions ->> '$.decision' = 'confirm' and l.actions ->> '$.child_prompt_id' = cast(p.id as varchar)
  )
group by all
order by all
"""

# The first drawing of the first version in each arm: the same text on other seeds than the confirmed one of `resample`.
FIRST = """
select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, avg(s.soft_tifa_gm) as score
from prompts p
join image_scores s on s.prompt_id = p.id
join generated_images i on i.id = s.image_id
where starts_with(p.experiment, $prefix)
  and p.generation_iteration = 0
  and i.created_at <= (select min(l.created_at) from prompt_learnings l where l.prompt_id = p.id)
group by all
order by all
"""

# After n images of a scene: the best one by the steering judge, and what each judge says of it.
BEST_IMAGE = """
with images as (
    select
        p.experiment[length($prefix) + 1:] as arm,
        p.scene_hash,
        i.id,
        i.adherence_score,
        row_number() over (partition by p.experiment, p.scene_hash order by i.created_at, i.id) as n
    from generated_images i
    join prompts p on p.id = i.prompt_id
    where starts_with(p.experiment, $prefix)
      and i.adherence_score is not null
      and not exists (
          from prompt_learnings l
          where l.actions ->> '$.decision' = 'confirm'
            and l.actions ->> '$.child_prompt_id' = cast(p.id as varchar)
      )
),
steps as (
    select arm, scene_hash, unnest(range(1, $budget + 1)) as n from (select distinct arm, scene_hash from images)
),
best as (
    select s.arm, s.scene_hash, s.n, arg_max(i.id, i.adherence_score) as image_id
    from steps s
    join images i on i.arm = s.arm and i.scene_hash = s.scene_hash and i.n <= s.n
    group by all
)
select b.arm, s.vision_model, b.n as images, avg(s.soft_tifa_gm) as score
from best b
join image_scores s on s.image_id = b.image_id
group by all
order by all
"""

SPENT = """
select p.experiment[length($prefix) + 1:] as arm, count(distinct p.scene_hash) as scenes, count(i.id) as images
from prompts p
join generated_images i on i.prompt_id = p.id
where starts_with(p.experiment, $prefix)
group by all
order by all
"""

PROMPTS = """
select p.prompt_text, s.elements
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where starts_with(p.experiment, $prefix) and p.generation_iteration > 0
"""


@dataclass(frozen=True)
class Study:
    """What is compared. `arms` are policies; the first vision model steers, the others are held out."""

    name: str
    arms: Sequence[str] = ("resample", "paraphrase", "refine-without-memory", "refine")
    model: str = "mini"
    vision_models: Sequence[str] = ("mini-clip", "mini-fuyu")
    images_per_prompt: int = 4
    images_per_scene: int = 24  # the budget of every arm, besides the confirming images
    scenes_per_block: int = 20  # memory carries over from block to block
    target: float = 0.95

    @property
    def prefix(self) -> str:
        """What the experiments of all arms begin with."""
        return f"{self.name}/"


def run_study(store: Store, scenes: pd.DataFrame, study: Study) -> None:
    """Run every arm on every scene; on a store where some of it is done, run the rest.

    Scenes come in blocks: all arms finish a block before the next begins, so that the arms are
    interleaved in time and what was learnt on one block can be used on the next.

    Raises:
        ParameterError: an unknown arm, fewer than two judges, or a budget that is no multiple of a version's images.
    """
    for arm in study.arms:
        load_policy(arm)
    if len(study.vision_models) < 2:
        raise ParameterError("a study needs a judge that steers and at least one that is held out")
    if study.images_per_scene % study.images_per_prompt:
        raise ParameterError(
            f"images_per_scene={study.images_per_scene} is no multiple of images_per_prompt={study.images_per_prompt}"
        )
    for start in range(0, len(scenes), study.scenes_per_block):
        block = scenes.iloc[start : start + study.scenes_per_block]
        for arm in study.arms:
            import_prompts(store, block, model=study.model, experiment=study.prefix + arm)
        complete_prompts(store)
        while store.rows(UNFINISHED, prefix=study.prefix)[0]["n"]:
            _round(store, study)
        log.info("study %s: %d of %d scenes done", study.name, start + len(block), len(scenes))


def _round(store: Store, study: Study) -> None:
    generate_images(store, images_per_prompt=study.images_per_prompt)
    evaluate_images(store, vision_models=study.vision_models)
    for arm in study.arms:
        refine_prompts(
            store,
            policy=arm,
            experiment=study.prefix + arm,
            target=study.target,
            max_images=study.images_per_scene,
            max_iterations=study.images_per_scene // study.images_per_prompt - 1,
            patience=study.images_per_scene,
            confirm=True,
        )


def results(store: Store, study: Study) -> dict[str, Any]:
    """Return what a finished study shows, as plain numbers.

    Keys: `arms` (scenes, images, mean score by judge), `differences` (per pair of arms and judge: mean, low, high,
    p, n; over all scenes and over the second half), `noise_floor` (the same texts on disjoint seeds), `transfer`
    (gain of the last arm over each other one: held-out over objective), `images_to_match_resample`, `best_image`,
    `unfaithful_prompts` (versions that lost or changed an element of their scene: must be 0).
    """
    confirmed = store.df(CONFIRMED, prefix=study.prefix).pivot(
        index="scene_hash", columns=["arm", "vision_model"], values="score"
    )
    ordered = store.rows(
        "select distinct scene_hash, min(created_at) as t from prompts where starts_with(experiment, $prefix) "
        "group by all order by t, scene_hash",
        prefix=study.prefix,
    )
    second_half = [row["scene_hash"] for row in ordered[len(ordered) // 2 :]]
    differences = [
        {
            "arm": arm,
            "against": other,
            "vision_model": judge,
            "scenes": part,
            **asdict(
                _compare(
                    confirmed.loc[confirmed.index.isin(second_half)] if part == "second half" else confirmed,
                    arm,
                    other,
                    judge,
                )
            ),
        }
        for other, arm in combinations(study.arms, 2)
        for judge in study.vision_models
        for part in ("all", "second half")
    ]
    curves = store.df(BEST_IMAGE, prefix=study.prefix, budget=study.images_per_scene)
    return {
        "study": asdict(study),
        "arms": _arms(store, study, confirmed),
        "differences": differences,
        "noise_floor": _noise_floor(store, study, confirmed),
        "transfer": _transfer(study, confirmed),
        "images_to_match_resample": _images_to_match(curves, study),
        "best_image": curves.to_dict("records"),
        "unfaithful_prompts": sum(
            bool(compare(row["elements"], parse(row["prompt_text"])))
            for row in store.rows(PROMPTS, prefix=study.prefix)
        ),
    }


def _compare(confirmed: pd.DataFrame, arm: str, other: str, judge: str) -> Difference:
    return paired_difference(confirmed[arm, judge], confirmed[other, judge])


def _arms(store: Store, study: Study, confirmed: pd.DataFrame) -> list[dict[str, Any]]:
    spent = {row["arm"]: row for row in store.rows(SPENT, prefix=study.prefix)}
    return [
        {
            "arm": arm,
            "scenes": spent[arm]["scenes"],
            "images": spent[arm]["images"],
            "means": {judge: float(confirmed[arm, judge].mean()) for judge in study.vision_models},
        }
        for arm in study.arms
    ]


def _noise_floor(store: Store, study: Study, confirmed: pd.DataFrame) -> dict[str, Any]:
    """How far the same texts differ between two disjoint sets of seeds: first drawing against confirmation."""
    if "resample" not in study.arms:
        return {}
    first = store.df(FIRST, prefix=study.prefix).pivot(
        index="scene_hash", columns=["arm", "vision_model"], values="score"
    )
    aligned = first.reindex(confirmed.index)
    return {
        judge: asdict(paired_difference(confirmed["resample", judge], aligned["resample", judge]))
        for judge in study.vision_models
    }


def _transfer(study: Study, confirmed: pd.DataFrame) -> list[dict[str, Any]]:
    steering, *watching = study.vision_models
    best = study.arms[-1]
    rows = []
    for other in study.arms[:-1]:
        objective = _compare(confirmed, best, other, steering)
        for judge in watching:
            heldout = _compare(confirmed, best, other, judge)
            covers_zero = heldout.low <= 0 <= heldout.high
            rows.append(
                {
                    "arm": best,
                    "against": other,
                    "heldout": judge,
                    "ratio": transfer_ratio(objective, heldout),
                    "warning": "the held-out judge does not confirm the gain: its interval covers 0"
                    if covers_zero
                    else None,
                }
            )
    return rows


def _images_to_match(curves: pd.DataFrame, study: Study) -> dict[str, Mapping[str, int | None]]:
    """Per judge and arm: how many images it takes to reach what best-of-N reaches with its whole budget."""
    matched: dict[str, dict[str, int | None]] = {}
    for judge, by_judge in curves.groupby("vision_model"):
        goal = by_judge.loc[(by_judge["arm"] == "resample"), "score"]
        if goal.empty:
            continue
        reached = by_judge[by_judge["score"] >= goal.iloc[-1]]
        first = reached.groupby("arm")["images"].min()
        matched[judge] = {arm: int(first[arm]) if arm in first.index else None for arm in study.arms}
    return matched
