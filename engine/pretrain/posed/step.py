"""One update of a 3D training run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.numerics import compute_dtype
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.photos.camera import mirror_camera
from everface.engine.pretrain.faces import Faces
from everface.engine.pretrain.posed.augment import diff_augment
from everface.engine.pretrain.posed.config import Pretrain3DConfig
from everface.engine.pretrain.posed.look import look_at
from everface.engine.pretrain.posed.networks import Networks3D
from everface.engine.pretrain.posed.poses import aligned_camera
from everface.engine.pretrain.posed.rays import training_views
from everface.engine.pretrain.posed.start import DEPTH_CHANNEL, DEPTH_UNIT, depth_planes
from everface.engine.pretrain.posed.teacher import Teacher
from everface.engine.pretrain.state import move_average
from everface.engine.pretrain.task import averaged_share, require_finite

_WARM_UP = 100


@dataclass(frozen=True, eq=False)
class PosedFaces:
    """Aligned faces with their cameras.

    Attributes:
        faces: the pictures.
        cameras: [n, 25] float32, in the order of the pictures.
        mirrored: [n, 25], those of the mirrored pictures.
        pitch: median of the heads' pitch in degrees: how the 2D base holds a head.
    """

    faces: Faces
    cameras: NDArray[np.float32]
    pitch: float
    mirrored: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        flipped = np.stack([mirror_camera(angle.astype(np.float64)) for angle in self.cameras])
        object.__setattr__(self, "mirrored", flipped.astype(np.float32))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Photos [n, 3, r, r], half of them mirrored, and their cameras [n, 25]."""
        index = rng.choice(self.faces.train, n)
        flip = rng.random(n) < 0.5
        photos = self.faces.batch(index)
        photos = torch.where(torch.from_numpy(flip)[:, None, None, None], photos.flip(3), photos)
        cameras = np.where(flip[:, None], self.mirrored[index], self.cameras[index])
        return photos, torch.from_numpy(cameras)


@dataclass(eq=False)
class PosedTask:
    """Trains a 3D base batch by batch."""

    networks: Networks3D
    teacher: Teacher
    faces: PosedFaces
    config: Pretrain3DConfig
    rng: np.random.Generator = field(init=False)
    torch: torch.Generator = field(init=False)

    def begin(self, updates: int) -> None:
        """Seeds the draws."""
        self.rng = np.random.default_rng([self.config.seed, 3, updates])
        self.torch = torch.Generator().manual_seed(int(self.rng.integers(2**31)))

    def average(self, shown: int) -> None:
        """Moves the average."""
        kept = averaged_share(shown, self.config.batch, self.config.ema_images)
        move_average(self.networks.mean_generator, self.networks.generator, kept)

    def tensors(self) -> dict[str, Tensor]:
        """The state."""
        return self.networks.trained.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse."""
        self.networks.trained.restore(tensors)

    def look(self) -> NDArray[np.uint8]:
        """Random heads from five sides, and their depth."""
        return look_at(self.networks.mean_generator, self.faces.pitch)

    def update(self, number: int) -> dict[str, float]:
        """One batch of codes: compared with the 2D base's pictures, and now and then judged from photos' cameras."""
        config, n = self.config, self.config.batch
        ws = self._codes(n)
        planes = self._planes(ws)
        ahead = torch.from_numpy(aligned_camera(0.0, self.faces.pitch)).float()
        views = self._views(planes, ahead.expand(n, -1))
        wanted = self._small(self.teacher.pictures(ws).clamp(-1, 1))
        losses = dict(zip(("distance", "squared error"), self._errors(views, wanted), strict=True))
        shape = planes.shape[-1], self.networks.generator.config.render.box_warp
        losses["depth"] = (planes[:, :, DEPTH_CHANNEL] - depth_planes(*shape)).square().mean()
        loss = config.teacher_weight * (losses["distance"] + losses["squared error"])
        loss = loss + config.depth_weight * losses["depth"]
        if config.adversarial_every and number % config.adversarial_every == 0:
            loss = loss + self._adversarial(planes, losses)
        self._step(loss, "generator", number)
        values = {name: float(value.detach()) for name, value in (losses | {"loss": loss}).items()}
        require_finite(values)
        return values

    def _adversarial(self, planes: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """Renderings from the cameras of photos must look like photos."""
        discriminator = self.networks.discriminator
        photos, cameras = self.faces.draw(self.config.batch, self.rng)
        real, made = self._small(photos), self._views(planes, cameras)
        discriminator.heads.requires_grad_(True)
        reals = discriminator(diff_augment(real, self.torch))
        fakes = discriminator(diff_augment(made.detach(), self.torch))
        judge = torch.stack([F.softplus(-x).mean() for x in reals] + [F.softplus(x).mean() for x in fakes]).sum()
        self._step(judge, "discriminator")
        discriminator.heads.requires_grad_(False)
        fooled = torch.stack([F.softplus(-x).mean() for x in discriminator(diff_augment(made, self.torch))])
        losses["discriminator"], losses["generator"] = judge / len(reals), fooled.mean()
        return fooled.sum()

    def _codes(self, n: int) -> Tensor:
        mapping = self.networks.generator.backbone.mapping
        z = torch.from_numpy(self.rng.standard_normal((n, mapping.config.z_dim), dtype=np.float32))
        with torch.no_grad():
            codes: Tensor = mapping(z)
        return codes

    def _planes(self, ws: Tensor) -> Tensor:
        generator = self.networks.generator
        drawn = synthesize(generator.backbone.synthesis.weights(), ws, dtype=compute_dtype())
        return drawn.reshape(len(drawn), 3, generator.config.features, *drawn.shape[-2:])

    def _views(self, planes: Tensor, cameras: Tensor) -> Tensor:
        return training_views(self.networks.generator, planes, cameras, self.config.rays, self.torch)

    def _small(self, pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, size=self.config.rays, mode="area")

    def _errors(self, made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        perceptual = self.networks.perceptual
        with torch.no_grad():
            features = perceptual.features(wanted)
        return perceptual.distance(perceptual.features(made), features).mean(), (made - wanted).square().mean()

    def _step(self, loss: Tensor, name: str, number: int = 0) -> None:
        optimiser = self.networks.optimisers[name]
        if name == "generator":  # Adam's first steps are as large as its rate, whatever the gradients
            optimiser.param_groups[0]["lr"] = self.config.learning_rate * min(1.0, (number + 1) / _WARM_UP)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if name == "generator":
            self._hold_density()
        optimiser.step()

    def _hold_density(self) -> None:
        """How depth becomes density stays as it was begun: otherwise matter fills the cube's front and all is flat."""
        first, _, second = self.networks.generator.decoder.net
        for value, row in ((first.weight, DEPTH_UNIT), (first.bias, DEPTH_UNIT), (second.weight, 0), (second.bias, 0)):
            if isinstance(value, Tensor) and value.grad is not None:
                value.grad[row] = 0
