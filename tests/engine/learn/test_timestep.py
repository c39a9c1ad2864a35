"""The one loop: it learns, remembers, chooses, goes on where it stopped, and changes nothing that it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.learn import tuning
from everface.engine.learn.backend import Backend
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import Checkpoint, LearnRun, LearnSettings, Memory, NewPhotos, Step

TUNE = TuneConfig(40, 1e-2, settle_window=0)
SETTINGS = LearnSettings("er-hull", TUNE, InvertConfig(3), count=2)


def photos(n: int, seed: int) -> NewPhotos:
    """Pictures of coarse squares about one colour, which is a look."""
    rng = np.random.default_rng(seed)
    squares = np.clip(rng.integers(40, 216, 3) + rng.integers(-40, 40, (n, 4, 4, 3)), 0, 255).astype(np.uint8)
    return NewPhotos(squares.repeat(4, 1).repeat(4, 2), np.zeros((n, 0)), np.full(n, 100))


def memory_of(new: NewPhotos, step: Step, rows: list[int]) -> Memory:
    return Memory(
        1, new.images[rows], step.anchors.codes[rows], np.zeros(len(rows), np.int64), new.bytes[rows],
        step.spread[rows], step.after[rows], (step.anchors.codes,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


@pytest.fixture(scope="module")
def first(backend: Backend) -> Step:
    return learn(backend, None, photos(4, 0), Memory.empty(backend.shape), SETTINGS)


def test_it_anchors_learns_and_chooses(backend: Backend, first: Step) -> None:
    assert first.anchors.codes.shape == (4, 32)
    np.testing.assert_allclose(first.before, first.anchors.losses, rtol=1e-6)
    assert first.after.mean() < 0.8 * first.before.mean()
    assert (len(first.kept_old), len(first.kept_new), len(first.remembered)) == (0, 2, 0)
    assert (first.tuning.steps, first.tuning.stopped, first.resumed_at) == (40, "steps", 0)
    measured = backend.model(first.model).losses(first.anchors.codes, backend.prepare(photos(4, 0).images))
    np.testing.assert_array_equal(first.after, measured)


def test_the_memory_is_what_keeps_the_past(backend: Backend, first: Step) -> None:
    old = photos(4, 0)
    targets = backend.prepare(old.images)

    def loss_of_the_past(memory: Memory, settings: LearnSettings = SETTINGS) -> float:
        step = learn(backend, first.model, photos(4, 1), memory, settings)
        return float(backend.model(step.model).losses(first.anchors.codes, targets).mean())

    nothing = Memory.empty(backend.shape, 1)
    forgotten = loss_of_the_past(nothing)
    assert loss_of_the_past(memory_of(old, first, [0, 1, 2, 3])) < 0.7 * forgotten
    codes = replace(SETTINGS, tune=replace(TUNE, distil_codes=4))
    assert loss_of_the_past(replace(nothing, anchors=(first.anchors.codes,)), codes) < 0.7 * forgotten


def test_equal_arguments_give_equal_steps_and_stay_as_they_are(backend: Backend, first: Step) -> None:
    new, memory = photos(3, 2), memory_of(photos(4, 0), first, [1, 2])
    before = new.images.copy(), memory.codes.copy()
    one, two = (learn(backend, first.model, new, memory, SETTINGS) for _ in range(2))
    assert one.model == two.model and np.array_equal(one.kept_new, two.kept_new)
    assert np.array_equal(new.images, before[0]) and np.array_equal(memory.codes, before[1])
    assert len(one.kept_old) + len(one.kept_new) == 2 and len(one.remembered) == 2


def test_photos_that_the_model_knows_are_measured_and_chosen_alone(backend: Backend, first: Step) -> None:
    new = replace(photos(4, 0), anchors=first.anchors)
    step = learn(backend, first.model, new, Memory.empty(backend.shape), replace(SETTINGS, tune=None))
    assert step.model == first.model and step.tuning.steps == 0
    assert np.array_equal(step.before, step.after)
    assert np.array_equal(step.kept_new, first.kept_new)


def test_anew_learns_everything_from_the_base(backend: Backend, first: Step) -> None:
    memory = memory_of(photos(4, 0), first, [0, 1, 2, 3])
    step = learn(backend, first.model, photos(4, 1), memory, replace(SETTINGS, anew=True, policy="upper", count=99))
    assert step.tuning.steps == 80 and step.anew
    assert len(step.kept_old) == len(step.kept_new) == 4
    assert step.remembered.mean() < first.before.mean()


@pytest.mark.parametrize("limits", [{"room_bytes": 350, "count": None}, {"room_bytes": 10_000, "count": 3}])
def test_bytes_and_counts_are_kept_to(backend: Backend, first: Step, limits: dict[str, int]) -> None:
    memory = memory_of(photos(4, 0), first, [0, 3])
    step = learn(backend, first.model, photos(4, 1), memory, replace(SETTINGS, **limits))
    assert len(step.kept_old) + len(step.kept_new) == 3


def test_losses_may_say_what_is_replayed(backend: Backend, first: Step) -> None:
    memory = memory_of(photos(4, 0), first, [0, 1, 2, 3])
    memory = replace(memory, losses=np.array([0, 0, 0, 1], np.float32))
    alike, by_loss = (
        learn(backend, first.model, photos(4, 1), memory, replace(SETTINGS, by_loss=flag)) for flag in (False, True)
    )
    assert by_loss.remembered[3] < alike.remembered[3]
    assert by_loss.remembered[:3].mean() > alike.remembered[:3].mean()


def test_an_interrupted_timestep_goes_on_to_the_same_model(
    backend: Backend, first: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_CHECKPOINT_SECONDS", -1.0)
    saved: list[Checkpoint] = []
    memory = memory_of(photos(4, 0), first, [0, 1])
    expected = learn(backend, first.model, photos(3, 1), memory, SETTINGS, LearnRun(checkpoint=saved.append))
    assert saved[0].tuning is None and len(saved) == 41
    for checkpoint, steps in ((saved[0], 0), (saved[7], 7)):
        again = learn(backend, first.model, photos(3, 1), memory, SETTINGS, LearnRun(resume=checkpoint))
        assert again.model == expected.model and again.resumed_at == steps


def test_what_does_not_fit_is_refused(backend: Backend) -> None:
    with pytest.raises(UsageError, match="allowance"):
        learn(backend, None, photos(1, 0), Memory.empty(backend.shape), replace(SETTINGS, count=None))
    with pytest.raises(UsageError, match="policy"):
        learn(backend, None, photos(1, 0), Memory.empty(backend.shape), replace(SETTINGS, policy="best"))
