"""What all face generators are, 2D and 3D alike: codes in, pictures out.

A code is a style of W [w_dim], or of W+ [num_ws, w_dim]; that of a 3D generator carries the camera that looks at the
head at its end (25 more numbers, the same in every row of W+). Nothing outside of this folder asks which kind of
generator it has.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, dtype, nn

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.weights import pack_arrays

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh

__all__ = ["FaceGenerator"]


class FaceGenerator(nn.Module):
    """A network from noise to faces, in PyTorch. Parameter names are those of the published networks."""

    dimension: ClassVar[str]
    """``"2d"`` or ``"3d"``."""
    camera_dim: int
    """Numbers at the end of a code that say from where it is seen: 0 in 2D, 25 in 3D."""

    @property
    @abstractmethod
    def shape(self) -> StyleGAN2Config:
        """Of the StyleGAN2 that styles steer; in 3D it draws the planes."""

    @property
    @abstractmethod
    def resolution(self) -> int:
        """Side of the pictures in pixels."""

    @property
    def z_dim(self) -> int:
        """Width of the noise."""
        return self.shape.z_dim

    @property
    def w_dim(self) -> int:
        """Width of a style."""
        return self.shape.w_dim

    @property
    def num_ws(self) -> int:
        """Styles of a W+ code."""
        return self.shape.num_ws

    @property
    def code_dim(self) -> int:
        """Width of a code: that of a style and of a camera."""
        return self.w_dim + self.camera_dim

    @property
    @abstractmethod
    def w_mean(self) -> Tensor:
        """Mean [w_dim] of W, towards which styles are truncated."""

    @abstractmethod
    def map(self, z: Tensor, camera: Tensor | None = None) -> Tensor:
        """Styles [n, w_dim] of noise.

        Args:
            z: [n, z_dim], standard normal.
            camera: [1 or n, 25] from where such faces are usually seen, for networks that were trained to be told.
        """

    @abstractmethod
    def render(self, codes: Tensor, *, dtype: dtype | None = None) -> Tensor:
        """Pictures [n, 3, resolution, resolution], about [-1, 1], on the fastest operators.

        Differentiable in styles and in the parameters, once; cameras get no gradients.

        Args:
            codes: [n, code_dim], or [n, num_ws, code_dim].
            dtype: of activations and products; that of the codes by default.

        Raises:
            UsageError: codes of another width.
        """

    def renderer(self) -> Callable[[Tensor], Tensor]:
        """What makes many pictures fast: codes to pictures as ``render`` has it, without gradients.

        It may hold packed weights, so later changes of them need not show.
        """
        return torch.no_grad()(self.render)

    def mesh(self, code: Tensor, side: int) -> Mesh:
        """The surface of the head of a code [code_dim] or [num_ws, code_dim], on a grid of ``side`` points across.

        Raises:
            UsageError: a 2D generator, which has none.
        """
        remedy = "make a workspace with `everface init --dimension 3d`"
        raise UsageError("generator", expected="a 3D one", found=f"a {self.dimension} one", remedy=remedy)

    @abstractmethod
    def tunable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters behind W by name; the mapping stays as it is, so that codes keep their meaning."""

    @abstractmethod
    def cut(self, resolution: int) -> Self:
        """A copy that makes smaller pictures.

        Raises:
            UsageError: not a smaller resolution that this network holds.
        """

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The text entries of a file that tell kind and shape."""

    def copy(self) -> Self:
        """A copy that shares nothing."""
        return copy.deepcopy(self)

    def to_bytes(self, metadata: dict[str, str], dtype: DTypeLike = np.float16) -> bytes:
        """Writes the generator as safetensors, with its shape in the metadata.

        Raises:
            CheckpointError: a number is not finite in ``dtype``.
        """
        with np.errstate(over="ignore"):
            arrays = {name: value.detach().cpu().numpy().astype(dtype) for name, value in self.state_dict().items()}
        return pack_arrays(arrays, metadata | self.settings())
