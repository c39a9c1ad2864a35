"""The backend that computes in native code on the CPU, without PyTorch: 2D; see ``.backend`` for the contract."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from everface import _native
from everface.engine.assets import asset_path
from everface.engine.generators.lora_weights import LoRAConfig, LoRAWeights
from everface.engine.generators.personal import personal_weights
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.encoder_native import NativeEncoder
from everface.engine.latents.model import Floats, GeneratorShape, Targets
from everface.engine.learn.native_model import NativeLearner, NativeModel
from everface.engine.learn.native_targets import NativeTargets
from everface.engine.learn.of_base import BackendOfBase
from everface.engine.perception.identity_onnx import OnnxIdentity

if TYPE_CHECKING:
    pass


class NativeBackend(BackendOfBase):
    """Native code on one 2D base.

    Args:
        config: says base, LoRA, crop and seed.
        loss: what pictures are compared by.

    Raises:
        CheckpointError: no such base, or a 3D one.
    """

    name = "native"

    @property
    def shape(self) -> GeneratorShape:
        """Its sizes."""
        config = self.base.weights.config
        return GeneratorShape(config.resolution, config.num_ws, config.w_dim, config.z_dim)

    @cached_property
    def loss(self) -> _native.ReconstructionLoss:
        """What inversion and tuning minimise; in bfloat16 where the processor multiplies it."""
        stored = load_file(asset_path("perceptual.safetensors"))
        weights = {name: array.astype(np.float32) for name, array in stored.items()}
        settings = self._loss_config
        return _native.ReconstructionLoss(weights, settings.side, settings.mse_weight, _native.fast_bf16())

    @cached_property
    def _base_model(self) -> NativeModel:
        return NativeModel(self.base.weights, self.loss)

    def model(self, content: bytes | None) -> NativeModel:
        """The generator in a model file."""
        return self._base_model if content is None else NativeModel(personal_weights(self.base, content), self.loss)

    def learner(self, content: bytes | None) -> NativeLearner:
        """What is tuned from a model file on."""
        tune, base = self._config.tune, self.base
        if not tune.lora_rank:
            return NativeLearner(personal_weights(base, content), self.loss, base.sha256)
        shapes = {name: array.shape for name, array in base.weights.parameters().items()}
        if content is None:
            lora = LoRAWeights.create(shapes, LoRAConfig(tune.lora_rank, tune.lora_alpha), self._config.seed)
        else:
            lora = LoRAWeights.from_bytes(content, shapes, base.sha256)
        return NativeLearner(base.weights, self.loss, base.sha256, lora)

    def prepare(self, images: NDArray[np.uint8] | Floats, degradation: Degradation | None = None) -> NativeTargets:
        """Photos to compare pictures with."""
        return NativeTargets.of(self.loss, images, degradation)

    def join(self, *targets: Targets) -> NativeTargets:
        """All targets in order."""
        return NativeTargets.join(*targets)

    def encode(self, images: NDArray[np.uint8]) -> Floats | None:
        """W codes by the encoder beside the base."""
        path = self._file.beside("encoder")
        # Not kept: it takes more memory than the generator, and an update asks once.
        return None if path is None else NativeEncoder(path.read_bytes(), path.name)(images)

    def embed(self, images: NDArray[np.uint8]) -> Floats:
        """Identity descriptors by dlib's network."""
        return self._identity(images)

    @cached_property
    def _identity(self) -> OnnxIdentity:
        return OnnxIdentity(self._config.photo.crop_scale)
