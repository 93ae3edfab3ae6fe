"""What MLflow is to show of the store: one `Run` per (prompt version, vision model), as plain values.

Nothing here talks to MLflow. The same store gives the same runs, so a mirror can be compared and rebuilt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from forgekit.ids import content_id
from forgekit.store import Store
from forgekit.trends.phrases import missing_phrases, scene_phrases

FORMAT = 3  # raise it when runs change their form: they are then written again
QUANTILES = range(0, 101, 10)
BINS = 20
TABLES = ("images.json", "evaluations.json")
NOTE_LIMIT, PARAM_LIMIT = 7_500, 6_000  # characters; MLflow refuses a tag above 8,000 and a param above 6,000

MARKED = "from current_scores join judge_marks using (experiment, vision_model, judge_key)"

# One row per run there should be. `content` differs whenever anything that the run shows has changed: the parent's
# scores are in it because the run shows the change from them.
DUE = f"""
with drawn as (
    select prompt_id, count(*) as images from generated_images group by prompt_id
),
scores as ({MARKED})
select
    s.experiment,
    cast(s.prompt_id as varchar) as prompt_id,
    s.vision_model,
    md5(concat_ws(
        '|',
        $format,
        p.prompt_text,
        p.base_parameters,
        p.parent_prompt_id,
        s.judge_key,
        s.pass_mark,
        s.mean_score,
        s.judged_at,
        d.images,
        parent.mean_score,
        parent.images
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

# `step` numbers the seeds of a scene in the order in which they were first drawn, so that a step is the same seed in
# all versions, and stays it when more seeds are drawn.
RUNS = f"""
with wanted as (
    select unnest($prompt_ids::uuid[]) as prompt_id, unnest($vision_models::varchar[]) as vision_model
),
scores as (
    select s.*, e.scene_text
    from ({MARKED}) s
    join wanted w using (prompt_id, vision_model)
    join scenes e using (scene_hash)
),
seeds as (
    select
        experiment,
        scene_hash,
        seed,
        row_number() over (
            partition by experiment, scene_hash
            order by first_drawn, try_cast(seed as bigint), seed
        ) - 1 as step
    from (
        select p.experiment, p.scene_hash, g.generation_metadata ->> '$.seed' as seed, min(g.created_at) as first_drawn
        from generated_images g
        join prompts p on p.id = g.prompt_id
        where p.scene_hash in (select scene_hash from scores)
        group by all
    )
),
images as (
    select
        s.prompt_id,
        s.vision_model,
        list({{
            'id': cast(g.id as varchar),
            'path': g.image_path,
            'seed': d.seed,
            'step': d.step,
            'score': x.soft_tifa_gm,
            'arithmetic_mean': x.soft_tifa_am,
            'text_match': try_cast(e.adherence_analysis ->> '$.text_match_score' as double),
            'description': e.model_output ->> '$.description',
            'element_scores': cast(e.element_scores as map(varchar, double)),
            'error': e.error
        }} order by d.step, g.id) as images,
        min(g.round) as first_round
    from scores s
    join generated_images g on g.prompt_id = s.prompt_id
    join seeds d
        on d.experiment = s.experiment
        and d.scene_hash = s.scene_hash
        and d.seed = g.generation_metadata ->> '$.seed'
    left join image_evaluations e
        on e.image_id = g.id
        and e.vision_model = s.vision_model
        and e.judge_key = s.judge_key
    left join image_scores x on x.evaluation_id = e.id
    group by all
),
by_kind as (
    select e.prompt_id, e.vision_model, e.kind, steady_avg(e.score) as score
    from element_scores e
    join scores s
        on s.prompt_id = e.prompt_id
        and s.vision_model = e.vision_model
        and s.judge_key = e.judge_key
    group by all
),
kinds as (
    select prompt_id, vision_model, list({{'kind': kind, 'score': score}} order by kind) as kinds
    from by_kind
    group by all
)
select
    s.experiment, s.scene_hash, s.scene_text, s.prompt_id, s.parent_prompt_id, s.model,
    s.generation_iteration as iteration,
    p.prompt_text,
    p.base_parameters,
    s.vision_model, s.judge_key, s.pass_mark,
    i.first_round,
    s.mean_score, s.min_score, s.max_score, s.std_score, s.mean_am,
    c.change,
    i.images,
    k.kinds,
    epoch_ms(p.created_at) as created_ms,
    epoch_ms(s.judged_at) as judged_ms
from scores s
join prompts p on p.id = s.prompt_id
join images i on i.prompt_id = s.prompt_id and i.vision_model = s.vision_model
left join kinds k on k.prompt_id = s.prompt_id and k.vision_model = s.vision_model
left join version_changes c
    on c.prompt_id = s.prompt_id
    and c.vision_model = s.vision_model
    and c.judge_key = s.judge_key
order by p.generation_iteration, p.created_at, p.id, s.vision_model
"""


@dataclass(frozen=True)
class Due:
    """A run that MLflow should have. `identity` names it for ever, `content` what is in it now."""

    study: str
    experiment: str
    prompt_id: str
    vision_model: str
    content: str

    @property
    def identity(self) -> str:
        """Return the id that the run carries as a tag, whatever MLflow calls it."""
        return content_id("mlflow run", prompt=self.prompt_id, vision_model=self.vision_model)


@dataclass(frozen=True)
class Run:
    """One run as plain values. `metrics` are (name, value, step); times are milliseconds since 1970."""

    identity: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int]]
    start_ms: int
    end_ms: int
    row: dict[str, Any] = field(default_factory=dict)


def study_of(experiment: str) -> str:
    """Return the MLflow experiment of a forgekit experiment: "colours/refine" is an arm of the study "colours"."""
    return experiment.partition("/")[0]


def due_runs(store: Store) -> list[Due]:
    """Return the runs that there should be, parent versions before their children."""
    names = ("experiment", "prompt_id", "vision_model", "content")
    return [Due(study_of(row["experiment"]), *(row[name] for name in names)) for row in store.rows(DUE, format=FORMAT)]


def read_runs(store: Store, due: Sequence[Due]) -> Iterator[Run]:
    """Yield the runs of `due` as the store has them now."""
    by_key = {(run.prompt_id, run.vision_model): run for run in due}
    prompt_ids, vision_models = [run.prompt_id for run in due], [run.vision_model for run in due]
    rows = store.rows(RUNS, prompt_ids=prompt_ids, vision_models=vision_models)
    phrases = scene_phrases(store, {row["scene_hash"] for row in rows})
    for row in rows:
        for image in row["images"]:
            image["failed"] = missing_phrases(image["element_scores"], row["pass_mark"], phrases[row["scene_hash"]])
        yield _run(row, by_key[row["prompt_id"], row["vision_model"]])


def slug(text: str, length: int = 40) -> str:
    """Return `text` as letters a to z, digits and dashes, cut at a word; "x" where it has none of those."""
    words = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "x"
    return words if len(words) <= length else words[: length + 1].rpartition("-")[0] or words[:length]


def shorten(text: str, length: int) -> str:
    """Return `text` with at most `length` characters, the last one "…" where something was cut off."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def safe_key(text: str) -> str:
    """Return `text` as the name of a metric or param: MLflow takes letters, digits and `_ - . / space`."""
    return shorten(re.sub(r"[^\w\-./ ]", "_", text), 240)


def scores_of(row: dict[str, Any]) -> list[float]:
    """Return the scores of the row's images that have one."""
    return [image["score"] for image in row["images"] if image["score"] is not None]


def _run(row: dict[str, Any], due: Due) -> Run:
    scene = shorten(" ".join(row["scene_text"].split()), 60)
    facts = {
        "vision_model": row["vision_model"],
        "prompt_version": str(row["iteration"]),
        "generator": row["model"],
        "experiment": row["experiment"],
    }
    tags = {
        **facts,
        "scene": scene,
        "judge_key": row["judge_key"],
        "pass_mark": f"{row['pass_mark']:g}",
        "scene_hash": row["scene_hash"],
        "prompt_id": row["prompt_id"],
        "forgekit.identity": due.identity,
        "forgekit.content": due.content,
        "mlflow.note.content": _note(row),
        "mlflow.loggedImages": "True",
        "mlflow.loggedArtifacts": json.dumps([{"path": table, "type": "table"} for table in TABLES]),
        "mlflow.source.name": "forgekit",
        "mlflow.source.type": "LOCAL",
    }
    if row["first_round"] is not None:
        tags["round"] = str(row["first_round"])
    if row["parent_prompt_id"]:
        tags["parent_prompt_id"] = row["parent_prompt_id"]
    params = dict(facts)  # few: the image grid writes all of them over every picture
    draw = sorted(row["base_parameters"].items())
    params |= {safe_key(f"draw.{name}"): shorten(str(value), PARAM_LIMIT) for name, value in draw}
    name = f"{scene} v{row['iteration']} · {row['vision_model']}"
    return Run(due.identity, name, tags, params, _metrics(row), row["created_ms"], row["judged_ms"], row)


def _metrics(row: dict[str, Any]) -> list[tuple[str, float, int]]:
    scores = scores_of(row)
    named = {
        "score/mean": row["mean_score"],
        "score/min": row["min_score"],
        "score/max": row["max_score"],
        "score/std": row["std_score"],
        "score/arithmetic_mean": row["mean_am"],
        "score/change_from_parent": row["change"],
        "images/drawn": len(row["images"]),
        "images/without_verdict": len(row["images"]) - len(scores),
        **{safe_key(f"element/{kind['kind']}"): kind["score"] for kind in row["kinds"] or []},
    }
    metrics = [(name, float(value), 0) for name, value in named.items() if value is not None]
    if scores:
        metrics += [("dist/quantile", float(np.quantile(scores, q / 100)), q) for q in QUANTILES]
        shares = np.histogram(scores, bins=BINS, range=(0, 1))[0] / len(scores)
        metrics += [("dist/histogram", float(share), step) for step, share in enumerate(shares)]
    return metrics


def _note(row: dict[str, Any]) -> str:
    """Return the description that the run's page shows, with a link to the runs of the parent version."""
    prompt, scene = (shorten(row[text], NOTE_LIMIT // 2).replace("\n", " ") for text in ("prompt_text", "scene_text"))
    note = f"**Prompt**\n\n> {prompt}\n\n**Scene**\n\n> {scene}"
    if row["parent_prompt_id"]:
        search = quote(f"tags.prompt_id = '{row['parent_prompt_id']}'")
        note += f"\n\n[Runs of the parent version](#/experiments/{{experiment_id}}/runs?searchFilter={search})"
    return note
