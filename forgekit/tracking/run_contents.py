"""What MLflow is to show of the store: one `Run` per (prompt version, vision model), as plain values.

Nothing here talks to MLflow. The same store gives the same runs, so a mirror can be compared and rebuilt.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any

from forgekit.ids import content_hash, content_id
from forgekit.store import Store
from forgekit.tracking.run import (
    NOTE_LIMIT,
    SCENE_LIMIT,
    SOURCE,
    Run,
    Study,
    about_is,
    as_text,
    measured,
    role,
    runs_link,
    safe_key,
    shorten,
)
from forgekit.trends.elements import missing_phrases, scene_phrases

FORMAT = 5  # raise it when runs change their form: they are then written again
TABLES = ("images.json", "evaluations.json")
STRIP_FILE, SCORES_FILE = "strip.webp", "scores.png"  # what the run's description shows
PARAM_LIMIT = 6_000  # characters; MLflow refuses a longer one

MARKED = "from current_scores join judge_marks using (experiment, vision_model, judge_key)"

# One row per run there should be. `content` differs whenever anything that the run shows has changed: the parent's
# scores are in it because the run shows the change from them.
DUE = f"""
with drawn as (
    select prompt_id, count(*) as images from generated_images group by prompt_id
),
scores as ({MARKED})
select
    split_part(s.experiment, '/', 1) as study,
    s.experiment,
    p.model as generator,
    s.prompt_id, s.vision_model, s.steers,
    epoch_ms(p.created_at) as start_ms,
    epoch_ms(s.judged_at) as end_ms,
    md5(concat_ws(
        '|', $format, p.prompt_text, p.base_parameters, p.parent_prompt_id, s.judge_key, s.pass_mark, s.steers, s.mean_score,
        s.judged_at, d.images, parent.mean_score, parent.images
    )) as content
from scores s
join prompts p on p.id = s.prompt_id
join drawn d on d.prompt_id = s.prompt_id
left join scores parent
    on parent.prompt_id = p.parent_prompt_id
    and parent.vision_model = s.vision_model
    and parent.judge_key = s.judge_key
order by s.experiment, p.generation_iteration, p.created_at, p.id, s.vision_model
"""

# Pictures from outside may have no seed that is known: each has its place among those of its version instead.
SEED = "coalesce(g.generation_metadata ->> '$.seed', 'picture ' || g.image_index)"

# One row per image of the runs that are asked for, with what is known of its version. `step` numbers the seeds of a
# scene in the order in which they were first drawn, so that a step is the same seed in all versions, and stays it when
# more seeds are drawn.
IMAGES = f"""
with wanted as (
    select s.*
    from ({MARKED}) s
    join (select unnest($prompt_ids::uuid[]) as prompt_id, unnest($vision_models::varchar[]) as vision_model)
        using (prompt_id, vision_model)
),
seeds as (
    select
        p.experiment, p.scene_hash,
        {SEED} as seed,
        row_number() over (
            partition by p.experiment, p.scene_hash
            order by min(g.created_at), try_cast(seed as bigint), seed
        ) - 1 as step
    from generated_images g
    join prompts p on p.id = g.prompt_id
    where p.scene_hash in (select scene_hash from wanted)
    group by p.experiment, p.scene_hash, seed
),
best as (
    select experiment, model, scene_hash, best_version(current_score) as best_prompt_id
    from (select *, id as prompt_id from prompts)
    where scene_hash in (select scene_hash from wanted)
      and id not in (from confirming_versions)
    group by all
)
select
    w.*, p.prompt_text, p.base_parameters, p.current_score, b.best_prompt_id, t.scene_text, c.change,
    cast(g.id as varchar) as id,
    g.image_path as path,
    g.round, d.seed, d.step,
    x.soft_tifa_gm as score,
    x.soft_tifa_am as arithmetic_mean,
    try_cast(e.adherence_analysis ->> '$.text_match_score' as double) as text_match,
    e.model_output ->> '$.description' as description,
    e.element_scores,
    e.model_output -> '$.metrics' as measures,
    e.error
from wanted w
join prompts p on p.id = w.prompt_id
join scenes t on t.scene_hash = w.scene_hash
join generated_images g on g.prompt_id = w.prompt_id
join seeds d
    on d.experiment = w.experiment
    and d.scene_hash = w.scene_hash
    and d.seed = {SEED}
left join best b
    on b.experiment = w.experiment
    and b.model = w.model
    and b.scene_hash = w.scene_hash
left join version_changes c
    on c.prompt_id = w.prompt_id
    and c.vision_model = w.vision_model
    and c.judge_key = w.judge_key
left join image_evaluations e
    on e.image_id = g.id
    and e.vision_model = w.vision_model
    and e.judge_key = w.judge_key
left join image_scores x on x.evaluation_id = e.id
order by p.generation_iteration, p.created_at, p.id, w.vision_model, d.step, g.id
"""


@dataclass(frozen=True)
class Due:
    """A run that MLflow should have, in the MLflow experiment `study`: "colours/refine" is an arm of "colours"."""

    study: Study
    experiment: str
    generator: str
    prompt_id: str
    vision_model: str
    steers: bool
    start_ms: int  # since 1970, as `end_ms`
    end_ms: int
    content: str

    @property
    def identity(self) -> str:
        """Return the id that the run carries for ever, whatever MLflow calls it."""
        return content_id("mlflow run", prompt=self.prompt_id, vision_model=self.vision_model)


def due_runs(store: Store) -> list[Due]:
    """Return the runs that there should be, parent versions before their children."""
    rows = store.rows(DUE, format=FORMAT)
    studies = {}
    for name in dict.fromkeys(row["study"] for row in rows):
        own = [row for row in rows if row["study"] == name]
        names = (tuple(sorted({row[key] for row in own})) for key in ("experiment", "generator", "vision_model"))
        studies[name] = Study(name, *names)
    due = []
    for row in rows:
        study = studies[row["study"]]  # what it has several of, and the judge's short name, are shown by each run too
        shown = [study.differing(row["experiment"], row["generator"]), study.judge(row["vision_model"])]
        due.append(Due(**{**row, "study": study, "content": content_hash([row["content"], *shown])}))
    return due


def read_runs(store: Store, due: Sequence[Due]) -> Iterator[Run]:
    """Yield the runs of `due` as the store has them now."""
    by_key = {(run.prompt_id, run.vision_model): run for run in due}
    prompt_ids, vision_models = [run.prompt_id for run in due], [run.vision_model for run in due]
    rows = store.rows(IMAGES, prompt_ids=prompt_ids, vision_models=vision_models)
    phrases = scene_phrases(store, {row["scene_hash"] for row in rows})
    for row in rows:
        row["failed"] = missing_phrases(row["element_scores"], row["pass_mark"], phrases[row["scene_hash"]])
    for key, images in groupby(rows, key=itemgetter("prompt_id", "vision_model")):
        yield _run(list(images), by_key[key])


def _run(images: list[dict[str, Any]], due: Due) -> Run:
    row, study = images[0], due.study  # what is said of the version is the same in all
    scene, version = " ".join(row["scene_text"].split()), str(row["generation_iteration"])
    rounds = [image["round"] for image in images if image["round"] is not None]
    tags = {
        "kind": "version",
        "vision_model": due.vision_model,
        "role": role(due.steers),
        "prompt_version": version,
        "scene": shorten(scene, SCENE_LIMIT),
        **({"round": str(min(rounds))} if rounds else {}),
        **study.differing(due.experiment, due.generator),
        **SOURCE,
        "mlflow.loggedImages": "True",
        "mlflow.loggedArtifacts": json.dumps([{"path": table, "type": "table"} for table in TABLES]),
    }
    told = ("prompt_id", "parent_prompt_id", "scene_hash", "judge_key", "pass_mark")
    about = {"identity": due.identity, "content": due.content, **{name: row[name] for name in told}}
    draw = sorted(row["base_parameters"].items())
    params = {
        "vision_model": due.vision_model,
        "prompt_version": version,
        "generator": due.generator,
        "experiment": due.experiment,
        **{safe_key(f"draw.{name}"): shorten(str(value), PARAM_LIMIT) for name, value in draw},
    }
    arm = study.label(due.experiment, due.generator)
    name = " · ".join([f"v{version}", study.judge(due.vision_model), *arm, shorten(scene, 60)])
    return Run(name, tags, about, params, _metrics(images), _note(row), due.start_ms, due.end_ms, images)


def _metrics(images: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    row = images[0]
    scores = [image["score"] for image in images if image["score"] is not None]
    guarded = [] if scores else [i["measures"] for i in images if i["measures"] and not i["error"]]  # by a guard-rail
    elements = [pair for image in images for pair in (image["element_scores"] or {}).items()]
    return measured(
        {
            "score/mean": row["mean_score"],
            "score/min": row["min_score"],
            "score/max": row["max_score"],
            "score/std": row["std_score"],
            "score/arithmetic_mean": row["mean_am"],
            "score/change_from_parent": row["change"],
            "images/drawn": len(images),
            "images/without_verdict": len(images) - len(scores or guarded),
            **_means((f"element/{key.partition(':')[0]}", score) for key, score in elements),  # "kind:number"
            **_means((f"measure/{name}", value) for measures in guarded for name, value in measures.items()),
        }
    )


def _means(told: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Return the mean under each name of what is known."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in told:
        if value is not None:
            values[name].append(value)
    return {name: fmean(of_name) for name, of_name in sorted(values.items())}


def _note(row: dict[str, Any]) -> str:
    """Return the description that the run's page shows, with links to the runs of its parent and of its scene."""
    prompt, scene = (as_text(row[text], NOTE_LIMIT // 4) for text in ("prompt_text", "scene_text"))
    links = [runs_link("All versions of the scene", about_is("scene_hash", row["scene_hash"]))]
    if row["parent_prompt_id"]:
        links.insert(0, runs_link("Runs of the parent version", about_is("prompt_id", row["parent_prompt_id"])))
    texts = f"**Prompt** {prompt}\n\n**Scene** {scene}"
    return "\n\n".join([f"![]({STRIP_FILE})", texts, " · ".join(links), f"![]({SCORES_FILE})"])
