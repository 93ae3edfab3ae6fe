"""Benchmarks as their papers print them: the own score of each and its table by category, per generator and judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from forgekit.metrics import clustered_interval, resampled_interval
from forgekit.scene import list_elements
from forgekit.scene.annotation import own_questions
from forgekit.store import Store
from forgekit.trends.benchmark_rules import ANNOTATED, RULES, said_of

# First versions, as first drawn: later ones were chosen, and hard scenes are drawn more often. Every image is there for every
# judge of its experiment, whether or not it gave a verdict.
VERDICTS = """
with failing as (
    select p.experiment, e.vision_model, arg_max(e.judge_key, e.created_at) as judge_key
    from image_evaluations e
    join prompts p on p.id = e.prompt_id
    where ($experiment is null or p.experiment = $experiment)
      and ($vision_model is null or e.vision_model = $vision_model)
    group by all
    having count(*) filter (e.error is null) = 0
),
judges as (
    select experiment, vision_model, judge_key, pass_mark from judges_in($experiment, $vision_model)
    union all
    select *, 0.5 from failing
)
select
    s.source ->> '$.benchmark' as benchmark,
    s.source ->> '$.category' as category,
    p.experiment, p.model, j.vision_model, j.pass_mark, p.scene_hash,
    p.prompt_text = s.scene_text as verbatim,
    e.error is null and e.element_scores is not null and (
        coalesce(s.read_by ->> '$.reader' = 'annotation', false)
        or s.source ->> '$.benchmark' not in (select unnest($annotated::varchar[]))
    ) as judged,
    e.element_scores, e.model_output, e.adherence_analysis
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s on s.scene_hash = p.scene_hash
join judges j on j.experiment = p.experiment
left join image_evaluations e
    on e.image_id = i.id
    and e.vision_model = j.vision_model
    and e.judge_key = j.judge_key
where p.generation_iteration = 0
  and coalesce(i.round, 0) = 0
  and s.source ->> '$.benchmark' in (select unnest($benchmarks::varchar[]))
order by i.id
"""
ASKED = "select scene_hash, elements from scenes where scene_hash in (select unnest($scenes::varchar[]))"

GROUP = ("benchmark", "experiment", "model", "vision_model")
COLUMNS = [
    *GROUP, "measure", "by", "category", "score", "low", "high", "n", "scenes", "unjudged", "answered", "verbatim",
]  # fmt: skip
OVERALL = {"geneval": "task"}  # whose score is the mean over these categories
Values = dict[tuple[str, str, str], list[tuple[str, float]]]  # measure, by, category: (scene, score) each


def benchmark(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> pd.DataFrame:
    """Return each benchmark's own score and its table by category.

    Over the first drawing of the first version of each text. Columns: `score` with its 95 % interval `low` to `high`
    over scenes; `n`, the images or questions that it is the mean of, of so many `scenes`; and of the generator and the judge as a
    whole `unjudged`, the images without a complete verdict on what the benchmark asks, which count nowhere (a judge that gave none has
    a row without a score); `answered`, the share of the questions that
    the judge can be asked (below 1 the score is of those alone); `verbatim`, the share of images that were drawn from the
    text as it stands (below 1 it is the score of completed texts). `trends.benchmark_rules` has the rules and their sources.

    Args:
        experiment: only this one.
        vision_model: only this judge.
    """
    known = {"benchmarks": list(RULES), "annotated": list(ANNOTATED)}
    verdicts = store.rows(VERDICTS, experiment=experiment, vision_model=vision_model, **known)
    scenes = store.rows(ASKED, scenes=sorted({verdict["scene_hash"] for verdict in verdicts}))
    asked = {scene["scene_hash"]: scene["elements"] for scene in scenes if scene["elements"]}
    groups = groupby(sorted(verdicts, key=itemgetter(*GROUP)), key=itemgetter(*GROUP))
    rows = [row for group, members in groups for row in _rows(group, list(members), asked)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    group: tuple[str, ...], verdicts: Sequence[Mapping[str, Any]], asked: Mapping[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Return the table of one benchmark, generator and judge."""
    name = group[0]
    values: Values = defaultdict(list)
    judged = [verdict for verdict in verdicts if verdict["judged"] and verdict["element_scores"]]
    for verdict in judged:
        scene = verdict["scene_hash"]
        said = said_of(verdict, list(own_questions(asked.get(scene, {}))))
        for measure, by, category, score in RULES[name](said):
            values[measure, by, category].append((scene, score))
    sizes = {scene: len(list_elements(document)) for scene, document in asked.items()}
    questions = sum(sizes[verdict["scene_hash"]] for verdict in judged)
    about = {
        **dict(zip(GROUP, group, strict=True)),
        "unjudged": len(verdicts) - len(judged),
        "answered": sum(len(verdict["element_scores"]) for verdict in judged) / questions if questions else None,
        "verbatim": sum(verdict["verbatim"] for verdict in verdicts) / len(verdicts),
    }
    if not values:
        yield {**about, "n": 0, "scenes": 0}
    if name in OVERALL:
        yield from ({**about, **row} for row in _means_of_categories(values, OVERALL[name]))
    for (measure, by, category), scored in sorted(values.items(), key=lambda item: _order(*item[0])):
        texts, scores = zip(*scored, strict=True)
        low, high = clustered_interval(scores, texts)
        figures = {"score": float(np.mean(scores)), "low": low, "high": high, "n": len(scores), "scenes": len({*texts})}
        yield {**about, "measure": measure, "by": by, "category": category, **figures}


def _means_of_categories(values: Values, by: str) -> Iterator[dict[str, Any]]:
    """Yield the overall score of each measure: the mean over its categories, and its interval over scenes."""
    for measure in sorted({measure for measure, its_by, _ in values if its_by == by}):
        scored = [(c, *pair) for (m, b, c), pairs in values.items() if (m, b) == (measure, by) for pair in pairs]
        table = pd.DataFrame(scored, columns=["category", "scene", "score"]).groupby(["scene", "category"])["score"]
        totals, counts = (each.unstack(fill_value=0).to_numpy(float) for each in (table.sum(), table.count()))

        def mean(picks: np.ndarray, totals: np.ndarray = totals, counts: np.ndarray = counts) -> float:
            with np.errstate(invalid="ignore"):  # a resample without a category has no overall score
                return float(np.mean(totals[picks].sum(0) / counts[picks].sum(0)))

        everything = np.arange(len(totals))
        low, high = resampled_interval(len(totals), mean)
        yield {
            "measure": measure, "by": "overall", "category": f"mean of {totals.shape[1]} {by}s",
            "score": mean(everything), "low": low, "high": high, "n": len(scored), "scenes": len(totals),
        }  # fmt: skip


def _order(measure: str, by: str, category: str) -> tuple[str | bool | int, ...]:
    """Sort "all" first, numbers by size."""
    return (measure, by != "all", by, not category.isdigit(), int(category) if category.isdigit() else 0, category)
