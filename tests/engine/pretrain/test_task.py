"""What the tasks on photos share."""

from __future__ import annotations

import pytest

from everface.engine.pretrain.task import averaged_share


def test_averages_forget_faster_at_the_start() -> None:
    assert averaged_share(100, 16, 3000) == pytest.approx(0.5 ** (16 / 375))
    assert averaged_share(10**6, 3000, 3000) == pytest.approx(0.5)
