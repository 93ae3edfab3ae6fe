"""What MLflow is to show of the store: one `Run` per (prompt version, vision model), as plain values.

Nothing here talks to MLflow. The same store gives the same runs, so a mirror can be compared and rebuilt.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any
from urllib.parse import quote

import numpy as np

from forgekit.ids import content_id
from forgekit.store import Store
from forgekit.trends.phrases import missing_phrases, scene_phrases

FORMAT = 4  # raise it when runs change their form: they are then written again
IDENTITY, CONTENT = "forgekit.identity", "forgekit.content"  # tags: which run it is for ever, and what is in it now
SOURCE = {"mlflow.source.name": "forgekit", "mlflow.source.type": "LOCAL"}
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
    split_part(s.experiment, '/', 1) as study,
    s.experiment,
    s.prompt_id,
    s.vision_model,
    epoch_ms(p.created_at) as start_ms,
    epoch_ms(s.judged_at) as end_ms,
    md5(concat_ws(
        '|', $format, p.prompt_text, p.base_parameters, p.parent_prompt_id, s.judge_key, s.pass_mark, s.mean_score,
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
        p.experiment,
        p.scene_hash,
        {SEED} as seed,
        row_number() over (
            partition by p.experiment, p.scene_hash
            order by min(g.created_at), try_cast(seed as bigint), seed
        ) - 1 as step
    from generated_images g
    join prompts p on p.id = g.prompt_id
    where p.scene_hash in (select scene_hash from wanted)
    group by p.experiment, p.scene_hash, seed
)
select
    w.*,
    p.prompt_text,
    p.base_parameters,
    t.scene_text,
    c.change,
    cast(g.id as varchar) as id,
    g.image_path as path,
    g.round,
    d.seed,
    d.step,
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

    study: str
    experiment: str
    prompt_id: str
    vision_model: str
    start_ms: int  # since 1970, as `end_ms`
    end_ms: int
    content: str

    @property
    def identity(self) -> str:
        """Return the id that the run carries as a tag, whatever MLflow calls it."""
        return content_id("mlflow run", prompt=self.prompt_id, vision_model=self.vision_model)


@dataclass(frozen=True)
class Run:
    """One run as plain values. `metrics` are (name, value, step); times are milliseconds since 1970."""

    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int]]
    start_ms: int
    end_ms: int
    shown: Any  # what its files are made from: a row per image, or the tables of a summary

    @property
    def identity(self) -> str:
        """Return the id that it carries as a tag."""
        return self.tags[IDENTITY]


def due_runs(store: Store) -> list[Due]:
    """Return the runs that there should be, parent versions before their children."""
    return [Due(**row) for row in store.rows(DUE, format=FORMAT)]


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


def _run(images: list[dict[str, Any]], due: Due) -> Run:
    row = images[0]  # what is said of the version is the same in all
    scene, version = shorten(" ".join(row["scene_text"].split()), 60), str(row["generation_iteration"])
    facts = {
        "vision_model": due.vision_model,
        "prompt_version": version,
        "generator": row["model"],
        "experiment": due.experiment,
    }
    tags = {
        **facts,
        **SOURCE,
        "scene": scene,
        "scene_hash": row["scene_hash"],
        "prompt_id": due.prompt_id,
        "judge_key": row["judge_key"],
        "pass_mark": f"{row['pass_mark']:g}",
        IDENTITY: due.identity,
        CONTENT: due.content,
        "mlflow.note.content": _note(row),
        "mlflow.loggedImages": "True",
        "mlflow.loggedArtifacts": json.dumps([{"path": table, "type": "table"} for table in TABLES]),
    }
    rounds = [image["round"] for image in images if image["round"] is not None]
    if rounds:
        tags["round"] = str(min(rounds))
    if row["parent_prompt_id"]:
        tags["parent_prompt_id"] = row["parent_prompt_id"]
    draw = sorted(row["base_parameters"].items())
    params = facts | {safe_key(f"draw.{name}"): shorten(str(value), PARAM_LIMIT) for name, value in draw}
    name = f"{scene} v{version} · {due.vision_model}"
    return Run(name, tags, params, _metrics(images), due.start_ms, due.end_ms, images)


def _metrics(images: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    scores = [image["score"] for image in images if image["score"] is not None]
    row = images[0]
    measured = [] if scores else [i["measures"] for i in images if i["measures"] and not i["error"]]  # by a guard-rail
    named = {
        "score/mean": row["mean_score"],
        "score/min": row["min_score"],
        "score/max": row["max_score"],
        "score/std": row["std_score"],
        "score/arithmetic_mean": row["mean_am"],
        "score/change_from_parent": row["change"],
        "images/drawn": len(images),
        "images/without_verdict": len(images) - len(scores or measured),
        **{safe_key(f"element/{kind}"): score for kind, score in _by_kind(images).items()},
        **{safe_key(f"measure/{name}"): value for name, value in _means(measured).items()},
    }
    metrics = [(name, float(value), 0) for name, value in named.items() if value is not None]
    if scores:
        metrics += [("dist/quantile", float(np.quantile(scores, q / 100)), q) for q in QUANTILES]
        shares = np.histogram(scores, bins=BINS, range=(0, 1))[0] / len(scores)
        metrics += [("dist/histogram", float(share), step) for step, share in enumerate(shares)]
    return metrics


def _by_kind(images: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean score of each kind of element; the key of an element is its kind and its number."""
    scores: dict[str, list[float]] = defaultdict(list)
    for image in images:
        for element, score in (image["element_scores"] or {}).items():
            if score is not None:
                scores[element.partition(":")[0]].append(score)
    return {kind: fmean(of_kind) for kind, of_kind in sorted(scores.items())}


def _means(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean of each measure over the images that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in (pair for measures in measured for pair in measures.items()):
        if value is not None:
            values[name].append(value)
    return {name: fmean(of_name) for name, of_name in sorted(values.items())}


def _note(row: dict[str, Any]) -> str:
    """Return the description that the run's page shows, with a link to the runs of the parent version."""
    prompt, scene = (shorten(row[text], NOTE_LIMIT // 2).replace("\n", " ") for text in ("prompt_text", "scene_text"))
    note = f"**Prompt**\n\n> {prompt}\n\n**Scene**\n\n> {scene}"
    if row["parent_prompt_id"]:
        search = quote(f"tags.prompt_id = '{row['parent_prompt_id']}'")
        note += f"\n\n[Runs of the parent version](#/experiments/{{experiment_id}}/runs?searchFilter={search})"
    return note
