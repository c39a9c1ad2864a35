"""Options and results of projections."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.ops.hull.types import ProjectOptions, SparseWeights, thread_count


@pytest.mark.parametrize(("name", "value"), [("tolerance", 0.0), ("weights", "some"), ("threads", -1)])
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(UsageError, match=rf"^{name}"):
        ProjectOptions(**{name: value})


def test_the_usual_gap_depends_on_the_type():
    assert ProjectOptions().gap(np.dtype(np.float32)) == 1e-5
    assert ProjectOptions().gap(np.dtype(np.float64)) == 1e-8
    assert ProjectOptions(tolerance=0.1).gap(np.dtype(np.float64)) == 0.1


def test_sparse_weights_become_dense():
    sparse = SparseWeights(np.array([0, 2, 2]), np.array([1, 0], np.int32), np.array([0.25, 1.0]))
    np.testing.assert_array_equal(sparse.dense(3, 0.5), [[0.5, -0.25, -0.5], [-0.5, -0.5, -0.5]])


def test_threads_are_those_asked_for_or_all():
    assert thread_count(3) == 3
    assert thread_count(0) >= 1


def test_hull_geometry_needs_no_torch():
    program = (
        "import sys; import everface.engine.ops.hull.projection, everface.engine.ops.hull.scores;"
        "raise SystemExit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
