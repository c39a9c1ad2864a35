"""The independent perceptual distance."""

from __future__ import annotations

import numpy as np
import pytest

from everface.bench import features
from everface.engine.errors import MissingBackendError, UsageError


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "PACKAGES", ("no_such_network",))
    assert features.missing_packages() == ("no-such-network",)
    with pytest.raises(MissingBackendError, match=r"everface\[bench\]"):
        features.IndependentDistance()


@pytest.mark.skipif(bool(features.missing_packages()), reason=f"not installed: {features.missing_packages()}")
def test_more_damage_is_farther() -> None:
    distance = features.IndependentDistance()
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (2, 8, 8, 3))
    images = coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8)
    noise = rng.normal(0, 1, images.shape)
    damaged = [np.clip(images + level * noise, 0, 255).astype(np.uint8) for level in (0, 5, 40)]
    none, little, much = (distance(one, images) for one in damaged)
    np.testing.assert_allclose(none, 0, atol=1e-6)
    assert (little > 0).all() and (2 * little < much).all() and (much < 4).all()
    np.testing.assert_allclose(distance(damaged[2][:1], images[:1]), much[:1], rtol=1e-4)
    with pytest.raises(UsageError):
        distance(images[:1], images)
