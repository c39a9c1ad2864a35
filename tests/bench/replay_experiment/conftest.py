"""A person of plain colours, and a lab on a generator of 16 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from everface.bench.replay_experiment.cells import Lab
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.people import Person
from everface.engine.config import InvertConfig, TuneConfig

COLOURS = np.array([(230, 40, 40), (40, 230, 40), (40, 40, 230)])


def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stands in for a face network: the coarse colours."""
    return images.reshape(len(images), 4, 4, 4, 4, 3).mean((2, 4)).reshape(len(images), -1).astype(np.float32)


@pytest.fixture(scope="session")
def person() -> Person:
    """Three looks of eight photos, mixed: what one teaches is wrong for the others."""
    rng = np.random.default_rng(0)
    look = np.repeat(np.arange(3), 8)[rng.permutation(24)]
    images = np.clip(COLOURS[look][:, None, None] + rng.normal(0, 12, (24, 16, 16, 3)), 0, 255).astype(np.uint8)
    pose = np.array([(-20.0, 0.0), (0.0, 10.0), (20.0, 0.0)])[look] + rng.normal(0, 1, (24, 2))
    return Person("someone", images, pose, np.zeros((24, 25)))


@pytest.fixture(scope="session")
def settings(tiny_base: Path) -> Settings:
    return Settings(
        str(tiny_base), "2d", 3, 4, 2, 16, InvertConfig(4, 0.1),
        TuneConfig(max_steps=7, learning_rate=0.04, settle_window=0), evaluate=InvertConfig(3, 0.02), samples=4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def lab(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab(settings, None, tmp_path_factory.mktemp("lab"))
    made.__dict__.update(judge=("coarse", embed), distance=None)
    return made
