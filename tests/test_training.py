"""The training loop that all embedded models share: its rate, its optimisers, and that stopping changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from forgekit.mini import WEIGHTS
from training import loop
from training.loop import Chance, Schedule, Training, matrices_in, muon_and_adamw
from training.muon import orthogonalised
from training.pool import ScenePool

BATCH, SAMPLES = 4, 40


def run(checkpoint: Path, *, stop_at: int | None = None) -> Training:
    """Train a tiny network on random numbers of all three kinds, up to `stop_at` samples."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))  # dropout draws torch's own numbers
    chance = Chance(7)
    optimizers = muon_and_adamw(matrices_in(model[0]), [model])
    parts = {"model": model, "chance": chance}
    training = Training(
        "tiny", Schedule(SAMPLES, BATCH, rate=0.01, warm=3), parts, optimizers, clipped=[model], checkpoint=checkpoint
    )
    for seen in training.steps():
        if seen == stop_at:
            raise KeyboardInterrupt
        pictures = torch.randn(BATCH, 3, generator=chance.generator)
        training.descend((model(pictures) - chance.rng.random()).square().mean())
    return training


def everything(training: Training) -> dict[str, torch.Tensor]:
    """All numbers of a training as one flat table."""
    model, chance = training.parts["model"], training.parts["chance"]
    found = dict(model.state_dict())
    for i, optimizer in enumerate(training.optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            found |= {f"{i} {number} {name}": torch.as_tensor(value) for name, value in state.items()}
    draws = {"python": chance.rng.random(), "own": torch.rand(1, generator=chance.generator), "torch": torch.rand(1)}
    return found | {name: torch.as_tensor(value) for name, value in draws.items()}


def test_a_training_that_was_stopped_ends_as_one_that_never_was(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 3)
    whole = everything(run(tmp_path / "whole.pt"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.pt", stop_at=5 * BATCH)  # two steps after its checkpoint
    torch.rand(100)  # whatever else happens before it goes on
    training = run(tmp_path / "cut.pt")
    assert training.resumed and training.seen == SAMPLES
    cut = everything(training)
    assert whole.keys() == cut.keys() and len(whole) > 10
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []


def test_a_finished_training_that_is_started_again_changes_nothing(tmp_path):
    first = everything(run(tmp_path / "done.pt"))
    again = everything(run(tmp_path / "done.pt"))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_model_is_exported_after_each_checkpoint_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 4)
    exported: list[int] = []
    training = Training(
        "none",
        Schedule(SAMPLES, BATCH, rate=1.0),
        {},
        [],
        checkpoint=tmp_path / "c.pt",
        export=lambda: exported.append(training.seen),
    )
    assert list(training.steps()) == list(range(0, SAMPLES, BATCH))
    assert exported == [16, 32, 40]


def test_a_pool_of_scenes_goes_on_where_it_was_saved(tmp_path):
    vae = AutoencoderTiny.from_pretrained(WEIGHTS / "generator" / "vae").eval()
    pool = ScenePool(vae, size=12, seed=1)
    pool.renew(5)
    torch.save(pool.state_dict(), tmp_path / "pool.pt")
    other = ScenePool(vae, size=12, seed=2)
    other.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
    for each in (pool, other):
        each.renew(4)
    first, second = pool.batch(20), other.batch(20)
    assert first.scenes == second.scenes
    assert torch.equal(first.latents, second.latents) and torch.equal(first.colors, second.colors)


def test_the_rate_rises_stays_and_falls_to_its_least_share():
    schedule = Schedule(samples=1000, batch=10, rate=2.0, warm=5, fall=0.5, least=0.1)
    assert [schedule.rate_at(seen) for seen in (0, 20, 40, 500)] == pytest.approx([0.4, 1.2, 2.0, 2.0])
    assert [schedule.rate_at(seen) for seen in (750, 980, 1000)] == pytest.approx([1.0, 0.2, 0.2])


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 4, 6)])
def test_muon_moves_all_singular_values_of_tall_and_wide_matrices_near_one(shape):
    stack = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = (torch.linalg.svdvals(each) for each in (stack, orthogonalised(stack)))
    assert before.max() / before.min() > 3
    assert after.min() > 0.6 and after.max() < 1.3


def test_matrices_of_blocks_go_to_muon_and_everything_else_to_adamw():
    block, head = nn.Linear(3, 4), nn.Linear(4, 2)
    muon, adam = muon_and_adamw(matrices_in(block), [block, head])
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(4, 3)]
    assert [p.shape for p in adam.param_groups[0]["params"]] == [(4,), (2, 4), (2,)]
