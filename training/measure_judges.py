"""Measure judges against exact truth on held-out renders: `python -m training.measure_judges`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from PIL.Image import Image

from forgekit.errors import ForgekitError, ItemError
from forgekit.mini import WEIGHTS
from forgekit.mini.captions import CANONICAL, caption, plural
from forgekit.mini.changes import CHANGES, changed
from forgekit.mini.error_graphs import element_truths
from forgekit.mini.render import images
from forgekit.mini.world import WorldScene, sample_scene
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.scene import Scene, list_elements, parse
from training.loop import command

HELD_OUT_SEED = 30_001  # no training draws its scenes from this seed


def held_out_pairs(n: int, seed: int = HELD_OUT_SEED) -> list[tuple[Scene, WorldScene, WorldScene, str]]:
    """Return `n` times a scene text, a world it describes, that world with one thing changed, and the kind of change.

    Texts are plain captions that name everything but a white background and the flat style. Where the change brings in
    a shape, the text excludes it ("no stars"), so that an extra object is an error and negations are tested both ways.
    """
    rng = random.Random(seed)
    pairs: list[tuple[Scene, WorldScene, WorldScene, str]] = []
    while len(pairs) < n:
        world, kind = sample_scene(rng), CHANGES[len(pairs) % len(CHANGES)]
        after = changed(world, kind, rng)
        if after is None:
            continue
        text = caption(world, rng, CANONICAL)
        new = [o.shape for o in after.objects if all(o.shape != b.shape for b in world.objects)]
        if new:
            text += f", no {plural(new[0])}"
        pairs.append((Scene(text, parse(text)), world, after, kind))
    return pairs


def pictures(worlds: Sequence[WorldScene], seed: int = HELD_OUT_SEED) -> list[Image]:
    """Return the worlds as images of 64 × 64 pixels."""
    return images(worlds, seed)


def measure(judge: VisionModel, n: int) -> pd.DataFrame:
    """Judge `n` held-out pairs of pictures, both against the text of the first, and return a row for each case.

    Columns are `table`, `kind` and `right`. In the table "elements", by kind of element, its score was on the right
    side of one half, over pictures that show the element and pictures in which one thing is changed; in "changes", by
    kind of change, an element that the change made false scored lower than before; only these elements count.

    Raises:
        ForgekitError: the judge failed on a picture; a measure over the others would mislead.
    """
    pairs = held_out_pairs(n)
    before, after = (pictures([pair[i] for pair in pairs]) for i in (1, 2))
    scenes = [scene for scene, *_ in pairs]
    verdicts = judge.judge([*before, *after], [*scenes, *scenes])
    failed = [v.reason for v in verdicts if isinstance(v, ItemError)]
    if failed:
        raise ForgekitError(f"{judge.name} failed on {len(failed)} of {2 * n} pictures, the first because: {failed[0]}")
    judged = zip(pairs, verdicts[:n], verdicts[n:], strict=True)
    cases = [case for (scene, *worlds, kind), *pair in judged for case in _cases(scene, worlds, kind, pair)]
    return pd.DataFrame(cases, columns=["table", "kind", "right"])


def _cases(
    scene: Scene, worlds: Sequence[WorldScene], change: str, verdicts: Sequence[Judgement]
) -> Iterator[tuple[str, str, bool]]:
    truths = element_truths(scene, worlds)
    for element in list_elements(scene.elements):
        scores = [verdict.element_scores.get(element.key) for verdict in verdicts]
        if None in scores:
            continue
        for score, truth in zip(scores, truths, strict=True):
            if truth[element.key] is not None:
                yield "elements", element.kind, (score >= 0.5) == truth[element.key]
        if [truth[element.key] for truth in truths] == [True, False]:
            yield "changes", change, scores[0] > scores[1]


def table(cases: pd.DataFrame, kinds: Iterable[str]) -> str:
    """Return a Markdown table of a row for each judge: the share of cases that are right and their number."""
    found = cases.groupby(["judge", "kind"])["right"].agg(["mean", "size"])
    kinds = [kind for kind in kinds if kind in found.index.get_level_values("kind")]
    lines = [f"| judge | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for judge in cases["judge"].unique():
        shares = [found.loc[judge, kind] if (judge, kind) in found.index else None for kind in kinds]
        texts = ["-" if s is None else f"{s['mean']:.3f} ({s['size']:.0f})" for s in shares]
        lines.append(f"| {judge} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(*judges: str, n: int = 1000) -> None:
    """Print the tables that JUDGES.md holds, of known names, folders or addresses; without one, of the embedded judges.

    `n` is the number of pairs of pictures.
    """
    judges = judges or tuple(f"mini-{family}" for family in ("clip", "fuyu", "owl") if (WEIGHTS / family).is_dir())
    cases = pd.concat([measure(load_model("vision_model", name), n).assign(judge=name) for name in judges])
    elements, changes = (cases[cases["table"] == name] for name in ("elements", "changes"))
    print(f"Right side of one half, by kind of element ({n} pairs of pictures; cases in brackets):\n")
    print(table(elements, elements["kind"].unique()))
    print("\nThe element made false scores lower than before, by kind of change:\n")
    print(table(changes, CHANGES))


if __name__ == "__main__":
    command(main)
