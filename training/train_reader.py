"""Train the reader on renders alone: `python -m training.train_reader`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from forgekit.mini.render import render
from forgekit.mini.world import BACKGROUNDS, STYLES, WorldScene, sample_scene
from training.cells import cell_labels, cell_loss
from training.loop import Schedule, Training, command
from training.reader import WEIGHTS, Reader, compare, load_reader, read, summary

BATCH = 64
HELD_OUT_SEED = 99


def train(samples: int, *, seed: int = 5) -> Reader:
    """Return a reader trained on `samples` renders, half of them blurred, all a little noisy; the rate falls to 0."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    reader = Reader().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=1e-3)
    training = Training("reader", Schedule(samples, BATCH, rate=2e-3, warm=1), {}, [optimizer])
    for _ in training.steps():
        training.descend(_loss(reader, [sample_scene(rng) for _ in range(BATCH)], blur=rng.random() < 0.5))
    return reader.eval()


def _loss(reader: Reader, scenes: Sequence[WorldScene], *, blur: bool) -> Tensor:
    pictures = render(scenes)
    pictures = (pictures + torch.randn_like(pictures) * 0.04 * torch.rand(len(scenes), 1, 1, 1)).clamp(0, 1)
    if blur:
        pictures = functional.avg_pool2d(functional.pad(pictures, (1,) * 4, mode="replicate"), 3, 1)
    cells, whole = reader(pictures.contiguous(memory_format=torch.channels_last))
    backgrounds = torch.tensor([BACKGROUNDS.index(s.background) for s in scenes])
    styles = torch.tensor([STYLES.index(s.style) for s in scenes])
    return (
        cell_loss(cells, *cell_labels(scenes), color_weight=1.0).mean()
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


def main(*, samples: int = 150_000, out: Path = WEIGHTS) -> None:
    """Train the reader, save it, and print its figures on held-out renders."""
    save(train(samples), out)
    for name, value in measure(load_reader(out)).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    command(main)
