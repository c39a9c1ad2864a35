import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.metrics.identity import best_cosines, mean_best_cosine

REFERENCES = np.array([[1.0, 0.0], [0.0, 2.0]])


def test_by_hand():
    samples = np.array([[3.0, 4.0], [-1.0, 0.0]])
    assert best_cosines(samples, REFERENCES) == pytest.approx([0.8, 0.0])
    assert mean_best_cosine(samples, REFERENCES) == pytest.approx(0.4)


def test_lengths_do_not_matter():
    samples = np.random.default_rng(0).normal(size=(5, 2))
    assert best_cosines(7 * samples, REFERENCES) == pytest.approx(best_cosines(samples, REFERENCES))


@pytest.mark.parametrize(
    ("samples", "printed"),
    [
        (np.zeros((0, 2)), "not empty"),
        (np.zeros(2), "shape [n, d]"),
        (np.array([[0.0, 0.0]]), "not zero"),
        (np.array([[np.nan, 1.0]]), "finite"),
        (np.ones((1, 3)), "one length"),
    ],
)
def test_other_embeddings_are_refused(samples, printed):
    with pytest.raises(UsageError) as caught:
        best_cosines(samples, REFERENCES)
    assert printed in str(caught.value)
