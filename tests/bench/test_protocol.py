"""The experiment's bookkeeping, on a generator of 16 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from everface.bench.keeping import Keeping
from everface.bench.protocol import IDENTITY, LOSS, MethodResult, ProtocolConfig, ProtocolResult, run_protocol
from everface.bench.sequence import Batch
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.metrics.forgetting import forgetting
from everface.engine.progress import Progress

METHODS = ("lower", "er-hull", "er-rand", "upper")


def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stands in for a face network: the coarse colours."""
    return images.reshape(len(images), 4, 4, 4, 4, 3).mean((2, 4)).reshape(len(images), -1).astype(np.float32)


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """Three outings of plain colours: what one teaches is wrong for the next."""
    rng = np.random.default_rng(0)
    colours = np.array([(230, 40, 40), (40, 230, 40), (40, 40, 230)])
    found = []
    for name, colour in zip("abc", colours, strict=True):
        images = np.clip(colour + rng.normal(0, 12, (6, 16, 16, 3)), 0, 255).astype(np.uint8)
        found.append(Batch(name, images[:4], images[4:]))
    return found


@pytest.fixture(scope="module")
def config() -> ProtocolConfig:
    return ProtocolConfig(
        Keeping(3), InvertConfig(4, 0.1), TuneConfig(max_steps=7, learning_rate=0.04, settle_window=0),
        InvertConfig(3, 0.02), samples=5, seed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(backend: Backend, batches: list[Batch], config: ProtocolConfig) -> ProtocolResult:
    return run_protocol(backend, batches, METHODS, config, embed)


def test_all_methods_start_from_one_model(result: ProtocolResult) -> None:
    first = {one.matrices[LOSS][0, 0] for one in result.methods.values() if one.name != "upper"}
    assert len(first) == 1


def test_each_pair_is_measured_below_the_diagonal_and_nothing_above(result: ProtocolResult) -> None:
    for one in result.methods.values():
        for matrix in one.matrices.values():
            rows = range(2, 3) if one.name == "upper" else range(3)
            for t in range(3):
                assert np.isfinite(matrix[t, : t + 1]).all() == (t in rows)
                assert np.isnan(matrix[t, t + 1 :]).all()


def _learned(method: MethodResult) -> list[tuple[float, float]]:
    """Losses of the new photos before and after, of each timestamp that was tuned."""
    return [(float(one.before.mean()), float(one.step.after.mean())) for one in method.steps]


def test_tuning_learns_each_batch(result: ProtocolResult) -> None:
    for one in result.methods.values():
        assert all(after < before for before, after in _learned(one))


def test_without_memory_more_is_forgotten(result: ProtocolResult) -> None:
    lower, hull = result.methods["lower"], result.methods["er-hull"]
    assert lower.summary(LOSS).forgetting > 1.5 * hull.summary(LOSS).forgetting
    assert hull.summary(LOSS).forgetting == forgetting(hull.matrices[LOSS], higher_is_better=False)


def test_buffers_are_what_the_methods_say(result: ProtocolResult) -> None:
    assert [one.origins for one in result.methods["lower"].steps] == [(), (), ()]
    for name in ("er-hull", "er-rand"):
        kept = [one.origins for one in result.methods[name].steps]
        assert [len(one) for one in kept] == [3, 3, 3]
        assert {t for t, _ in kept[0]} == {0}
        assert {t for t, _ in kept[2]} == {0, 1, 2}
        assert all(0 <= index < 4 for one in kept for _, index in one)
        assert len(result.methods[name].steps[-1].memory) == 3 and result.methods[name].steps[-1].memory.bytes.min() > 0


def test_upper_bound_has_a_mean_over_all_test_sets(result: ProtocolResult) -> None:
    upper = result.methods["upper"]
    summary = upper.summary(LOSS)
    assert summary.incremental_performance == pytest.approx(upper.matrices[LOSS][-1].mean())
    assert np.isnan(summary.forgetting)


def test_same_seed_same_numbers(
    backend: Backend, batches: list[Batch], config: ProtocolConfig, result: ProtocolResult
) -> None:
    again = run_protocol(backend, batches, ("er-hull",), config, embed).methods["er-hull"]
    for metric in (LOSS, IDENTITY):
        np.testing.assert_array_equal(again.matrices[metric], result.methods["er-hull"].matrices[metric])
    assert [one.origins for one in again.steps] == [one.origins for one in result.methods["er-hull"].steps]


def test_the_base_stays_as_it_was(backend: Backend, result: ProtocolResult) -> None:
    fresh = open_backend(EngineConfig(base=backend.base.name)).base.generator.state_dict()
    assert all((value == fresh[name]).all() for name, value in backend.base.generator.state_dict().items())
    assert isinstance(result.methods["lower"], MethodResult)
    assert result.base.losses[:2].mean() == pytest.approx(result.base.means[LOSS][0])
    assert result.base.means[LOSS].shape == result.base.means[IDENTITY].shape == (3,)


def test_progress_covers_the_experiment_once(backend: Backend, batches: list[Batch], config: ProtocolConfig) -> None:
    heard: list[Progress] = []
    short = replace(config, tune=replace(config.tune, max_steps=2))
    run_protocol(backend, batches, ("lower", "upper"), short, embed, heard.append)
    for stage in ("invert", "tune"):
        mine = [one for one in heard if one.stage == stage]
        assert [one.done for one in mine] == sorted(one.done for one in mine)
        assert mine[-1].done == mine[-1].total == mine[0].total


def test_wrong_use_is_refused(backend: Backend, batches: list[Batch], config: ProtocolConfig) -> None:
    with pytest.raises(UsageError, match="at least two timestamps"):
        run_protocol(backend, batches[:1], METHODS, config, embed)
    with pytest.raises(UsageError, match="policy"):
        run_protocol(backend, batches, ("er-hall",), config, embed)
    with pytest.raises(UsageError, match="a method"):
        run_protocol(backend, batches, (), config, embed)
    with pytest.raises(UsageError, match="neither"):
        Keeping(None, None)
