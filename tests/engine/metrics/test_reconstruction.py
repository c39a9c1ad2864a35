import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.metrics.reconstruction import mean_squared_error, psnr, ssim


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


def test_ssim_of_constant_images_by_hand():
    # No variance: only the luminance term (2 x y + c1) / (x^2 + y^2 + c1) is left.
    x, y = np.full((1, 16, 16, 3), 100, np.uint8), np.full((1, 16, 16, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(x, y) == pytest.approx([(2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)])


def test_ssim_of_equal_and_inverted_noise():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 24, 24, 3))
    assert ssim(x, x) == pytest.approx([1, 1])
    assert (ssim(x, -x) < -0.5).all()


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


def test_ssim_needs_its_window():
    with pytest.raises(UsageError, match="11 x 11"):
        ssim(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)))
