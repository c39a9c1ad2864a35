"""Comparison of a graph with the engine: every input once at least, the worst difference, and no pictures of NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from everface.engine.errors import ExportError
from everface.export.parity import Case, Feeds, compare
from everface.export.recipe import Tolerance

RNG = np.random.default_rng(0)
FEEDS: Feeds = {"x": RNG.standard_normal((10, 3, 4, 4), dtype=np.float32)}


def judge(got: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    return float(np.abs(got - wanted).max()), 0.0


def case(images: bool = True) -> Case:
    return Case("g", FEEDS, {"scale": np.float32([2.0])}, lambda feeds: feeds["x"] * 2, images)


def test_batches_of_all_sizes_and_the_worst_difference() -> None:
    seen: list[int] = []

    def run(feeds: Feeds) -> np.ndarray:
        seen.append(len(feeds["x"]))
        return feeds["x"] * feeds["scale"] + np.float32(0.25)

    parity = compare(case(), "runtime", run, Tolerance(max_error=0.5), judge)
    assert set(seen) == {1, 3, 8}
    assert parity.max_error == pytest.approx(0.25, abs=1e-6)
    assert parity.passed


def test_other_answers_are_refused_or_fail() -> None:
    with pytest.raises(ExportError, match="float64"):
        compare(case(), "runtime", lambda feeds: feeds["x"].astype(np.float64), Tolerance(), judge)
    nothing = compare(case(), "runtime", lambda feeds: feeds["x"] * np.float32("nan"), Tolerance(max_error=1), judge)
    assert math.isnan(nothing.perceptual or 0.0)
    assert not nothing.passed
