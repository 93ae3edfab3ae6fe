"""The one training loop: steps, learning rate, optimisers, checkpoints, progress and command line.

A script brings its model, its data and its loss:

    training = Training("mini-clip", Schedule(samples, batch, rate=2e-3), {"model": model}, optimizers)
    for seen in training.steps():
        training.descend(loss, {"right": right})
"""

from __future__ import annotations

import copy
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.muon import Muon

if TYPE_CHECKING:
    from torch.distributed.checkpoint.stateful import Stateful

log = logging.getLogger(__name__)

WORK = Path("/tmp/forgekit-train")  # where the judges' checkpoints are
LOG_EVERY, SAVE_EVERY = 20, 200  # steps
_KEPT = 0.95  # of the figures' moving averages at each step
_STEEPEST = 1.0  # length that gradients are clipped to


class Chance:
    """Random numbers of Python and torch whose state goes into the checkpoint."""

    def __init__(self, seed: int) -> None:
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return where both sequences of random numbers stand."""
        return {"rng": self.rng.getstate(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.rng.setstate(state["rng"])
        self.generator.set_state(state["generator"])


@dataclass(frozen=True)
class Schedule:
    """How many samples, how many at a time, and the rate: it rises over `warm` steps, stays, and falls to zero.

    `fall` is the share of the samples over which it falls at the end; at least the share `least` of it remains.
    """

    samples: int
    batch: int
    rate: float
    warm: int = 50
    fall: float = 1.0
    least: float = 0.0

    def rate_at(self, seen: int) -> float:
        """Return the learning rate after `seen` samples."""
        rising = min(1.0, (seen / self.batch + 1) / self.warm)
        return self.rate * rising * min(1.0, max(self.least, (1 - seen / self.samples) / self.fall))


class Training:
    """One training: what it changes, and how far it is.

    With a `checkpoint` it goes on from there as if it had never stopped: `parts` are saved with the optimisers and
    torch's random numbers every 200 steps and at the end, and `export` is called after each time.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        parts: Mapping[str, Stateful],
        optimizers: Sequence[Optimizer],
        *,
        clipped: Sequence[nn.Module] = (),
        checkpoint: Path | None = None,
        export: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on from `checkpoint` where it exists; the gradient of each of the `clipped` modules is kept short."""
        self.name, self.schedule, self.parts, self.optimizers = name, schedule, parts, optimizers
        self.clipped, self.checkpoint, self.export, self.seen = clipped, checkpoint, export, 0
        self._figures: dict[str, float] = {}
        self.resumed = checkpoint is not None and checkpoint.exists()
        if self.resumed:
            self._load()

    def steps(self) -> Iterator[int]:
        """Yield the number of samples seen before each step still to do; the body calls `descend`."""
        started, first = time.monotonic(), self.seen
        while self.seen < self.schedule.samples:
            yield self.seen
            self.seen += self.schedule.batch
            step = self.seen // self.schedule.batch
            if step % LOG_EVERY == 0:
                figures = ", ".join(f"{name} {value:.4f}" for name, value in self._figures.items())
                speed = (self.seen - first) / (time.monotonic() - started)
                log.info("%s: %d samples, %s, %.0f a second", self.name, self.seen, figures, speed)
            if step % SAVE_EVERY == 0:
                self.save()
        self.save()

    def descend(self, loss: Tensor, figures: Mapping[str, float] | None = None) -> None:
        """Take one step down `loss`; moving averages of it and of `figures` are logged."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for module in self.clipped:
            nn.utils.clip_grad_norm_(module.parameters(), _STEEPEST)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.rate_at(self.seen)
            optimizer.step()
        for name, value in {"loss": loss.item(), **(figures or {})}.items():
            self._figures[name] = _KEPT * self._figures.get(name, value) + (1 - _KEPT) * value

    def save(self) -> None:
        """Write the checkpoint, at once or not at all, and export."""
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "seen": self.seen,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
        }
        unfinished = self.checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self.checkpoint)
        self.export()

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        self.seen = state["seen"]
        log.info("%s: goes on at %d samples", self.name, self.seen)


def matrices_in(*blocks: nn.Module) -> list[nn.Parameter]:
    """Return the matrices of transformer blocks, which Muon trains; a table of relative positions is none."""
    named = (item for block in blocks for item in block.named_parameters())
    return [p for name, p in named if p.ndim == 2 and "relative" not in name]


def muon_and_adamw(
    matrices: Sequence[nn.Parameter], modules: Sequence[nn.Module], *, muon_decay: float = 0.02, decay: float = 0.01
) -> list[Optimizer]:
    """Return Muon for `matrices` and AdamW for all other parameters of `modules`; the loop sets their rates."""
    chosen = {id(p) for p in matrices}
    others = [p for module in modules for p in module.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=0.0, weight_decay=muon_decay),
        AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=decay),
    ]


def export_transformers(model: Any, processor: Any, folder: Path) -> None:
    """Write weights in half precision, tokenizer and image settings where transformers looks for them."""
    copy.deepcopy(model).half().save_pretrained(folder)
    processor.save_pretrained(folder)


def command(run: Callable[..., None]) -> None:
    """Run `run` with what the command line says, on one thread; its docstring is the help."""
    import cyclopts

    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    torch.set_num_threads(1)  # models of this size gain nothing from a second one
    cyclopts.run(run)
