"""Whatever array reaches the learning core's bindings is taken for what it is, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from everface import _native
from everface.engine.assets import asset_path
from everface.engine.generators.bases import load_base

SIDE, W, STYLES = 16, 32, 6  # of the tiny base
QUIET = settings(max_examples=150, deadline=None, derandomize=True)

shapes = st.one_of(
    st.lists(st.integers(0, 5), max_size=5).map(tuple),
    st.sampled_from(
        [(2, W), (2, STYLES, W), (2, SIDE, SIDE, 3), (2, SIDE, SIDE, 4), (2, 8, 8, 3), (1, 0, 0, 3), (0, W)]
    ),
)
types = st.sampled_from([np.float32, np.float32, np.float64, np.float16, np.int64, np.uint8])


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    array = np.full(draw(shapes), draw(st.sampled_from([0.0, 1.0, 200.0])), draw(types))
    if np.issubdtype(array.dtype, np.floating) and draw(st.booleans()):
        array[...] = draw(st.sampled_from([np.nan, np.inf, 3e38 if array.dtype != np.float16 else 6e4]))
    form = draw(st.sampled_from(["whole", "whole", "stepped", "turned", "frozen", "swapped"]))
    if form == "stepped":
        return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    if form == "turned":
        return array.T
    if form == "swapped":
        return array.astype(array.dtype.newbyteorder())
    array.flags.writeable = form != "frozen"
    return array


indices = st.one_of(
    st.none(),
    arrays(),
    st.lists(st.sampled_from([0, 1, 1, 2, -1, 2**40, -(2**63)]), max_size=4).map(lambda rows: np.array(rows, np.int64)),
)


class Subject:
    """A learner of the tiny base, a loss and two photos."""

    def __init__(self, base: Path) -> None:
        stored = load_file(asset_path("perceptual.safetensors"))
        weights = {name: array.astype(np.float32) for name, array in stored.items()}
        self.loss = _native.ReconstructionLoss(weights, 32, 1.0, False)
        self.targets = self.loss.prepare(np.zeros((2, SIDE, SIDE, 3), np.float32))
        self.weights = {
            name.removeprefix("synthesis."): array
            for name, array in load_base(str(base)).weights.arrays.items()
            if name.startswith("synthesis.")
        }
        self.learner = _native.Learner(self.weights, {}, 1.0, 256.0, self.loss)


@pytest.fixture(scope="module")
def subject(tiny_base: Path) -> Subject:
    return Subject(tiny_base)


def outcome(call: Any, *arguments: Any) -> Any:
    """What it gives, or None where it refuses with a sentence."""
    try:
        return call(*arguments)
    except (ValueError, TypeError) as error:
        assert str(error)
        return None


def fits(codes: NDArray[Any]) -> bool:
    shape = codes.shape[1:] in ((W,), (STYLES, W)) and codes.ndim > 1
    return shape and codes.dtype == np.float32 and codes.dtype.isnative and codes.flags.c_contiguous


@QUIET
@given(codes=arrays(), index=indices, gradient=arrays())
def test_codes(subject: Subject, codes: NDArray[Any], index: NDArray[Any] | None, gradient: NDArray[Any]) -> None:
    pictures = outcome(subject.learner.render, codes)
    assert (pictures is not None) == (fits(codes) or (codes.size == 0 and pictures is not None))
    if pictures is not None:
        assert pictures.shape == (len(codes), SIDE, SIDE, 3)
    losses = outcome(subject.learner.losses, codes, subject.targets, index)
    slopes = outcome(subject.learner.loss_and_gradient, codes, subject.targets, index)
    assert (losses is None) == (slopes is None)
    if losses is not None and slopes is not None:
        assert losses.shape == slopes[0].shape and slopes[1].shape[1:] == codes.shape[1:]
    pulled = outcome(subject.learner.pull_back, codes, gradient)
    assert pulled is None or pulled.shape == codes.shape


@QUIET
@given(images=arrays(), index=indices)
def test_pictures(subject: Subject, images: NDArray[Any], index: NDArray[Any] | None) -> None:
    targets = outcome(subject.loss.prepare, images)
    assert targets is None or (len(targets) == len(images) and targets.resolution == images.shape[1])
    result = outcome(subject.loss, images, subject.targets, index, True)
    assert result is None or result[1].shape == images.shape


@QUIET
@given(values=arrays(), steps=st.integers(-(2**63), 2**63 - 1))
def test_states(subject: Subject, values: NDArray[Any], steps: int) -> None:
    state = subject.learner.state()
    assert outcome(subject.learner.restore, values, state["mean"], state["square"], steps) is None
    np.testing.assert_array_equal(subject.learner.state()["values"], state["values"])


@QUIET
@given(data=st.data(), array=arrays())
def test_weights(subject: Subject, data: st.DataObject, array: NDArray[Any]) -> None:
    name = data.draw(st.sampled_from(sorted(subject.learner.weights())))
    if array.shape == subject.weights[name].shape:
        return
    with pytest.raises(ValueError, match=r"."):
        _native.Learner(subject.weights | {name: array}, {}, 1.0, 256.0, subject.loss)
    with pytest.raises(ValueError, match=r"."):
        _native.Learner(subject.weights, {f"{name}.up": array, f"{name}.down": array}, 1.0, 256.0, subject.loss)
    with pytest.raises(ValueError, match=r"encoder|stem"):
        _native.Encoder({"stem.weight": array})
