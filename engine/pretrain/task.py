"""What the tasks share that train a base's networks on photos: state, averages and the picture of progress."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.evaluate import sample_grid
from everface.engine.pretrain.faces import TrainingFaces
from everface.engine.pretrain.networks import Networks


def averaged_share(shown: int, pictures: int, half_life: int) -> float:
    """What averages keep of themselves after an update; the half-life grows with the run, as in StyleGAN2.

    Args:
        shown: pictures so far.
        pictures: of the update.
        half_life: in pictures, at the end.
    """
    return float(0.5 ** (pictures / min(half_life, max(half_life / 8, shown / 10))))


@dataclass(eq=False)
class PhotoTask:
    """A task on photos; what a subclass adds is its update."""

    networks: Networks
    faces: TrainingFaces
    config: PretrainConfig
    team: Team
    rng: np.random.Generator = field(init=False)

    def begin(self, updates: int, _shown: int) -> None:
        """Seeds the draws."""
        self.rng = np.random.default_rng([self.config.seed, self.team.rank, updates])

    def normal(self, n: int, dim: int) -> Tensor:
        """Standard normal numbers [n, dim]."""
        return torch.from_numpy(self.rng.standard_normal((n, dim), dtype=np.float32)).to(self.team.device)

    def average(self, shown: int) -> None:
        """Moves the averages."""
        self.networks.average(averaged_share(shown, self.config.batch * self.team.size, self.config.ema_images))

    def tensors(self) -> dict[str, Tensor]:
        """The state."""
        return self.networks.trained.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse."""
        self.networks.trained.restore(tensors)

    def look(self) -> NDArray[np.uint8]:
        """Samples, held-out photos, and their reconstructions."""
        return sample_grid(self.networks.mean_generator, self.networks.mean_encoder, self.faces.first)
