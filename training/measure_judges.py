"""Measure judges against exact truth on held-out renders: `python -m training.measure_judges`."""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from forgekit.errors import ForgekitError, ItemError
from forgekit.mini import WEIGHTS
from forgekit.mini.captions import CANONICAL, caption
from forgekit.mini.changes import CHANGES, changed
from forgekit.mini.error_graphs import element_truths
from forgekit.mini.render import render
from forgekit.mini.world import WorldScene, sample_scene
from forgekit.models import Judgement, VisionModel, load_model
from forgekit.scene import Scene, list_elements, parse

HELD_OUT_SEED = 30_001  # no training draws its scenes from this seed


@dataclass
class Tally:
    """How often something was right, out of how many."""

    right: int = 0
    n: int = 0

    def add(self, right: bool) -> None:
        """Count one case."""
        self.right += right
        self.n += 1

    def __str__(self) -> str:
        return f"{self.right / self.n:.3f} ({self.n})" if self.n else "-"


@dataclass
class Measured:
    """What one judge got right.

    `elements`: by kind of element, how often its score was on the right side of one half, over pictures that show the
    element and pictures in which one thing is changed. `changes`: by kind of change, how often an element that the
    change made false scored lower than on the picture before; only these elements count.
    """

    elements: Mapping[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    changes: Mapping[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


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
            text += f", no {new[0]}{'es' if new[0].endswith('s') else 's'}"
        pairs.append((Scene(text, parse(text)), world, after, kind))
    return pairs


def pictures(worlds: Sequence[WorldScene], seed: int = HELD_OUT_SEED) -> list[Image.Image]:
    """Return the worlds as images of 64 × 64 pixels."""
    pixels = (render(worlds, torch.Generator().manual_seed(seed)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(p) for p in pixels]


def measure(judge: VisionModel, n: int) -> Measured:
    """Judge `n` held-out pairs of pictures, both against the text of the first.

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
    found = Measured()
    for (scene, *worlds, kind), first, second in zip(pairs, verdicts[:n], verdicts[n:], strict=True):
        _count(found, scene, worlds, kind, (first, second))
    return found


def _count(
    found: Measured, scene: Scene, worlds: Sequence[WorldScene], change: str, verdicts: Sequence[Judgement]
) -> None:
    truths = element_truths(scene, worlds)
    for element in list_elements(scene.elements):
        scores = [verdict.element_scores.get(element.key) for verdict in verdicts]
        if None in scores:
            continue
        for score, truth in zip(scores, truths, strict=True):
            if truth[element.key] is not None:
                found.elements[element.kind].add((score >= 0.5) == truth[element.key])
        if [truth[element.key] for truth in truths] == [True, False]:
            found.changes[change].add(scores[0] > scores[1])


def table(columns: Sequence[str], rows: Mapping[str, Mapping[str, Tally]]) -> str:
    """Return a Markdown table of one row a judge."""
    lines = [f"| judge | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(row.get(c, '-')) for c in columns)} |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Print the tables that JUDGES.md holds."""
    embedded = [f"mini-{family}" for family in ("clip", "fuyu", "owl") if (WEIGHTS / family).is_dir()]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("judges", nargs="*", default=embedded, help="known names, folders or addresses")
    parser.add_argument("--n", type=int, default=1000, help="pairs of pictures")
    options = parser.parse_args()
    found = {name: measure(load_model("vision_model", name), options.n) for name in options.judges}
    kinds = list(dict.fromkeys(kind for each in found.values() for kind in each.elements))
    changes = [c for c in CHANGES if any(c in each.changes for each in found.values())]
    print(f"Right side of one half, by kind of element ({options.n} pairs of pictures; cases in brackets):\n")
    print(table(kinds, {name: each.elements for name, each in found.items()}))
    print("\nThe element made false scores lower than before, by kind of change:\n")
    print(table(changes, {name: each.changes for name, each in found.items()}))


if __name__ == "__main__":
    main()
