"""The whole StyleGAN2: mapping and synthesis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.mapping import MappingNetwork
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights, config_to_metadata
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.engine.ops.synthesis.learning import synthesize

__all__ = ["Generator"]


class Generator(FaceGenerator):
    """Mapping and synthesis."""

    dimension: ClassVar[str] = "2d"
    camera_dim = 0

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)

    @classmethod
    def from_bytes(cls, data: bytes, subject: str) -> Generator:
        """Reads a safetensors file; see ``StyleGAN2Weights.from_bytes``."""
        return cls.from_weights(StyleGAN2Weights.from_bytes(data, subject))

    @classmethod
    def from_weights(cls, weights: StyleGAN2Weights) -> Generator:
        """A generator with a copy of the weights: float32, in evaluation mode, without gradients."""
        with torch.device("meta"):
            generator = cls(weights.config)
        state = {name: torch.from_numpy(array.copy()) for name, array in weights.arrays.items()}
        generator.load_state_dict(state, assign=True)
        return generator.eval().requires_grad_(False)

    def weights(self) -> StyleGAN2Weights:
        """A copy of the numbers."""
        state = {name: value.detach().cpu().float().numpy().copy() for name, value in self.state_dict().items()}
        return StyleGAN2Weights(self.config, state)

    def forward(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Maps z [n, z_dim] (and c [n, c_dim]) to images [n, 3, resolution, resolution], about [-1, 1]."""
        images: Tensor = self.synthesis(self.mapping(z, c, psi=psi, cutoff=cutoff))
        return images

    @property
    def shape(self) -> StyleGAN2Config:
        """Of the StyleGAN2 that styles steer."""
        return self.config

    @property
    def resolution(self) -> int:
        """Side of the pictures in pixels."""
        return self.config.resolution

    @property
    def w_mean(self) -> Tensor:
        """Mean [w_dim] of W."""
        return self.mapping.w_avg

    def map(self, z: Tensor, camera: Tensor | None = None) -> Tensor:
        """Styles [n, w_dim] of noise [n, z_dim]; there is no camera."""
        styles: Tensor = self.mapping(z)
        return styles

    def render(self, codes: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Pictures [n, 3, resolution, resolution] of codes [n, w_dim] or [n, num_ws, w_dim]."""
        return synthesize(self.synthesis.weights(), codes, dtype=dtype)

    def renderer(self) -> Callable[[Tensor], Tensor]:
        """With weights packed once, where the processor's own operators cover the network."""
        try:
            packed = PackedSynthesis(self.synthesis.arrays())
        except MissingBackendError:
            return super().renderer()
        return lambda codes: torch.from_numpy(packed(codes.numpy()))

    def tunable_parameters(self) -> dict[str, nn.Parameter]:
        """Those of the synthesis network."""
        return {f"synthesis.{name}": value for name, value in self.synthesis.named_parameters()}

    def cut(self, resolution: int) -> Generator:
        """What the skip architecture had summed until a resolution (Karras et al. 2020, section 4.2).

        Raises:
            UsageError: a larger resolution, or below 8.
        """
        if resolution > self.config.resolution:
            raise UsageError("resolution", expected=f"at most {self.config.resolution}", found=str(resolution))
        smaller = Generator(dataclasses.replace(self.config, resolution=resolution))
        state = self.state_dict()
        # Assigned, so that weights are kept where the caller builds networks on the meta device.
        smaller.load_state_dict({name: state[name].clone() for name in smaller.state_dict()}, assign=True)
        return smaller.eval().requires_grad_(False)

    def settings(self) -> dict[str, str]:
        """The text entries of a file."""
        return config_to_metadata(self.config)
