"""Train `mini` from nothing, or train it on: `python -m training.train_generator --work /tmp/mini-training`.

Flow matching (Lipman et al. 2023) in the latent space of the autoencoder, with three helps that a model this small
needs before its blobs become shapes: scenes on a grid (`sample_scene(grid=True)`), an auxiliary map that image tokens
must know (shape and colour of each cell), and a latent reader that must recognise the predicted clean latents.
Everything can be interrupted: the work folder holds a checkpoint that the same command goes on from.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from forgekit.mini import WEIGHTS
from forgekit.mini.captions import caption
from training.generator import (
    TEXT_TOKENS,
    TOKENS,
    WIDTH,
    MiniFlux,
    export,
    load_exported,
    pack,
    tokenizer,
    unpack,
)
from training.latent_reader import COLOR_CLASSES, SHAPE_CLASSES, LatentReader, cell_loss, train_latent_reader
from training.muon import Muon
from training.pool import Batch, ScenePool
from training.text_binding import BindingHead, teach_binding
from training.train_autoencoder import load_or_train

UNCONDITIONAL = 0.1  # share of empty captions, for classifier-free guidance
SHARP = 0.6  # time below which the predicted clean latents are sharp enough to be read
_LOG_EVERY, _SAVE_EVERY = 20, 200  # steps
_PARTS = ("model", "average", "head", "binding")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training. `samples` in all; the rate is held, then falls to 0 over the last `decay` samples."""

    samples: int = 1_200_000
    decay: int = 400_000
    batch: int = 64
    rate: float = 1.5e-3
    map_weight: float = 0.3
    read_weight: float = 0.2
    bind_weight: float = 0.1
    captions: int = 200_000  # read by the text encoder alone before the first picture
    time_mean: float = 0.2  # of the logit-normal time distribution; larger is noisier
    time_scale: float = 1.1
    ema: float = 0.997
    pool: int = 6000
    seed: int = 2

    def rate_at(self, seen: int) -> float:
        """Return the learning rate after `seen` samples."""
        warm = min(1.0, (seen / self.batch + 1) / 100)
        return self.rate * warm * min(1.0, max(0.0, (self.samples - seen) / self.decay))


class Trainer:
    """The state of a training: model, its moving average, the map's head, optimisers, number of samples seen."""

    def __init__(self, recipe: Recipe, pool: ScenePool, latent_reader: LatentReader) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool, self.latent_reader = recipe, pool, latent_reader
        self.model, self.average = MiniFlux(), MiniFlux().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.head = nn.Linear(WIDTH, 4 * (SHAPE_CLASSES + COLOR_CLASSES))
        self.binding = BindingHead()
        self.model.transformer.transformer_blocks[-1].register_forward_hook(self._keep_tokens)
        matrices, others = _split(self.model)
        self.optimizers = [
            Muon(matrices, lr=recipe.rate),
            torch.optim.AdamW(
                [*others, *self.head.parameters(), *self.binding.parameters()],
                lr=recipe.rate,
                betas=(0.9, 0.98),
                weight_decay=0,
            ),
        ]
        self.tokenize, self.rng, self.seen = tokenizer(), random.Random(recipe.seed), 0

    def step(self) -> dict[str, float]:
        """Train on one batch and return its losses."""
        rate = self.recipe.rate_at(self.seen)
        losses = self._losses(self.pool.batch(self.recipe.batch))
        weights = {"map": self.recipe.map_weight, "read": self.recipe.read_weight, "bind": self.recipe.bind_weight}
        total = losses["flow"] + sum(weight * losses[name] for name, weight in weights.items())
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.seen += self.recipe.batch
        self._update_average()
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        n = len(batch.scenes)
        texts = ["" if self.rng.random() < UNCONDITIONAL else caption(s, self.rng) for s in batch.scenes]
        clean, noise = pack(batch.latents), torch.randn(n, TOKENS, 16)
        t = torch.sigmoid(torch.randn(n) * self.recipe.time_scale + self.recipe.time_mean)
        mixed = torch.lerp(clean, noise, t[:, None, None])
        ids = self._ids(texts)
        text, pooled = self.model.encode(ids)
        bound, _ = self.binding.loss(text, ids, batch.scenes)
        velocity = self.model(mixed, t, text, pooled)
        sharp = t < SHARP
        predicted = unpack(mixed - t[:, None, None] * velocity)
        read = cell_loss(self.latent_reader(predicted[sharp]), batch.shapes[sharp], batch.colors[sharp])
        mapped = cell_loss(self._mapped(n), batch.shapes, batch.colors)
        return {
            "flow": (velocity - (noise - clean)).square().mean(),
            "map": mapped.mean(),
            "read": read.sum() / n,
            "bind": bound,
        }

    def _mapped(self, n: int) -> Tensor:
        """Return what the image tokens know of each cell: logits (n, 8 + 11, 16, 16)."""
        logits = self.head(self._tokens).reshape(n, 8, 8, 2, 2, -1)
        return logits.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, 16, 16)

    def _keep_tokens(self, module: nn.Module, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        self._tokens = output[1]

    def _ids(self, texts: list[str]) -> Tensor:
        options = {"padding": "max_length", "truncation": True, "max_length": TEXT_TOKENS, "return_tensors": "pt"}
        return self.tokenize(texts, **options)["input_ids"]

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.recipe.ema, 1 - 1 / (self.seen / self.recipe.batch + 1))
        averages, values = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(averages, values, 1 - keep)

    def save(self, path: Path) -> None:
        """Write a checkpoint; one cut off half-way never replaces the last good one."""
        state = {name: getattr(self, name).state_dict() for name in _PARTS}
        state |= {"optimizers": [o.state_dict() for o in self.optimizers], "seen": self.seen}
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path)
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seen = state["seen"]
        self.rng.seed(self.recipe.seed + self.seen)
        torch.manual_seed(self.recipe.seed + self.seen)


def _split(model: MiniFlux) -> tuple[list[Tensor], list[Tensor]]:
    """Return the matrices inside blocks, which Muon trains, and all other parameters, which AdamW trains."""
    inside = {
        name
        for name, p in model.named_parameters()
        if p.ndim == 2 and "block" in name and "relative" not in name and not name.startswith("clip")
    }
    named = dict(model.named_parameters())
    return [named[n] for n in named if n in inside], [named[n] for n in named if n not in inside]


def train(recipe: Recipe, work: Path, vae: AutoencoderTiny, *, start: Path | None = None) -> MiniFlux:
    """Train until `recipe.samples` are seen, from the checkpoint in `work` if there is one; return the average.

    Without a checkpoint, weights come from the diffusers folder `start` if one is given, else from chance.
    """
    pool = ScenePool(vae, size=recipe.pool, seed=recipe.seed)
    eye = work / "latent_reader.pt"
    if not eye.exists():
        torch.save(train_latent_reader(pool, 40_000).state_dict(), eye)
    latent_reader = LatentReader().requires_grad_(False)
    latent_reader.load_state_dict(torch.load(eye))
    trainer = Trainer(recipe, pool, latent_reader)
    checkpoint = work / "generator.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    else:
        if start:
            load_exported(trainer.model, start)
        teach_binding(trainer.model, trainer.binding, recipe.captions, keep=0.3 if start else 0.0)
        trainer.average.load_state_dict(trainer.model.state_dict())
        trainer.save(checkpoint)
    means: dict[str, float] = {}
    started, first = time.perf_counter(), trainer.seen
    while trainer.seen < recipe.samples:
        losses = trainer.step()
        means = {k: 0.95 * means.get(k, v) + 0.05 * v for k, v in losses.items()}
        steps = trainer.seen // recipe.batch
        if steps % 4 == 0:
            pool.renew(recipe.batch // 2)  # each scene is seen about eight times
        if steps % _LOG_EVERY == 0:
            speed = (trainer.seen - first) / (time.perf_counter() - started)
            figures = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"{trainer.seen} samples, {figures}, {speed:.0f} samples/s", flush=True)
        if steps % _SAVE_EVERY == 0:
            trainer.save(checkpoint)
    trainer.save(checkpoint)
    return trainer.average


def main() -> None:
    """Train (autoencoder first, where there is none) and write the diffusers folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "generator", help="diffusers folder to write")
    parser.add_argument("--start", type=Path, help="diffusers folder whose weights to train on (default: from nothing)")
    parser.add_argument("--threads", type=int, default=1)
    for name, kind in (
        ("samples", int),
        ("captions", int),
        ("decay", int),
        ("batch", int),
        ("rate", float),
        ("time_mean", float),
        ("seed", int),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Recipe, name))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    vae = load_or_train(options.work / "autoencoder")
    chosen = {
        name: getattr(options, name) for name in ("samples", "captions", "decay", "batch", "rate", "time_mean", "seed")
    }
    export(train(Recipe(**chosen), options.work, vae, start=options.start), vae, options.out)


if __name__ == "__main__":
    main()
