"""The backend that computes in PyTorch: 2D and 3D, whole generators and LoRA; see ``.backend`` for the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import CheckpointError
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import LoRAConfig
from everface.engine.generators.personal import personal_generator
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.encoder import Encoder, encode, encoder_from_bytes
from everface.engine.latents.model import Floats, GeneratorShape, Index, Targets
from everface.engine.learn.backend import LearnerState
from everface.engine.learn.of_base import BackendOfBase
from everface.engine.learn.torch_targets import TorchTargets
from everface.engine.numerics import compute_dtype, fast_numerics
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.perception.tensors import to_tensor
from everface.engine.photos.camera import orbit

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh

_AT_ONCE = 16
_PIXELS_AT_ONCE = 16 * 64**2


class TorchModel:
    """A generator to look at.

    Args:
        generator: in evaluation mode; not changed.
        loss: of its pictures.
    """

    def __init__(self, generator: FaceGenerator, loss: ReconstructionLoss) -> None:
        self.generator, self._loss = generator, loss

    @property
    def shape(self) -> GeneratorShape:
        """Its sizes."""
        of = self.generator
        return GeneratorShape(of.resolution, of.num_ws, of.w_dim, of.z_dim, of.camera_dim)

    @torch.no_grad()
    def map(self, z: Floats) -> Floats:
        """W codes of Z codes."""
        front = torch.from_numpy(orbit(0.0)).float()
        return _array(self.generator.map(_tensor(z), front))

    @torch.no_grad()
    def render(self, codes: Floats) -> Floats:
        """Pictures in full precision, a few at a time."""
        side = self.shape.resolution
        # As many at a time as keep the activations small; the speed of an image hardly depends on it.
        count = min(_AT_ONCE, max(1, _PIXELS_AT_ONCE // side**2))
        parts = [self._draw(_tensor(codes[i : i + count])) for i in range(0, len(codes), count)]
        pictures = torch.cat(parts) if parts else torch.zeros(0, 3, side, side)
        return _array(pictures.permute(0, 2, 3, 1).contiguous())

    @torch.no_grad()
    def losses(self, codes: Floats, targets: Targets, index: Index | None = None) -> Floats:
        """Losses in full precision."""
        rows = np.arange(len(codes)) if index is None else index
        own = TorchTargets.checked(targets)
        parts = [
            own.losses(self._loss, self._pictures(_tensor(codes[part])), part)
            for part in (rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE))
        ]
        return _array(torch.cat(parts)) if parts else np.zeros(0, np.float32)

    def loss_and_gradient(self, codes: Floats, targets: Targets, index: Index | None = None) -> tuple[Floats, Floats]:
        """Losses in fast precision, and their slopes."""
        rows = np.arange(len(codes)) if index is None else index
        w = _tensor(codes[rows]).requires_grad_(True)
        with fast_numerics():
            pictures = self._pictures(w, compute_dtype())
            losses = TorchTargets.checked(targets).losses(self._loss, pictures, rows)
            (slopes,) = torch.autograd.grad(losses.sum(), [w])
        return _array(losses), _array(slopes)

    def mesh(self, code: Floats, side: int) -> Mesh:
        """The surface of a head."""
        return self.generator.mesh(_tensor(code), side)

    def _pictures(self, codes: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return self.generator.render(codes, dtype=dtype)

    @cached_property
    def _draw(self) -> Callable[[Tensor], Tensor]:
        return self.generator.renderer()


class TorchLearner(TorchModel):
    """A generator that is tuned.

    Args:
        generator: changed, unless there is a LoRA.
        loss: of its pictures.
        base_sha256: of the base that it comes from, for the model file.
        lora: its factors are tuned instead of all weights.
    """

    def __init__(
        self, generator: FaceGenerator, loss: ReconstructionLoss, base_sha256: str, lora: LoRA | None = None
    ) -> None:
        super().__init__(generator, loss)
        self._base_sha256, self._lora = base_sha256, lora
        self._parameters = generator.tunable_parameters() if lora is None else dict(lora.factors)
        # Fused: one pass over weights and moments instead of a dozen, a tenth of a step at 64 pixels.
        self._adam = torch.optim.Adam(self._parameters.values(), betas=(0.9, 0.999), fused=True)

    def step(self, codes: Floats, targets: Targets, index: Index, learning_rate: float) -> float:
        """One update by Adam."""
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)
        self._adam.param_groups[0]["lr"] = learning_rate
        try:
            with fast_numerics():
                pictures = self._pictures(_tensor(codes[index]), compute_dtype())
                loss = TorchTargets.checked(targets).losses(self._loss, pictures, index).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                self._adam.step()
        finally:
            self._adam.zero_grad(set_to_none=True)
            for parameter in self._parameters.values():
                parameter.requires_grad_(False)
        self.__dict__.pop("_draw", None)  # it may have packed the weights
        return float(loss.detach())

    def state(self) -> LearnerState:
        """Weights, moments and the count of steps."""
        state: dict[str, NDArray[np.generic]] = {}
        steps = 0.0
        for name, parameter in self._parameters.items():
            state[f"weight.{name}"] = _copied(parameter)
            if moments := self._adam.state.get(parameter):
                steps = float(moments["step"])
                state[f"mean.{name}"], state[f"square.{name}"] = (
                    _copied(moments[kind]) for kind in ("exp_avg", "exp_avg_sq")
                )
        return state | {"steps": np.array([steps])}

    @torch.no_grad()
    def restore(self, state: LearnerState) -> None:
        """Goes back to a state."""
        try:
            steps = float(np.asarray(state["steps"], np.float64)[0])
            self._adam.state.clear()
            for name, parameter in self._parameters.items():
                parameter.copy_(_tensor(state[f"weight.{name}"]))
                if steps:
                    self._adam.state[parameter] = {"step": torch.tensor(steps)} | {
                        kind: torch.empty_like(parameter).copy_(_tensor(state[f"{ours}.{name}"]))
                        for kind, ours in (("exp_avg", "mean"), ("exp_avg_sq", "square"))
                    }
        except (KeyError, RuntimeError, IndexError) as error:
            found = " ".join(str(error).split())[:120]
            raise CheckpointError("state", expected="that of this learner", found=found) from error
        self.__dict__.pop("_draw", None)

    def model_bytes(self) -> bytes:
        """The model file."""
        if self._lora is not None:
            return self._lora.to_bytes(self._base_sha256, {"kind": "personal"})
        return self.generator.to_bytes({"base_sha256": self._base_sha256, "kind": "personal"})

    def _pictures(self, codes: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        if self._lora is None:
            return super()._pictures(codes, dtype)
        return self._lora.call(self.generator, lambda: self.generator.render(codes, dtype=dtype))

    @cached_property
    def _draw(self) -> Callable[[Tensor], Tensor]:
        return self.generator.renderer() if self._lora is None else self._pictures


class TorchBackend(BackendOfBase):
    """PyTorch on one base.

    Args:
        config: says base, dimension, LoRA, crop and seed.
        loss: what pictures are compared by.

    Raises:
        CheckpointError: no such base, or one of the other dimension.
    """

    name = "torch"

    @property
    def shape(self) -> GeneratorShape:
        """Its sizes."""
        return self.model(None).shape

    @cached_property
    def loss(self) -> ReconstructionLoss:
        """What inversion and tuning minimise."""
        perceptual = PerceptualDistance.load()
        perceptual.side = self._loss_config.side
        return ReconstructionLoss(perceptual, self._loss_config.mse_weight)

    @cached_property
    def _base_model(self) -> TorchModel:
        return TorchModel(self.base.generator, self.loss)

    def model(self, content: bytes | None) -> TorchModel:
        """The generator in a model file."""
        if content is None:
            return self._base_model
        return TorchModel(personal_generator(self.base, content), self.loss)

    def learner(self, content: bytes | None) -> TorchLearner:
        """What is tuned from a model file on."""
        tune, base = self._config.tune, self.base
        if not tune.lora_rank:
            return TorchLearner(personal_generator(base, content), self.loss, base.sha256)
        if content is None:
            lora = LoRA.create(base.generator, LoRAConfig(tune.lora_rank, tune.lora_alpha), self._config.seed)
        else:
            lora = LoRA.from_bytes(content, base.generator, base.sha256)
        return TorchLearner(base.generator, self.loss, base.sha256, lora)

    def prepare(self, images: NDArray[np.uint8] | Floats, degradation: Degradation | None = None) -> TorchTargets:
        """Photos to compare pictures with."""
        return TorchTargets.of(self.loss, images, degradation)

    def join(self, *targets: Targets) -> TorchTargets:
        """All targets in order."""
        return TorchTargets.join(*targets)

    def encode(self, images: NDArray[np.uint8]) -> Floats | None:
        """W codes by the encoder beside the base."""
        if self._encoder is None:
            return None
        if not len(images):
            return np.zeros((0, self.shape.w_dim), np.float32)
        return _array(encode(self._encoder, to_tensor(images), self._config.invert.batch))

    @torch.no_grad()
    def embed(self, images: NDArray[np.uint8]) -> Floats:
        """Identity descriptors by dlib's network."""
        parts = [self._identity(to_tensor(images[i : i + _AT_ONCE])) for i in range(0, len(images), _AT_ONCE)]
        return _array(torch.cat(parts)) if parts else np.zeros((0, 128), np.float32)

    @cached_property
    def _encoder(self) -> Encoder | None:
        path = self._file.beside("encoder")
        return None if path is None else encoder_from_bytes(path.read_bytes(), path.name)

    @cached_property
    def _identity(self) -> IdentityEmbedder:
        return IdentityEmbedder.load(self._config.photo.crop_scale)


def _array(values: Tensor) -> Floats:
    return np.asarray(values.detach().numpy(), np.float32)


def _copied(values: Tensor) -> NDArray[np.generic]:
    return values.detach().clone(memory_format=torch.contiguous_format).numpy()


def _tensor(values: NDArray[np.generic]) -> Tensor:
    """A copy: PyTorch would share memory with the caller, and warns where that is read-only."""
    return torch.from_numpy(np.array(values))
