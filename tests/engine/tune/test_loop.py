"""The tuning loop: it learns, mixes, stops, and goes on as if nothing had happened."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.config import TuneConfig
from everface.engine.errors import NumericalError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import LoRAConfig
from everface.engine.generators.stylegan2 import Generator
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.tune.learner import AdaptedLearner
from everface.engine.tune.loop import TuneRun, TuneState, TuningSet, _deal, _settled, tune


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Generator:
    return load_base(str(tiny_base)).generator


@pytest.fixture(scope="module")
def loss(quick_loss: ReconstructionLoss) -> ReconstructionLoss:
    return quick_loss


def a_set(loss: ReconstructionLoss, n: int, seed: int) -> TuningSet:
    rng = torch.Generator().manual_seed(seed)
    pictures = torch.rand(n, 3, 4, 4, generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    return TuningSet(torch.randn(n, 32, generator=rng), loss.prepare(pictures))


def test_it_learns_and_leaves_the_mapping_alone(base: Generator, loss: ReconstructionLoss) -> None:
    generator = copy.deepcopy(base)
    result = tune(generator, loss, a_set(loss, 4, 0), None, TuneConfig(60, 1e-2, settle_window=0), TuneRun())
    assert result.steps == len(result.losses) == 60
    assert result.stopped == "steps"
    assert np.mean(result.losses[-8:]) < 0.8 * np.mean(result.losses[:8])
    assert all(
        torch.equal(a, b) for a, b in zip(generator.mapping.parameters(), base.mapping.parameters(), strict=True)
    )
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_replay_keeps_what_naive_tuning_forgets(base: Generator, loss: ReconstructionLoss) -> None:
    old, new = a_set(loss, 4, 1), a_set(loss, 4, 2)
    first = copy.deepcopy(base)
    config = TuneConfig(80, 1e-2, settle_window=0)
    tune(first, loss, old, None, config, TuneRun())

    def old_loss(replay: TuningSet | None) -> float:
        generator = copy.deepcopy(first)
        tune(generator, loss, new, replay, config, TuneRun())
        with torch.no_grad():
            return float(loss(generator.synthesis(old.codes), old.targets).mean())

    assert old_loss(old) < 0.8 * old_loss(None)


def test_an_interrupted_run_ends_the_same(base: Generator, loss: ReconstructionLoss) -> None:
    new, old, config = a_set(loss, 3, 3), a_set(loss, 5, 4), TuneConfig(20, 1e-3, settle_window=0)
    whole = copy.deepcopy(base)
    expected = tune(whole, loss, new, old, config, TuneRun(seed=5))
    part = copy.deepcopy(base)
    states: list[TuneState] = []

    class StopError(Exception):
        pass

    def stop_after_seven(progress: object) -> None:
        if getattr(progress, "done", 0) == 7:
            raise StopError

    from everface.engine.tune import loop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        patch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
        run = TuneRun(seed=5, checkpoint=states.append, on_progress=stop_after_seven)
        tune(part, loss, new, old, config, run)
    assert states[-1].step == 6
    fresh = copy.deepcopy(base)
    again = tune(fresh, loss, new, old, config, TuneRun(seed=5, resume=states[-1]))
    assert again == expected
    for name, value in whole.synthesis.state_dict().items():
        assert torch.equal(value, fresh.synthesis.state_dict()[name]), name


def test_it_stops_when_time_is_up(base: Generator, loss: ReconstructionLoss) -> None:
    generator = copy.deepcopy(base)
    run = TuneRun(deadline=time.monotonic() + 0.2)
    result = tune(generator, loss, a_set(loss, 2, 6), None, TuneConfig(1_000_000, settle_window=0), run)
    assert result.stopped == "time"
    assert result.steps > 0


def test_it_stops_when_the_loss_has_settled() -> None:
    falling = list(np.linspace(1, 0.5, 40))
    assert not _settled(falling, 20)
    assert _settled([*falling, *[0.5] * 40], 20)
    assert not _settled([1.0] * 39, 20)
    assert not _settled([1.0] * 400, 0)


def test_every_image_is_dealt_once_an_epoch() -> None:
    dealt = torch.cat([_deal(7, 2, (0, 0), step) for step in range(7)])
    assert sorted(dealt[:7].tolist()) == list(range(7))
    assert sorted(dealt[7:].tolist()) == list(range(7))
    assert dealt[:7].tolist() != dealt[7:].tolist()
    assert len(_deal(1, 4, (0, 0), 0)) == 4


def test_a_loss_that_explodes_is_an_error(base: Generator, loss: ReconstructionLoss) -> None:
    generator = copy.deepcopy(base)
    with torch.no_grad():
        generator.synthesis.b4.const.fill_(float("inf"))
    with pytest.raises(NumericalError, match="finite"):
        tune(generator, loss, a_set(loss, 2, 7), None, TuneConfig(5), TuneRun())


def test_nothing_new_is_an_error(base: Generator, loss: ReconstructionLoss) -> None:
    with pytest.raises(UsageError, match="new"):
        tune(base, loss, a_set(loss, 0, 8), None, TuneConfig(5), TuneRun())


def test_a_lora_learns_and_leaves_the_generator_alone(base: Generator, loss: ReconstructionLoss) -> None:
    generator, lora = copy.deepcopy(base), LoRA.create(base, LoRAConfig(1))
    config = TuneConfig(60, settle_window=0, lora_rank=1, lora_learning_rate=3e-2)
    images = a_set(loss, 4, 0)
    result = tune(AdaptedLearner(generator, lora), loss, images, None, config, TuneRun())
    assert np.mean(result.losses[-8:]) < 0.9 * np.mean(result.losses[:8])
    assert all(torch.equal(a, b) for a, b in zip(generator.parameters(), base.parameters(), strict=True))
    lora.merge(generator)
    with torch.no_grad():
        merged = float(loss(generator.synthesis(images.codes), images.targets).mean())
    assert merged < 0.9 * np.mean(result.losses[:2])
    assert not any(factor.requires_grad for factor in lora.factors.values())


def test_a_lora_goes_on_where_it_stopped(
    base: Generator, loss: ReconstructionLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = a_set(loss, 3, 3), a_set(loss, 2, 4)
    config = TuneConfig(12, settle_window=0, lora_rank=2)
    monkeypatch.setattr("everface.engine.tune.loop._CHECKPOINT_SECONDS", -1.0)
    states: list[TuneState] = []
    whole = LoRA.create(base, LoRAConfig(2))
    run = TuneRun(seed=5, checkpoint=states.append)
    expected = tune(AdaptedLearner(base, whole), loss, new, old, config, run)
    again = LoRA.create(base, LoRAConfig(2), seed=1)
    resumed = TuneRun(seed=5, resume=states[4])
    found = tune(AdaptedLearner(base, again), loss, new, old, config, resumed)
    assert found.losses == expected.losses
    assert all(torch.equal(again.factors[name], factor) for name, factor in whole.factors.items())


def test_the_fused_optimiser_is_adam(
    base: Generator, loss: ReconstructionLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, fused, plain = TuneConfig(5, 1e-3, settle_window=0), copy.deepcopy(base), copy.deepcopy(base)
    tune(fused, loss, a_set(loss, 2, 5), None, config, TuneRun())
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *args, **kwargs: adam(*args, **{**kwargs, "fused": False}))
    tune(plain, loss, a_set(loss, 2, 5), None, config, TuneRun())
    for (name, a), b, start in zip(
        fused.synthesis.named_parameters(), plain.synthesis.parameters(), base.synthesis.parameters(), strict=True
    ):
        # Relative to what was learned, not to the weights, which hardly move in five updates.
        assert torch.linalg.norm(a - b) <= 1e-2 * torch.linalg.norm(b - start) + 1e-7, name
