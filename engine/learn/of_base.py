"""What backends of one base share: the base, the mean of its W, and the coordinates beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from everface.engine.config import EngineConfig
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import Base, load_base
from everface.engine.latents.coordinates import coordinates_from_bytes
from everface.engine.latents.model import FaceModel, Floats, GeneratorShape
from everface.engine.learn.backend import LossConfig

if TYPE_CHECKING:
    from everface.engine.generators.protocol import FaceGenerator

_MEAN_SAMPLES = 10_000  # the mean is off by one percent of a standard deviation


class BackendOfBase(ABC):
    """A base and its files.

    Args:
        config: says base, dimension, LoRA, crop and seed.
        loss: what pictures are compared by.

    Raises:
        CheckpointError: no such base, or one of the other dimension.
    """

    def __init__(self, config: EngineConfig, loss: LossConfig) -> None:
        self._config, self._loss_config = config, loss
        self.base: Base[FaceGenerator] = load_base(config.base, config.dimension)
        self._file = find_base(config.base)

    @property
    @abstractmethod
    def shape(self) -> GeneratorShape:
        """Of the base and of everything tuned from it."""

    @abstractmethod
    def model(self, content: bytes | None) -> FaceModel:
        """The generator in a model file."""

    @cached_property
    def mean(self) -> Floats:
        """Mean of W by ten thousand samples."""
        z = np.random.default_rng(0).standard_normal((_MEAN_SAMPLES, self.shape.z_dim), np.float32)
        return np.asarray(self.model(None).map(z).mean(axis=0), np.float32)

    @cached_property
    def coordinates(self) -> Floats | None:
        """Read from beside the base."""
        path = self._file.beside("coordinates")
        return None if path is None else coordinates_from_bytes(path.read_bytes(), path.name, self.base.sha256)
