"""What tasks share."""

from __future__ import annotations

import pytest

from everface.engine.errors import NumericalError
from everface.engine.pretrain.task import averaged_share, require_finite


def test_averages_forget_faster_at_the_start() -> None:
    assert averaged_share(100, 16, 3000) == pytest.approx(0.5 ** (16 / 375))
    assert averaged_share(10**6, 3000, 3000) == pytest.approx(0.5)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    with pytest.raises(NumericalError, match="learning rate"):
        require_finite({"loss": float("nan")})
