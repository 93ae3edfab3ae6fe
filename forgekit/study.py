"""A study: arms × scenes at an equal image budget, run block by block, resumable, with held-out judges watching."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from forgekit.errors import ParameterError, did_you_mean
from forgekit.models import load_model
from forgekit.names import check_name
from forgekit.plans import check_study_plan
from forgekit.policies import load_policy
from forgekit.sources import read_chunks
from forgekit.stages.completing import complete_prompts
from forgekit.stages.evaluating import evaluate_images
from forgekit.stages.generating import generate_images
from forgekit.stages.importing import import_prompts
from forgekit.stages.refining import refine_prompts

if TYPE_CHECKING:
    import pandas as pd

    from forgekit.store import Store

log = logging.getLogger(__name__)

PROGRESS = """
select
    count(*) filter (status <> 'archived') as open,
    count(distinct experiment || scene_hash) filter (status <> 'archived') as open_scenes,
    (select count(*) from generated_images) as images,
    (select count(*) from image_evaluations where error is null) as verdicts,
    (select count(*) from prompt_learnings) as learnings
from prompts
where starts_with(experiment, $prefix)
"""


@dataclass(frozen=True)
class Study:
    """What is compared. `arms` are policies; the first vision model steers, the others are held out."""

    name: str
    question: str = "Does refinement make prompts better than its controls do at the same number of images?"
    prompts: str = "data/prompts/study.csv"  # the scenes, in the order in which they are taken up
    scenes: int | None = None  # how many of them, from the top; None is all
    arms: Sequence[str] = ("resample", "paraphrase", "refine-without-memory", "refine")
    model: str = "mini"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of every drawing, such as num_inference_steps
    vision_models: Sequence[str] = ("mini-owl", "mini-clip")
    images_per_prompt: int = 4
    images_per_scene: int = 24  # the budget of every arm, besides the confirming images
    scenes_per_block: int = 20  # memory carries over from block to block
    target: float = 0.95
    without_actions: Sequence[str] = ("more_steps",)  # an image of theirs costs more than one of the controls

    @property
    def prefix(self) -> str:
        """What the experiments of all arms begin with."""
        return f"{self.name}/"


def load_plan(path: str | Path) -> Study:
    """Read a study from a TOML file whose keys are the fields of `Study`; `name` is the file's where it has none.

    Raises:
        ParameterError: no such file, no TOML, or a key that no study has.
    """
    try:
        table = tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"study {str(path)!r} cannot be read: {error}. It is a TOML file; see docs/refinement.md"
        ) from error
    known = [each.name for each in fields(Study)]
    for key in table:
        if key not in known:
            raise ParameterError(f"{path}: a study has no {key!r}.{did_you_mean(key, known)} Known: {', '.join(known)}")
    check_study_plan(Path(path), table)
    return Study(**{"name": Path(path).stem, **table})


def study(store: Store, plan: str, *, out: str = "experiments") -> Any:
    """Run the study that a TOML file plans, and write its result; called again, it goes on where it was stopped.

    The result is the folder `out`/<date it began>-<name>: README.md with tables and plots, and result.json.

    Raises:
        ParameterError: the plan, its scenes, arms or judges cannot be used.
    """
    from forgekit.study_report import write_report
    from forgekit.study_results import results

    planned = load_plan(plan)
    run_study(store, read_scenes(planned), planned)
    return write_report(store, planned, results(store, planned), Path(out))


def read_scenes(plan: Study) -> pd.DataFrame:
    """Return the study's scenes: text and category, as many as it wants.

    Raises:
        SourceError: the file of scenes cannot be read.
        ParameterError: it has fewer scenes than the study wants.
    """
    import pandas as pd

    frame = pd.concat([chunk.frame for chunk in read_chunks(plan.prompts)], ignore_index=True)
    if plan.scenes is not None and plan.scenes > len(frame):
        raise ParameterError(f"{plan.prompts} has {len(frame)} scenes, fewer than scenes={plan.scenes}")
    return frame.head(plan.scenes) if plan.scenes is not None else frame


def run_study(store: Store, scenes: pd.DataFrame, study: Study) -> None:
    """Run every arm on every scene; on a store where some of it is done, run the rest.

    Scenes come in blocks: all arms finish a block before the next begins, so that the arms are
    interleaved in time and what was learnt on one block can be used on the next. A prompt that
    cannot be drawn or judged is left open, and the others go on.

    Raises:
        ParameterError: an unknown arm, fewer than two judges, or a budget that is no multiple of a version's images.
        UnknownModelError: a generator or judge that nobody knows.
    """
    _check(study)
    scenes = scenes.assign(parameters=[dict(study.parameters)] * len(scenes)) if study.parameters else scenes
    with tqdm(total=len(scenes), desc=f"study {study.name}", unit="scene", mininterval=5) as bar:
        for start in range(0, len(scenes), study.scenes_per_block):
            block = scenes.iloc[start : start + study.scenes_per_block]
            for arm in study.arms:
                import_prompts(store, block, model=study.model, experiment=study.prefix + arm)
                complete_prompts(store, experiment=study.prefix + arm)
            _finish_block(store, study, bar)
            bar.update(len(block))


def _check(study: Study) -> None:
    for arm in study.arms:
        check_name("the experiment", study.prefix + arm)
        load_policy(arm, without=study.without_actions)
    load_model("image_generator", study.model)
    for judge in study.vision_models:
        load_model("vision_model", judge)
    if len(study.vision_models) < 2:
        raise ParameterError("a study needs a judge that steers and at least one that is held out")
    if min(study.images_per_prompt, study.images_per_scene, study.scenes_per_block) < 1:
        raise ParameterError("images_per_prompt, images_per_scene and scenes_per_block must be 1 or more")
    if study.images_per_scene % study.images_per_prompt:
        raise ParameterError(
            f"images_per_scene={study.images_per_scene} is no multiple of images_per_prompt={study.images_per_prompt}"
        )


def _finish_block(store: Store, study: Study, bar: tqdm) -> None:
    """Go round until every prompt is archived, or a round changes nothing."""
    before: dict[str, Any] = {}
    while (now := store.rows(PROGRESS, prefix=study.prefix)[0])["open"]:
        if now == before:
            log.warning("study %s: %d prompts can be neither drawn nor judged; they stay open", study.name, now["open"])
            return
        bar.set_postfix(open=now["open_scenes"], images=now["images"], verdicts=now["verdicts"])
        before = now
        _round(store, study)


def _round(store: Store, study: Study) -> None:
    for arm in study.arms:
        generate_images(store, images_per_prompt=study.images_per_prompt, experiment=study.prefix + arm)
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
