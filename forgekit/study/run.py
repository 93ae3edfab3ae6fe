"""Running a study: block by block, round by round, resumable."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from forgekit.errors import ParameterError
from forgekit.progress import progress_bar
from forgekit.stages.completing import complete_prompts
from forgekit.stages.evaluating import evaluate_images
from forgekit.stages.generating import generate_images
from forgekit.stages.importing import import_prompts
from forgekit.stages.refining import refine_prompts
from forgekit.store import Store
from forgekit.study.plan import Study, check_plan, load_plan, read_scenes

log = logging.getLogger(__name__)

FRUITLESS_ROUNDS = 3  # after so many that changed nothing, what is open stays open: a model may fail by chance

PROGRESS = """
with arms as (
    select id, experiment, scene_hash, status
    from prompts
    where starts_with(experiment, $prefix)
)
select
    count(*) filter (status <> 'archived') as open,
    count(distinct experiment || scene_hash) - count(distinct experiment || scene_hash) filter (status <> 'archived')
        as closed,
    (select count(*) from generated_images where prompt_id in (select id from arms)) as images,
    (select count(*) from image_evaluations where error is null and prompt_id in (select id from arms)) as verdicts,
    (select count(*) from prompt_learnings where prompt_id in (select id from arms)) as learnings
from arms
"""


def study(
    store: Store,
    plan: str,
    *,
    out: str = "experiments",
    plan_only: bool = False,
    earlier: str | None = None,
    sd: float | None = None,
) -> Any:
    """Run the study that a TOML file plans, or go on with it where it was stopped, and write its result.

    The result is the folder `out`/<date it began>-<name>: README.md with tables and plots, and result.json.

    Args:
        plan: The TOML file; its keys are the fields of `forgekit.study.Study`.
        out: The folder that the folder of the result goes into.
        plan_only: Draw and write nothing; print how many images it will draw, and how many scenes it takes to show a
            gain of 0.05 with 80 % power.
        earlier: With plan_only, the result.json of an earlier study, or its folder, whose spread is to be expected;
            by default that of the studies in the store.
        sd: With plan_only, the standard deviation of the scenes' paired differences to expect.

    Raises:
        ParameterError: the plan, its scenes, arms, judges or comparisons cannot be used.
    """
    from forgekit.study.power import expect
    from forgekit.study.report import write_report
    from forgekit.study.results import results

    if not plan_only and (earlier is not None or sd is not None):
        raise ParameterError("earlier and sd are for plan_only: a study that is run measures its own spread")
    planned = load_plan(plan)
    scenes = read_scenes(planned)
    if plan_only:
        return expect(store, planned, len(scenes), earlier=earlier, sd=sd)
    run_study(store, scenes, planned)
    return write_report(store, planned, results(store, planned), Path(out))


def run_study(store: Store, scenes: pd.DataFrame, study: Study) -> None:
    """Run every arm on every scene; on a store where some of it is done, run the rest.

    Scenes come in blocks: all arms finish a block before the next begins, so that the arms are
    interleaved in time and what was learnt on one block can be used on the next. A prompt that
    cannot be drawn or judged is left open, and the others go on.

    Raises:
        ParameterError, UnknownModelError: see `check_plan`; nothing is written then.
    """
    check_plan(study)
    scenes = scenes.assign(parameters=[dict(study.parameters)] * len(scenes)) if study.parameters else scenes
    with progress_bar(f"study {study.name}", total=len(scenes) * len(study.arms), unit="scene") as bar:
        for start in range(0, len(scenes), study.scenes_per_block):
            block = scenes.iloc[start : start + study.scenes_per_block]
            for arm in study.arms:
                import_prompts(store, block, model=study.model, experiment=study.prefix + arm)
                complete_prompts(store, experiment=study.prefix + arm)
            _finish_block(store, study, bar)


def _finish_block(store: Store, study: Study, bar: tqdm) -> None:
    """Go round until every prompt is archived, or a few rounds in a row changed nothing."""
    before: dict[str, Any] = {}
    fruitless = 0
    while (now := _progress(store, study, bar))["open"]:
        fruitless = fruitless + 1 if now == before else 0
        if fruitless == FRUITLESS_ROUNDS:
            log.warning("study %s: %d prompts can be neither drawn nor judged; they stay open", study.name, now["open"])
            return
        before = now
        _round(store, study, bar)


def _progress(store: Store, study: Study, bar: tqdm) -> dict[str, Any]:
    """Return how far the study is, and move its bar there: it counts the scenes that each arm has closed."""
    now = store.rows(PROGRESS, prefix=study.prefix)[0]
    bar.update(now["closed"] - bar.n)
    return now


def _round(store: Store, study: Study, bar: tqdm) -> None:
    for arm in study.arms:
        drawn = generate_images(store, images_per_prompt=study.images_per_prompt, experiment=study.prefix + arm)
        if images := drawn.details.get("images"):
            bar.set_postfix_str(f"{images / drawn.seconds:.2f} images/s drawn")
        evaluate_images(store, vision_models=study.vision_models, experiment=study.prefix + arm)
        refine_prompts(
            store,
            policy=arm,
            experiment=study.prefix + arm,
            target=study.target,
            max_images=study.images_per_scene,
            max_iterations=study.images_per_scene // study.images_per_prompt - 1,
            patience=study.images_per_scene,
            confirm=True,
            without_actions=study.without_actions,
        )
