"""Tuning: it learns, stops, and goes on as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from everface.engine.config import TuneConfig
from everface.engine.errors import NumericalError
from everface.engine.latents.model import Floats, Targets
from everface.engine.learn import tuning
from everface.engine.learn.backend import Backend
from everface.engine.learn.mixing import Stream
from everface.engine.learn.tuning import TuningRun, TuningState, tune


def photos(backend: Backend, n: int, seed: int) -> tuple[Floats, Targets]:
    """Codes and pictures of 4 x 4 squares."""
    rng = np.random.default_rng(seed)
    squares = rng.random((n, 4, 4, 3), np.float32) * 2 - 1
    codes = rng.standard_normal((n, backend.shape.w_dim), np.float32)
    return codes, backend.prepare(squares.repeat(4, 1).repeat(4, 2))


def test_it_learns(quick_backend: Callable[..., Backend]) -> None:
    backend = quick_backend()
    result = tune(
        backend.learner(None), *photos(backend, 4, 0), [Stream(0, 4, 2)], TuneConfig(60, 1e-2, settle_window=0),
        TuningRun(),
    )  # fmt: skip
    assert (result.steps, result.stopped) == (60, "steps")
    assert np.mean(result.losses[-8:]) < 0.8 * np.mean(result.losses[:8])


@pytest.mark.parametrize("rank", [0, 2])
def test_an_interrupted_run_ends_the_same(
    quick_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    config = TuneConfig(12, 1e-3, settle_window=0, lora_rank=rank)
    backend = quick_backend(tune=config)
    codes, targets = photos(backend, 8, 3)
    streams, states = [Stream(0, 3, 2), Stream(3, 5, 2)], list[TuningState]()
    monkeypatch.setattr(tuning, "_CHECKPOINT_SECONDS", -1.0)
    whole = backend.learner(None)
    expected = tune(whole, codes, targets, streams, config, TuningRun(seed=5, checkpoint=states.append))
    assert len(states[4].losses) == 5
    again = backend.learner(None)
    result = tune(again, codes, targets, streams, config, TuningRun(seed=5, resume=states[4]))
    assert result == expected
    assert again.model_bytes() == whole.model_bytes()


def test_it_stops_when_time_is_up(quick_backend: Callable[..., Backend]) -> None:
    backend = quick_backend()
    run = TuningRun(deadline=time.monotonic() + 0.2)
    config = TuneConfig(1_000_000, settle_window=0)
    result = tune(backend.learner(None), *photos(backend, 2, 6), [Stream(0, 2, 2)], config, run)
    assert result.stopped == "time"
    assert result.steps > 0


@dataclass
class Scripted:
    """A learner whose losses are known."""

    losses: list[float]
    rates: list[float] = field(default_factory=list)

    def step(self, codes: Floats, targets: Targets, index: np.ndarray, learning_rate: float) -> float:
        self.rates.append(learning_rate)
        return self.losses[len(self.rates) - 1]


def run_scripted(losses: list[float], config: TuneConfig) -> tuning.Tuning:
    learner = Scripted(losses)
    return tune(learner, np.zeros((1, 1), np.float32), [], [Stream(0, 1, 1)], config, TuningRun())  # type: ignore[arg-type]


def test_it_stops_when_the_loss_has_settled() -> None:
    falling = list(np.linspace(1, 0.5, 40))
    settled = run_scripted([*falling, *[0.5] * 100], TuneConfig(140, settle_window=20))
    assert (settled.stopped, settled.steps) == ("settled", 80)
    assert run_scripted(falling, TuneConfig(40, settle_window=20)).stopped == "steps"
    assert run_scripted([1.0] * 400, TuneConfig(400, settle_window=0)).stopped == "steps"


def test_a_loss_that_explodes_is_an_error() -> None:
    with pytest.raises(NumericalError, match="finite"):
        run_scripted([1.0, float("nan")], TuneConfig(5))


def test_factors_have_their_own_learning_rate() -> None:
    learner = Scripted([1.0])
    config = TuneConfig(1, 0.5, lora_rank=1, lora_learning_rate=0.25)
    tune(learner, np.zeros((1, 1), np.float32), [], [Stream(0, 1, 1)], config, TuningRun())  # type: ignore[arg-type]
    assert learner.rates == [0.25]


def test_the_rate_falls_at_the_end_and_never_to_nothing() -> None:
    rates = [tuning._left(step / 200) for step in range(200)]
    assert rates[:150] == [1.0] * 150
    assert (np.diff(rates[152:]) < 0).all() and rates[-1] > 0.02
