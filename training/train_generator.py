"""Train `mini` from nothing, or train it on: `python -m training.train_generator --work /tmp/mini-training`.

Flow matching (Lipman et al. 2023) in the latent space of the autoencoder, with three helps that a model this small
needs before its blobs become shapes: scenes on a grid (`sample_scene(grid=True)`), an auxiliary map that image tokens
must know (shape and colour of each cell), and a latent reader that must recognise the predicted clean latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from cyclopts import Parameter
from torch import Tensor, nn

from forgekit.mini import WEIGHTS
from forgekit.mini.captions import caption
from training.cells import DenseHead, cell_loss
from training.generator import (
    TEXT_TOKENS,
    TOKEN_SIDE,
    TOKENS,
    WIDTH,
    MiniFlux,
    export,
    load_exported,
    pack,
    tokenizer,
    unpack,
)
from training.latent_reader import LatentReader, load_or_train_latent_reader
from training.loop import Chance, Schedule, Training, command, matrices_in, muon_and_adamw
from training.pool import Batch, ScenePool
from training.text_binding import BindingHead, teach_binding
from training.train_autoencoder import load_or_train

UNCONDITIONAL = 0.1  # share of empty captions, for classifier-free guidance
SHARP = 0.6  # time below which the predicted clean latents are sharp enough to be read


@Parameter(name="*")
@dataclass(frozen=True)
class Recipe:
    """Settings of a training. The rate is held, then falls to 0 over the last `decay` of the `samples`."""

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
    pool: int = 6000  # scenes encoded ahead, to draw from
    seed: int = 2


class FlowMatching:
    """The model in training: its moving average, the heads that help it, and the loss."""

    def __init__(self, recipe: Recipe, latent_reader: LatentReader) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.latent_reader = recipe, latent_reader
        self.model, self.average = MiniFlux(), MiniFlux().requires_grad_(False)
        self.head, self.binding, self.chance = DenseHead(WIDTH, TOKEN_SIDE), BindingHead(), Chance(recipe.seed)
        self.model.transformer.transformer_blocks[-1].register_forward_hook(self._keep_tokens)
        self.tokenize = tokenizer()

    def prepare(self, start: Path | None) -> None:
        """Take weights from the diffusers folder `start` if there is one, and teach the text encoder."""
        if start:
            load_exported(self.model, start)
        teach_binding(self.model, self.binding, self.recipe.captions, keep=0.3 if start else 0.0)
        self.average.load_state_dict(self.model.state_dict())

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the four parts of the loss of a batch."""
        n, rng = len(batch.scenes), self.chance.rng
        texts = ["" if rng.random() < UNCONDITIONAL else caption(s, rng) for s in batch.scenes]
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
        return {
            "flow": (velocity - (noise - clean)).square().mean(),
            "map": cell_loss(self.head(self._tokens), batch.shapes, batch.colors).mean(),
            "read": read.sum() / n,
            "bind": bound,
        }

    def _keep_tokens(self, module: nn.Module, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        self._tokens = output[1]

    def _ids(self, texts: list[str]) -> Tensor:
        options = {"padding": "max_length", "truncation": True, "max_length": TEXT_TOKENS, "return_tensors": "pt"}
        return self.tokenize(texts, **options)["input_ids"]

    @torch.no_grad()
    def update_average(self, steps: int) -> None:
        """Move the average towards the model after its `steps`th step."""
        keep = min(self.recipe.ema, 1 - 1 / (steps + 1))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)


def begin(flow: FlowMatching, pool: ScenePool, checkpoint: Path) -> Training:
    """Return the training of `flow`, as far as the checkpoint says."""
    recipe, model, helpers = flow.recipe, flow.model, [flow.head, flow.binding]
    transformer = model.transformer
    blocks = (model.t5.encoder.block, transformer.transformer_blocks, transformer.single_transformer_blocks)
    state = {"model": model, "average": flow.average, "head": flow.head, "binding": flow.binding}
    return Training(
        "mini",
        Schedule(recipe.samples, recipe.batch, recipe.rate, warm=100, fall=recipe.decay / recipe.samples),
        {**state, "chance": flow.chance, "pool": pool},
        muon_and_adamw(matrices_in(*blocks), [model, *helpers], muon_decay=0.01, decay=0.0),
        clipped=[model],
        checkpoint=checkpoint,
    )


def train(
    *, work: Path, out: Path = WEIGHTS / "generator", start: Path | None = None, recipe: Recipe | None = None
) -> None:
    """Train mini (autoencoder first, where there is none) and write it; an interrupted training goes on.

    Args:
        work: folder of checkpoints
        out: diffusers folder to write: the average of the weights
        start: diffusers folder whose weights to train on; from nothing without it
    """
    recipe = recipe or Recipe()
    work.mkdir(parents=True, exist_ok=True)
    vae = load_or_train(work / "autoencoder")
    pool = ScenePool(vae, size=recipe.pool, seed=recipe.seed)
    flow = FlowMatching(recipe, load_or_train_latent_reader(work / "latent_reader.pt", pool))
    training = begin(flow, pool, work / "generator.pt")
    if not training.resumed:
        flow.prepare(start)
    weights = {"flow": 1.0, "map": recipe.map_weight, "read": recipe.read_weight, "bind": recipe.bind_weight}
    for seen in training.steps():
        losses = flow.losses(pool.batch(recipe.batch))
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        training.descend(total, {name: loss.item() for name, loss in losses.items()})
        steps = seen // recipe.batch + 1
        flow.update_average(steps)
        if steps % 4 == 0:
            pool.renew(recipe.batch // 2)  # each scene is seen about eight times
    export(flow.average, vae, out)


if __name__ == "__main__":
    command(train)
