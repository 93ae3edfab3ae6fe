"""What a study shows, as plain numbers: primary comparisons first, all else exploratory, n with everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations, product
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from forgekit.metrics import Difference, holm, paired_difference, transfer_ratio
from forgekit.models import known_models
from forgekit.models.roles import world_of
from forgekit.scene import default_lexicon, why_refused
from forgekit.store import Store
from forgekit.study import queries
from forgekit.study.plan import Comparison, Study

LEVEL = 0.05
# What is told besides the differences. None of it was named before the study ran, so none of it is "shown".
EXPLORATORY = (
    "noise_floor",
    "transfer",
    "images_to_match_resample",
    "best_image",
    "by_kind",
    "by_category",
    "by_block",
)


def results(store: Store, study: Study) -> dict[str, Any]:
    """Return what a study shows so far. Scores are of the confirming images; a number that cannot be had is null.

    Keys: `study` (the plan, its primary comparisons spelt out), `arms` (scenes, finished scenes, images, missing
    images, mean score by judge), `differences` (per pair of arms and judge, over all scenes and over the second half:
    mean, low, high, p, n, sd, scenes left out, and its `role`: primary ones have `p_holm` and `shown`),
    `noise_floor` (the same texts on disjoint seeds), `transfer` (gain of the last arm over each other one: held-out
    over objective), `images_to_match_resample`, `best_image` (curves), `by_kind`, `by_category`, `by_block`,
    `exploratory` (which of these keys are), `cost`, and `unfaithful_prompts` (versions that lost or changed an
    element of their scene: must be 0).
    """
    scenes = store.df(queries.SCENES, prefix=study.prefix)
    scores = confirmed(store, study, scenes)
    curves = store.df(queries.CURVES, prefix=study.prefix, budget=study.images_per_scene)
    return _plain(
        {
            "study": asdict(study) | {"primary": [asdict(each) for each in study.comparisons]},
            "arms": _arms(store, study, scores),
            "differences": _differences(study, scores),
            "noise_floor": _noise_floor(store, study, scores),
            "transfer": _transfer(study, scores),
            "images_to_match_resample": _images_to_match(curves, study),
            "best_image": curves.to_dict("records"),
            "by_kind": store.rows(queries.CONFIRMED_KINDS, prefix=study.prefix),
            "by_category": _means(scores, scenes["category"].to_numpy()),
            "by_block": _means(scores, [i // study.scenes_per_block + 1 for i in range(len(scenes))]),
            "exploratory": list(EXPLORATORY),
            "cost": store.rows(queries.COST, prefix=study.prefix)[0],
            "unfaithful_prompts": _unfaithful(store, study),
        }
    )


def _unfaithful(store: Store, study: Study) -> int:
    """Count the versions that lost, changed or added an element, by the words of the generator's world."""
    generator = known_models("image_generator").get(study.model)  # nothing is loaded: another one knows any scene
    lexicon = default_lexicon().in_world(world_of(generator) if generator else "")
    return sum(
        row["versions"]
        for row in store.rows(queries.PROMPTS, prefix=study.prefix)
        if why_refused(row["scene_text"], row["prompt_text"], lexicon=lexicon)
    )


def is_shown(row: Mapping[str, Any]) -> bool:
    """Whether a primary comparison holds: its interval is above 0 and its p, corrected by Holm, below 0.05."""
    return row["low"] is not None and row["low"] > 0 and row["p_holm"] is not None and row["p_holm"] < LEVEL


def confirmed(store: Store, study: Study, scenes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the confirmed scores: a row per scene in the order they were taken up, a column per (arm, judge).

    A scene that an arm has not finished, or whose confirming images a judge has not all scored, is NaN there.
    """
    scenes = store.df(queries.SCENES, prefix=study.prefix) if scenes is None else scenes
    table = store.df(queries.CONFIRMED, prefix=study.prefix, images=study.images_per_prompt)
    columns = pd.MultiIndex.from_product([study.arms, study.vision_models], names=["arm", "vision_model"])
    wide = table.pivot(index="scene_hash", columns=["arm", "vision_model"], values="score").reindex(columns=columns)
    return wide.reindex(scenes["scene_hash"]).astype(float)


def parts_of(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the parts of the scenes that are compared, by name."""
    return {"all": scores, "second half": scores.iloc[len(scores) // 2 :]}


def _differences(study: Study, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return every pair of arms by every judge on every part, the primary ones first and corrected together."""
    primary, parts = study.comparisons, parts_of(scores)
    claimed = {(frozenset((c.arm, c.against)), c.vision_model, c.scenes) for c in primary}
    others = [
        Comparison(arm, other, judge, part)
        for (other, arm), judge, part in product(combinations(study.arms, 2), study.vision_models, parts)
        if (frozenset((arm, other)), judge, part) not in claimed
    ]
    rows = []
    for each in (*primary, *others):
        found = _compare(parts[each.scenes], each)
        told = {"left_out": len(parts[each.scenes]) - found.n, "role": "exploratory", "p_holm": None, "shown": None}
        rows.append(asdict(each) | asdict(found) | told)
    corrected = holm([row["p"] for row in rows[: len(primary)]])
    for row, p_holm in zip(rows, corrected, strict=False):
        row |= {"role": "primary", "p_holm": float(p_holm)}
        row["shown"] = is_shown(row)
    return rows


def _compare(scores: pd.DataFrame, each: Comparison) -> Difference:
    return paired_difference(scores[each.arm, each.vision_model], scores[each.against, each.vision_model])


def _means(scores: pd.DataFrame, groups: ArrayLike) -> list[dict[str, Any]]:
    """Return the mean score of each group of scenes, by arm and judge; `scenes` is how many have one."""
    told = scores.groupby(groups, sort=True).agg(["count", "mean"]).rename_axis("group")
    table = told.stack([0, 1], future_stack=True).rename(columns={"count": "scenes", "mean": "score"})
    return table.reset_index().to_dict("records")


def _arms(store: Store, study: Study, scores: pd.DataFrame) -> list[dict[str, Any]]:
    counted = {row["arm"]: row for row in store.rows(queries.ARMS, prefix=study.prefix, images=study.images_per_prompt)}
    none = dict.fromkeys(("scenes", "images", "confirming_images", "missing_images"), 0)
    return [
        {
            **counted.get(arm, none),
            "arm": arm,
            "finished": scores[arm].notna().all(axis=1).sum(),
            "means": {judge: scores[arm, judge].mean() for judge in study.vision_models},
        }
        for arm in study.arms
    ]


def _noise_floor(store: Store, study: Study, scores: pd.DataFrame) -> dict[str, Any]:
    """How far the same texts differ between two disjoint sets of seeds: first drawing against confirmation."""
    if "resample" not in study.arms:
        return {}
    drawn = store.df(queries.FIRST, prefix=study.prefix).pivot(
        index="scene_hash", columns="vision_model", values="score"
    )
    first = drawn.reindex(index=scores.index, columns=study.vision_models)
    return {judge: asdict(paired_difference(scores["resample", judge], first[judge])) for judge in study.vision_models}


def _transfer(study: Study, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """How much of the last arm's gain on the steering judge the held-out ones see; null, and why, without a gain."""
    (*others, best), (steering, *watching) = study.arms, study.vision_models
    rows = []
    for other in others:
        objective = _compare(scores, Comparison(best, other, steering))
        for judge in watching:
            heldout = _compare(scores, Comparison(best, other, judge))
            ratio, warning = transfer_ratio(objective, heldout), None
            if ratio is None:
                warning = f"no ratio: the interval of the gain on {steering}, which steers, is not above 0"
            elif not heldout.low > 0:
                warning = "the held-out judge does not confirm the gain: its interval is not above 0"
            told = {"arm": best, "against": other, "heldout": judge, "n": heldout.n}
            rows.append(told | {"ratio": ratio, "warning": warning})
    return rows


def _images_to_match(curves: pd.DataFrame, study: Study) -> dict[str, Mapping[str, int | None]]:
    """Per judge and arm: how many images it takes until the best one is as good as best-of-N with its whole budget."""
    matched: dict[str, Mapping[str, int | None]] = {}
    for judge, by_judge in curves.groupby("vision_model"):
        goal = by_judge.loc[by_judge["arm"] == "resample", "score"]
        if len(goal):
            reached = by_judge[by_judge["score"] >= goal.iloc[-1] - 1e-9].groupby("arm")["images"].min()
            matched[judge] = {arm: reached.get(arm) for arm in study.arms}
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
