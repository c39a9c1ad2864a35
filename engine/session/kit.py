"""The networks that an engine works with, each loaded when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.config import EngineConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import Base, generator_from_bytes, load_base
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import LoRAConfig, is_lora
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.curvature import coordinates_from_bytes
from everface.engine.latents.directions import Direction, directions_from_bytes
from everface.engine.latents.encoder import Encoder, encoder_from_bytes
from everface.engine.latents.space import WStatistics, w_statistics
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.photos import FaceModels
from everface.engine.photos.camera import orbit

__all__ = ["Kit", "to_images", "to_tensor"]


class Kit:
    """Lazy networks of one configuration."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    @property
    def is_3d(self) -> bool:
        """Whether codes carry cameras."""
        return self.config.dimension == "3d"

    @cached_property
    def source(self) -> Base[FaceGenerator]:
        """The base generator, of either dimension."""
        base = load_base(self.config.base, self.config.dimension)
        if not self.is_3d and (labels := base.metadata.get("c_dim", "0")) != "0":
            remedy = "choose a base that was trained without labels"
            raise CheckpointError(f"base {base.name}", expected="no labels", found=labels, remedy=remedy)
        return base

    @property
    def base(self) -> Base[Generator]:
        """The base generator of a 2D workspace.

        Raises:
            UsageError: the workspace is a 3D one.
        """
        if self.is_3d:
            remedy = "use a 2D workspace for this; `view` and `generate --yaw` are for 3D ones"
            raise UsageError("workspace", expected="dimension 2d", found="3d", remedy=remedy)
        return cast(Base[Generator], self.source)

    @cached_property
    def w(self) -> WStatistics:
        """Mean and covariance of the base's W; of a 3D base that is told the camera, that of a frontal one."""
        return w_statistics(self.source.generator, camera=torch.from_numpy(orbit(0.0)).float())

    @cached_property
    def encoder(self) -> Encoder | None:
        """From a photo to W, where the base has one: ``NAME-encoder.safetensors`` beside it."""
        path = find_base(self.config.base).beside("encoder")
        return None if path is None else encoder_from_bytes(path.read_bytes(), path.name)

    @cached_property
    def coordinates(self) -> Tensor | None:
        """In which a search in W takes even steps: ``NAME-coordinates.safetensors`` beside the base."""
        path = find_base(self.config.base).beside("coordinates")
        return None if path is None else coordinates_from_bytes(path.read_bytes(), path.name, self.source.sha256)

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """Ways to edit that were measured on the base: ``NAME-directions.safetensors`` beside it."""
        path = find_base(self.config.base).beside("directions")
        return () if path is None else directions_from_bytes(path.read_bytes(), path.name, self.source.sha256)

    @cached_property
    def loss(self) -> ReconstructionLoss:
        """What inversion and tuning minimise."""
        return ReconstructionLoss(PerceptualDistance.load(), self.config.tune.mse_weight)

    @cached_property
    def identity(self) -> IdentityEmbedder:
        """Who is in a picture."""
        return IdentityEmbedder.load(self.config.photo.crop_scale)

    @cached_property
    def faces(self) -> FaceModels:
        """Detectors and landmarks."""
        return FaceModels.load()

    @property
    def resolution(self) -> int:
        """Side of the base's images in pixels."""
        return self.source.generator.resolution

    def fresh(self) -> FaceGenerator:
        """A copy of the base, to be tuned."""
        return self.source.generator.copy()

    def fresh_generator(self) -> Generator:
        """A copy of the base of a 2D workspace, to be tuned."""
        return self.base.generator.copy()

    def codes(self, ws: Tensor, cameras: NDArray[np.floating]) -> Tensor:
        """What the generator takes: styles [n, d], in 3D with their cameras [n, 25], which are unused in 2D."""
        return self.source.generator.pose(ws, torch.from_numpy(np.asarray(cameras, np.float32)))

    def generator(self, data: bytes | None) -> FaceGenerator:
        """The generator in the bytes of a model file, whole or a LoRA delta; a copy of the base for None.

        Raises:
            CheckpointError: the bytes are not a generator, or one that was tuned from another base.
        """
        if data is None:
            return self.fresh()
        if is_lora(data):
            adapted = self.fresh()
            self._lora_of(data).merge(adapted)
            return adapted
        generator, metadata = generator_from_bytes(data, "model")
        if metadata.get("base_sha256") != self.source.sha256:
            remedy = "restore the base file that the workspace was made with"
            expected = f"SHA-256 {metadata.get('base_sha256', 'unknown')[:12]}"
            raise CheckpointError(
                f"base {self.source.name}", expected=expected, found=self.source.sha256[:12], remedy=remedy
            )
        return generator

    def lora(self, data: bytes | None) -> LoRA:
        """The factors in a model file, to be tuned further; those that change nothing for None.

        Raises:
            CheckpointError: the model is not a LoRA, or one of another base.
        """
        if data is not None:
            return self._lora_of(data)
        tune = self.config.tune
        config = LoRAConfig(tune.lora_rank, tune.lora_alpha)
        return LoRA.create(self.source.generator, config, self.config.seed)

    def _lora_of(self, data: bytes) -> LoRA:
        return LoRA.from_bytes(data, self.source.generator, self.source.sha256)

    @torch.no_grad()
    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Identity descriptors [n, 128] of aligned crops uint8 [n, R, R, 3]."""
        chunks = [self.identity(to_tensor(images[i : i + 16])) for i in range(0, len(images), 16)]
        return torch.cat(chunks).numpy() if chunks else np.zeros((0, 128), np.float32)


def to_tensor(images: NDArray[np.uint8]) -> Float[Tensor, "n 3 r r"]:
    """uint8 [n, r, r, 3] to float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(tensor: Float[Tensor, "n 3 r r"]) -> NDArray[np.uint8]:
    """Images about [-1, 1] to uint8 [n, r, r, 3], rounded to nearest."""
    scaled = (tensor.detach().float().clamp(-1, 1) + 1) * 127.5
    return np.asarray((scaled + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
