"""Backends of one base agree on what belongs to the base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.config import EngineConfig
from everface.engine.errors import CheckpointError
from everface.engine.learn.backend import LossConfig
from everface.engine.learn.native_backend import NativeBackend
from everface.engine.learn.of_base import BackendOfBase
from everface.engine.learn.torch_backend import TorchBackend


def test_mean_and_coordinates_are_the_bases(tiny_base: Path) -> None:
    backends: list[BackendOfBase] = [
        kind(EngineConfig(str(tiny_base)), LossConfig()) for kind in (NativeBackend, TorchBackend)
    ]
    np.testing.assert_allclose(backends[0].mean, backends[1].mean, atol=1e-5)
    assert backends[0].shape == backends[1].shape
    assert [backend.coordinates for backend in backends] == [None, None]
    embedded = NativeBackend(EngineConfig(), LossConfig()).coordinates
    assert embedded is not None and embedded.shape == (512, 512)


def test_another_dimension_is_refused(tiny_3d: Path) -> None:
    with pytest.raises(CheckpointError, match="--dimension 3d"):
        NativeBackend(EngineConfig(str(tiny_3d)), LossConfig())
