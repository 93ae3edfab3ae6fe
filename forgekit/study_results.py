"""What a study shows, as plain numbers: arms, differences with intervals, noise floor, transfer, curves, breakdowns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

from forgekit.metrics import Difference, paired_difference, transfer_ratio
from forgekit.scene import compare, parse
from forgekit.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from forgekit.store import Store

# The versions that confirm: the chosen text on seeds that had no part in choosing it. Their images are not counted.
CONFIRMING = """
confirming as (
    select cast(l.actions ->> '$.child_prompt_id' as uuid) as prompt_id
    from prompt_learnings l
    where l.actions ->> '$.decision' = 'confirm'
)
"""

CONFIRMED = f"""
with {CONFIRMING}
select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, steady_avg(s.soft_tifa_gm) as score
from confirming c
join prompts p on p.id = c.prompt_id
join image_scores s on s.prompt_id = p.id
where starts_with(p.experiment, $prefix)
group by all
order by all
"""

CONFIRMED_KINDS = f"""
with {CONFIRMING},
scenes_kinds as (
    select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, s.kind, steady_avg(s.score) as score
    from confirming c
    join prompts p on p.id = c.prompt_id
    join element_scores s on s.prompt_id = p.id
    where starts_with(p.experiment, $prefix) and s.score is not null
    group by all
)
select arm, vision_model, kind, count(*) as scenes, steady_avg(score) as score
from scenes_kinds
group by all
order by all
"""

# The first drawing of the first version in each arm: the same text on other seeds than those confirming `resample`.
FIRST = """
select p.experiment[length($prefix) + 1:] as arm, p.scene_hash, s.vision_model, steady_avg(s.soft_tifa_gm) as score
from prompts p
join image_scores s on s.prompt_id = p.id
join generated_images i on i.id = s.image_id
where starts_with(p.experiment, $prefix)
  and p.generation_iteration = 0
  and i.created_at <= (select min(l.created_at) from prompt_learnings l where l.prompt_id = p.id)
group by all
order by all
"""

# After n images of a scene, by each judge: the best image by the steering judge, and the best version by it.
CURVES = f"""
with {CONFIRMING},
images as (
    select
        p.experiment[length($prefix) + 1:] as arm,
        p.scene_hash,
        p.id as prompt_id,
        i.id,
        i.adherence_score,
        row_number() over (partition by p.experiment, p.scene_hash order by i.created_at, i.id) as n
    from generated_images i
    join prompts p on p.id = i.prompt_id
    where starts_with(p.experiment, $prefix)
      and i.adherence_score is not null
      and p.id not in (from confirming)
),
steps as (
    select arm, scene_hash, unnest(range(1, $budget + 1)) as n from (select distinct arm, scene_hash from images)
),
best as (
    select s.arm, s.scene_hash, s.n, arg_max(i.id, (i.adherence_score, i.id)) as image_id
    from steps s
    join images i on i.arm = s.arm and i.scene_hash = s.scene_hash and i.n <= s.n
    group by all
)
select b.arm, s.vision_model, b.n as images, steady_avg(s.soft_tifa_gm) as score
from best b
join image_scores s on s.image_id = b.image_id
group by all
order by all
"""

SPENT = f"""
with {CONFIRMING}
select
    p.experiment[length($prefix) + 1:] as arm,
    count(distinct p.scene_hash) as scenes,
    count(i.id) filter (p.id not in (from confirming)) as images,
    count(i.id) filter (p.id in (from confirming)) as confirming_images
from prompts p
join generated_images i on i.prompt_id = p.id
where starts_with(p.experiment, $prefix)
group by all
order by all
"""

COST = """
select
    count(*) as images,
    count(distinct i.generation_metadata ->> '$.draw_key') as drawn,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'generate') as drawing_s,
    (select sum(duration_ms) / 1000 from api_logs where stage = 'evaluate') as judging_s
from generated_images i
join prompts p on p.id = i.prompt_id
where starts_with(p.experiment, $prefix)
"""

PROMPTS = """
select p.prompt_text, s.elements
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where starts_with(p.experiment, $prefix) and p.generation_iteration > 0
"""

SCENES = """
select p.scene_hash, s.source ->> '$.category' as category, min(p.created_at) as taken_up
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where starts_with(p.experiment, $prefix)
group by all
order by taken_up, cast(min(coalesce(cast(s.source ->> '$.row' as integer), 0)) as integer), scene_hash
"""


def results(store: Store, study: Study) -> dict[str, Any]:
    """Return what a study shows so far.

    Keys: `study` (the plan), `arms` (scenes, images, mean score by judge), `differences` (per pair of arms and
    judge: mean, low, high, p, n; over all scenes and over the second half), `noise_floor` (the same texts on
    disjoint seeds), `transfer` (gain of the last arm over each other one: held-out over objective),
    `images_to_match_resample`, `best_image` (curves), `by_kind`, `by_category`, `by_block`, `cost`, and
    `unfaithful_prompts` (versions that lost or changed an element of their scene: must be 0). Scores are of
    the confirming images; a number that cannot be had is null.
    """
    scenes = store.df(SCENES, prefix=study.prefix)
    confirmed = _confirmed(store, study, scenes)
    half = list(scenes["scene_hash"][len(scenes) // 2 :])
    parts = {"all": confirmed, "second half": confirmed[confirmed.index.isin(half)]}
    curves = store.df(CURVES, prefix=study.prefix, budget=study.images_per_scene)
    return _plain(
        {
            "study": asdict(study),
            "arms": _arms(store, study, confirmed),
            "differences": [
                {"arm": arm, "against": other, "vision_model": judge, "scenes": part}
                | asdict(_compare(frame, arm, other, judge))
                for other, arm in combinations(study.arms, 2)
                for judge in study.vision_models
                for part, frame in parts.items()
            ],
            "noise_floor": _noise_floor(store, study, confirmed),
            "transfer": _transfer(study, confirmed),
            "images_to_match_resample": _images_to_match(curves, study),
            "best_image": curves.to_dict("records"),
            "by_kind": store.df(CONFIRMED_KINDS, prefix=study.prefix).to_dict("records"),
            "by_category": _means(confirmed, scenes.set_index("scene_hash")["category"], study),
            "by_block": _means(confirmed, _blocks(scenes, study), study),
            "cost": store.rows(COST, prefix=study.prefix)[0],
            "unfaithful_prompts": sum(
                bool(compare(row["elements"], parse(row["prompt_text"])))
                for row in store.rows(PROMPTS, prefix=study.prefix)
            ),
        }
    )


def _confirmed(store: Store, study: Study, scenes: pd.DataFrame) -> pd.DataFrame:
    """Return the confirmed scores: a row per scene in the order they were taken up, a column per (arm, judge)."""
    import pandas as pd

    table = store.df(CONFIRMED, prefix=study.prefix)
    columns = pd.MultiIndex.from_product([study.arms, study.vision_models], names=["arm", "vision_model"])
    wide = table.pivot(index="scene_hash", columns=["arm", "vision_model"], values="score").reindex(columns=columns)
    return wide.reindex([key for key in scenes["scene_hash"] if key in wide.index]).astype(float)


def _blocks(scenes: pd.DataFrame, study: Study) -> pd.Series:
    import pandas as pd

    return pd.Series([i // study.scenes_per_block + 1 for i in range(len(scenes))], index=scenes["scene_hash"])


def _means(confirmed: pd.DataFrame, groups: pd.Series, study: Study) -> list[dict[str, Any]]:
    """Return the mean score of each group of scenes, by arm and judge."""
    grouped = confirmed.groupby(groups.reindex(confirmed.index), sort=True)
    return [
        {
            "group": group,
            "arm": arm,
            "vision_model": judge,
            "scenes": len(part),
            "score": float(part[arm, judge].mean()),
        }
        for group, part in grouped
        for arm in study.arms
        for judge in study.vision_models
    ]


def _compare(confirmed: pd.DataFrame, arm: str, other: str, judge: str) -> Difference:
    return paired_difference(confirmed[arm, judge], confirmed[other, judge])


def _arms(store: Store, study: Study, confirmed: pd.DataFrame) -> list[dict[str, Any]]:
    spent = {row["arm"]: row for row in store.rows(SPENT, prefix=study.prefix)}
    none = {"scenes": 0, "images": 0, "confirming_images": 0}
    return [
        {
            **none,
            **spent.get(arm, {}),
            "arm": arm,
            "means": {judge: float(confirmed[arm, judge].mean()) for judge in study.vision_models},
        }
        for arm in study.arms
    ]


def _noise_floor(store: Store, study: Study, confirmed: pd.DataFrame) -> dict[str, Any]:
    """How far the same texts differ between two disjoint sets of seeds: first drawing against confirmation."""
    first = store.df(FIRST, prefix=study.prefix)
    first = first[first["arm"] == "resample"]
    return {
        judge: asdict(
            paired_difference(
                confirmed["resample", judge],
                first[first["vision_model"] == judge].set_index("scene_hash")["score"].reindex(confirmed.index),
            )
        )
        for judge in study.vision_models
        if "resample" in study.arms
    }


def _transfer(study: Study, confirmed: pd.DataFrame) -> list[dict[str, Any]]:
    steering, *watching = study.vision_models
    best = study.arms[-1]
    rows = []
    for other in study.arms[:-1]:
        objective = _compare(confirmed, best, other, steering)
        for judge in watching:
            heldout = _compare(confirmed, best, other, judge)
            warning = (
                None if heldout.low > 0 else "the held-out judge does not confirm the gain: its interval is not above 0"
            )
            ratio = transfer_ratio(objective, heldout)
            rows.append({"arm": best, "against": other, "heldout": judge, "ratio": ratio, "warning": warning})
    return rows


def _images_to_match(curves: pd.DataFrame, study: Study) -> dict[str, Mapping[str, int | None]]:
    """Per judge and arm: how many images it takes until the best one is as good as best-of-N with its whole budget."""
    matched: dict[str, dict[str, int | None]] = {}
    for judge, by_judge in curves.groupby("vision_model"):
        goal = by_judge.loc[by_judge["arm"] == "resample", "score"]
        if goal.empty:
            continue
        reached = by_judge[by_judge["score"] >= goal.iloc[-1] - 1e-9]
        first = reached.groupby("arm")["images"].min()
        matched[str(judge)] = {arm: int(first[arm]) if arm in first.index else None for arm in study.arms}
    return matched


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: lists and dicts of plain numbers, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
