"""Anchors of an export."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.export.model import Anchors


def test_timestamps_are_joined_in_order() -> None:
    groups = [np.full((n, 3), n, np.float32) for n in (2, 1)]
    anchors = Anchors.joined(groups, 3)
    assert len(anchors) == 3 and anchors.groups == (2, 1)
    np.testing.assert_array_equal(anchors.codes, np.concatenate(groups))
    mean = np.ones(3, np.float32)
    np.testing.assert_allclose(anchors.truncated(mean, 0.5), 1 + 0.5 * (anchors.codes - 1))
    np.testing.assert_array_equal(anchors.truncated(mean, 0.0), np.ones((3, 3)))


def test_nobody_and_others_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one W code"):
        Anchors.joined([], 3).require()
    for wrong, told in ((np.zeros((1, 4)), "shape"), (np.zeros(3), "shape"), (np.full((1, 3), np.inf), "NaN")):
        with pytest.raises(UsageError, match=told):
            Anchors.joined([wrong.astype(np.float32)], 3)
