import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.metrics.forgetting import (
    average_performance,
    forgetting,
    forgetting_summary,
    incremental_performance,
)

NAN = float("nan")
# Distances (lower is better) of models 0, 1, 2 on test sets 0, 1, 2; above the diagonal is junk that must not count.
MATRIX = [[0.2, 9.0, 9.0], [0.5, 0.3, 9.0], [0.4, 0.7, 0.1]]


def test_average_performance_by_hand():
    assert average_performance(MATRIX) == pytest.approx([0.2, (0.5 + 0.3) / 2, (0.4 + 0.7 + 0.1) / 3])


def test_incremental_performance_by_hand():
    assert incremental_performance(MATRIX) == pytest.approx((0.2 + 0.4 + 0.4) / 3)


def test_forgetting_of_a_distance_by_hand():
    # k = 0: max(0.4 - 0.2, 0.4 - 0.5) = 0.2; k = 1: 0.7 - 0.3 = 0.4.
    assert forgetting(MATRIX, higher_is_better=False) == pytest.approx((0.2 + 0.4) / 2)


def test_forgetting_of_a_similarity_by_hand():
    # k = 0: max(0.2 - 0.4, 0.5 - 0.4) = 0.1; k = 1: 0.3 - 0.7 = -0.4.
    assert forgetting(MATRIX, higher_is_better=True) == pytest.approx((0.1 - 0.4) / 2)


def test_signs_mirror():
    rng = np.random.default_rng(0)
    m = rng.normal(size=(6, 6))
    assert forgetting(m, higher_is_better=True) == pytest.approx(forgetting(-m, higher_is_better=False))


def test_one_timestamp_forgets_nothing_known():
    summary = forgetting_summary([[0.3]], higher_is_better=False)
    assert summary.average_performance == (0.3,)
    assert summary.incremental_performance == pytest.approx(0.3)
    assert np.isnan(summary.forgetting)


def test_an_unmeasured_test_set_is_left_out():
    m = [[NAN, 0, 0], [NAN, 0.3, 0], [NAN, 0.7, 0.1]]
    ap = average_performance(m)
    assert np.isnan(ap[0])
    assert ap[1:] == pytest.approx([0.3, 0.4])
    assert incremental_performance(m) == pytest.approx(0.35)
    assert forgetting(m, higher_is_better=False) == pytest.approx(0.4)


def test_the_argument_is_not_mutated():
    m = np.array(MATRIX)
    forgetting(m, higher_is_better=False)
    assert (m == np.array(MATRIX)).all()


@pytest.mark.parametrize(
    ("matrix", "printed"),
    [
        ([[0.1, 0.2]], "square array [T, T], found shape (1, 2)"),
        ([], "square"),
        ([["a"]], "square array of numbers"),
        ([[0.1, 0], [NAN, 0.2]], "matrix[1, 0]: expected every model from 0 on measured on test set 0"),
        ([[0.1, 0], [float("inf"), 0.2]], "finite"),
    ],
)
def test_bad_matrices_are_named(matrix, printed):
    with pytest.raises(UsageError) as caught:
        forgetting(matrix, higher_is_better=False)
    assert printed in str(caught.value)
