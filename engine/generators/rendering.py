"""One way to pictures for 2D and 3D generators: codes in, pictures out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.errors import CheckpointError
from everface.engine.generators.checkpoints import generator_from_bytes, generator_to_bytes, safetensors_header
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes, eg3d_to_bytes
from everface.engine.generators.eg3d.config import LABEL_DIM
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.eg3d.posed import PosedSynthesis, join_camera
from everface.engine.generators.stylegan2 import Generator, MappingNetwork, StyleGAN2Config, SynthesisNetwork
from everface.engine.ops.synthesis.learning import synthesize

__all__ = [
    "AnyGenerator",
    "FixedCamera",
    "Synthesis",
    "any_from_bytes",
    "any_to_bytes",
    "camera_width",
    "mapping_of",
    "render",
    "side_of",
    "synthesis_of",
]

AnyGenerator = Generator | TriPlaneGenerator


@dataclass(frozen=True, eq=False)
class FixedCamera:
    """A 3D generator seen from one camera [25]: styles in, pictures out, like a 2D network."""

    network: PosedSynthesis
    camera: Tensor

    @property
    def config(self) -> StyleGAN2Config:
        """The backbone's shape."""
        return self.network.config

    def __call__(self, ws: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Pictures of styles [n, num_ws, d] or [n, d]."""
        found: Tensor = self.network(join_camera(ws, self.camera[None].expand(len(ws), -1)), dtype=dtype)
        return found


Synthesis = SynthesisNetwork | PosedSynthesis | FixedCamera


def render(network: Synthesis, codes: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Pictures [n, 3, r, r], differentiable, on the fused operators.

    Args:
        network: of a 2D or 3D generator.
        codes: what it takes: styles, in 3D with their cameras.
        dtype: of the convolutions; that of the codes by default.
    """
    if isinstance(network, SynthesisNetwork):
        return synthesize(network.weights(), codes, dtype=dtype)
    found: Tensor = network(codes, dtype=dtype)
    return found


def camera_width(network: Synthesis) -> int:
    """How many numbers at the end of a code say from where it is seen: 0, or 25 in 3D."""
    return LABEL_DIM if isinstance(network, PosedSynthesis) else 0


def synthesis_of(generator: AnyGenerator) -> SynthesisNetwork | PosedSynthesis:
    """What draws pictures, and is tuned."""
    return generator.synthesis if isinstance(generator, Generator) else PosedSynthesis(generator)


def mapping_of(generator: AnyGenerator) -> MappingNetwork:
    """From Z to W."""
    return generator.mapping if isinstance(generator, Generator) else generator.backbone.mapping


def side_of(generator: AnyGenerator) -> int:
    """Side of a generator's pictures in pixels."""
    return generator.config.resolution


def any_from_bytes(data: bytes, subject: str) -> tuple[AnyGenerator, dict[str, str]]:
    """A 2D or 3D generator from a safetensors file, and its metadata.

    Raises:
        CheckpointError: it is neither.
    """
    found = safetensors_header(data, subject).get("architecture")
    if found == "eg3d":
        return eg3d_from_bytes(data, subject)
    if found != "stylegan2":
        remedy = "pass a generator written by `everface import` or `everface pretrain`"
        raise CheckpointError(subject, expected="a StyleGAN2 or an EG3D", found=repr(found), remedy=remedy)
    return generator_from_bytes(data, subject)


def any_to_bytes(generator: AnyGenerator, metadata: dict[str, str]) -> bytes:
    """The whole generator in half precision, as safetensors."""
    if isinstance(generator, Generator):
        return generator_to_bytes(generator, metadata)
    return eg3d_to_bytes(generator, metadata)
