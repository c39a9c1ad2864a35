import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.metrics.reconstruction import mean_squared_error, psnr


def test_mse_and_psnr_by_hand():
    a = np.zeros((2, 4, 4, 3))
    b = np.stack([np.full((4, 4, 3), 0.2), np.zeros((4, 4, 3))])
    assert mean_squared_error(a, b) == pytest.approx([0.04, 0])
    assert psnr(a, b)[0] == pytest.approx(20.0)  # 10 log10(4 / 0.04)
    assert psnr(a, b)[1] == np.inf


def test_bytes_and_floats_agree():
    raw = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    assert mean_squared_error(raw, raw / 127.5 - 1) == pytest.approx([0], abs=1e-12)
    # A step of one grey level everywhere: PSNR = 20 log10(255).
    low, high = np.full_like(raw, 100), np.full_like(raw, 101)
    assert psnr(low, high) == pytest.approx([20 * np.log10(255)])


@pytest.mark.parametrize(
    ("images", "targets"),
    [
        (np.zeros((1, 4, 4, 3)), np.zeros((2, 4, 4, 3))),
        (np.zeros((4, 4, 3)), np.zeros((4, 4, 3))),
        (np.zeros((0, 4, 4, 3)), np.zeros((0, 4, 4, 3))),
        (np.zeros((1, 4, 4, 3), np.int64), np.zeros((1, 4, 4, 3), np.int64)),
        (np.full((1, 4, 4, 3), np.nan), np.zeros((1, 4, 4, 3))),
    ],
)
def test_other_arrays_are_refused(images, targets):
    with pytest.raises(UsageError):
        psnr(images, targets)
