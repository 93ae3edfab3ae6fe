"""Train the reader on renders alone: `python -m training.train_reader`."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import cell_labels, render
from forgekit.mini.world import BACKGROUNDS, STYLES, WorldScene, sample_scene
from training.reader import SHAPE_CLASSES, WEIGHTS, Reader, compare, load_reader, read, summary

BATCH = 64
HELD_OUT_SEED = 99


def train(samples: int, *, seed: int = 5, rate: float = 2e-3) -> Reader:
    """Return a reader trained on `samples` renders, half of them blurred, all a little noisy; the rate falls to 0."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    reader = Reader().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=rate, weight_decay=1e-3)
    started = time.perf_counter()
    for seen in range(0, samples, BATCH):
        optimizer.param_groups[0]["lr"] = rate * (1 - seen / samples)
        loss = _loss(reader, [sample_scene(rng) for _ in range(BATCH)], blur=rng.random() < 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if seen % (BATCH * 100) == 0:
            print(f"{seen} renders, loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    return reader.eval()


def _loss(reader: Reader, scenes: Sequence[WorldScene], *, blur: bool) -> Tensor:
    pictures = render(scenes)
    pictures = (pictures + torch.randn_like(pictures) * 0.04 * torch.rand(len(scenes), 1, 1, 1)).clamp(0, 1)
    if blur:
        pictures = functional.avg_pool2d(functional.pad(pictures, (1,) * 4, mode="replicate"), 3, 1)
    cells, whole = reader(pictures.contiguous(memory_format=torch.channels_last))
    shapes, colors = cell_labels(scenes)
    backgrounds = torch.tensor([BACKGROUNDS.index(s.background) for s in scenes])
    styles = torch.tensor([STYLES.index(s.style) for s in scenes])
    return (
        functional.cross_entropy(cells[:, :SHAPE_CLASSES], shapes.long())
        + functional.cross_entropy(cells[:, SHAPE_CLASSES:], colors.long())
        + 0.1 * functional.cross_entropy(whole[:, : len(BACKGROUNDS)], backgrounds)
        + 0.1 * functional.cross_entropy(whole[:, len(BACKGROUNDS) :], styles)
    )


def measure(reader: Reader, n: int = 1000) -> dict[str, float]:
    """Return the reader's own figures on `n` renders that it never saw."""
    rng = random.Random(HELD_OUT_SEED)
    scenes = [sample_scene(rng) for _ in range(n)]
    readings = read(reader, render(scenes, torch.Generator().manual_seed(HELD_OUT_SEED)))
    return summary([compare(s, r) for s, r in zip(scenes, readings, strict=True)])


def save(reader: Reader, path: Path) -> None:
    """Write the weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in reader.state_dict().items()}
    save_file(halves, path)


def main() -> None:
    """Train, save, and print the figures on held-out renders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=150_000)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    save(train(options.samples), options.out)
    for name, value in measure(load_reader(options.out)).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
