"""What judges say about the pictures of error graphs, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from forgekit.errors import ForgekitError, ItemError
from forgekit.models import VisionModel
from forgekit.models.judgements import checked_judgement
from forgekit.progress import progress_bar
from forgekit.scene import Scene, list_elements

if TYPE_CHECKING:
    from PIL.Image import Image

    from forgekit.mini.error_graphs import ErrorGraph

GRAPHS_AT_ONCE = 32
COLUMNS = [
    *("judge", "graph", "drawing", "errors", "error", "image_path", "scene_text", "truths"),
    *("score", "text_score", "element_scores", "reason"),
]
LEAST = 0.02  # an element's probability counts as at least this, as in sql/scores.sql


def said(verdict: Any, scene: Scene) -> dict[str, Any]:
    """Return what a judge said about a picture of `scene` as columns: `score`, `text_score`, `element_scores`, `reason`.

    The score is the geometric mean of the elements, as the view `image_scores` has it; None, with a reason, if
    one is missing.
    """
    verdict = verdict if isinstance(verdict, ItemError) else checked_judgement(verdict, list_elements(scene.elements))
    if isinstance(verdict, ItemError):
        return {"score": None, "text_score": None, "element_scores": None, "reason": verdict.reason}
    scores = verdict.element_scores
    given = [score for score in scores.values() if score is not None]
    known = given and len(given) == len(scores)
    return {
        "score": math.exp(fmean(math.log(max(score, LEAST)) for score in given)) if known else None,
        "text_score": verdict.text_match_score,
        "element_scores": dict(scores),
        "reason": None if known else "; ".join(verdict.reasons.values()),
    }


def score_graphs(
    judges: Sequence[VisionModel], graphs: Sequence[ErrorGraph], *, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Have each judge judge every picture of the graphs.

    Returns:
        One row per (judge, picture): `judge`, `graph`, `drawing`, `errors` (0 to 3), `error` (the kind that came last,
        None for the correct picture), `image_path` (as `write_pictures` names it), `scene_text`, `score` (geometric
        mean of the elements), `text_score` (the whole text), `element_scores`, `truths`, `reason` (why there is no
        score). And the judges that could not judge at all, by name, with the reason; they have no rows.
    """
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    starts = range(0, len(graphs), GRAPHS_AT_ONCE)
    with progress_bar("judge-test", total=len(judges) * len(starts), unit="batch") as bar:
        for judge, start in product(judges, starts):
            bar.update()
            if judge.name in failures:
                continue
            part = list(_pictures(graphs[start : start + GRAPHS_AT_ONCE], start, seed))
            try:
                verdicts = judge.judge([image for image, _, _ in part], [graph.scene for _, graph, _ in part])
            except ForgekitError as error:
                failures[judge.name] = str(error)
                continue
            rows += [
                {"judge": judge.name, **told, **said(verdict, graph.scene)}
                for (_, graph, told), verdict in zip(part, verdicts, strict=True)
            ]
    return pd.DataFrame([row for row in rows if row["judge"] not in failures], columns=COLUMNS), failures


def element_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per (judge, picture, scored element): `judge`, `kind`, `element`, `score`, `truth` (is it shown)."""
    rows = [
        {"judge": row.judge, "kind": key.split(":")[0], "element": key, "score": score, "truth": row.truths[key]}
        for row in table.itertuples()
        if row.element_scores
        for key, score in row.element_scores.items()
        if score is not None
    ]
    return pd.DataFrame(rows, columns=["judge", "kind", "element", "score", "truth"])


def write_pictures(graphs: Sequence[ErrorGraph], folder: str | Path, *, seed: int = 0) -> pd.DataFrame:
    """Write the pictures as PNG files; return one row each, with `file` and labels for `sheets.contact_sheet`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for image, graph, told in _pictures(graphs, 0, seed):
        file = folder / told["image_path"]
        image.save(file)
        labels = {
            "prompt_text": graph.scene.text,
            "seed": told["drawing"],
            "failed": list(graph.errors[: told["errors"]]),
        }
        rows.append({**told, "file": str(file), **labels})
    return pd.DataFrame(rows)


def _pictures(
    graphs: Sequence[ErrorGraph], first: int, seed: int
) -> Iterator[tuple[Image, ErrorGraph, dict[str, Any]]]:
    """Yield each picture with its graph and what is known of it; `first` is the number of the first graph."""
    from forgekit.mini.error_graphs import draw

    for number, graph in enumerate(graphs, first):
        for drawing, images in enumerate(draw(graph, seed=seed + number)):
            for errors, image in enumerate(images):
                told = {
                    "graph": number,
                    "drawing": drawing,
                    "errors": errors,
                    "error": graph.errors[errors - 1] if errors else None,
                    "image_path": f"{number:04d}-{drawing}-{errors}.png",
                    "scene_text": graph.scene.text,
                    "truths": graph.truths[errors],
                }
                yield image, graph, told
