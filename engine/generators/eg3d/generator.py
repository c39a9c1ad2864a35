"""The whole EG3D: mapping, planes, rendering, superresolution (Chan et al., CVPR 2022, arXiv 2112.07945)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.cameras import camera_rays
from everface.engine.generators.eg3d.codes import split_camera
from everface.engine.generators.eg3d.config import LABEL_DIM, EG3DConfig
from everface.engine.generators.eg3d.decoder import OSGDecoder
from everface.engine.generators.eg3d.heads import Heads
from everface.engine.generators.eg3d.marching import Field, march_rays
from everface.engine.generators.eg3d.mesh import Mesh, mesh_of
from everface.engine.generators.eg3d.sampling import Jitter
from everface.engine.generators.eg3d.superresolution import Superresolution
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.ops.synthesis.learning import synthesize

__all__ = ["Rendering", "TriPlaneGenerator"]


@dataclass(frozen=True, eq=False)
class Rendering:
    """One view.

    Attributes:
        image: final [n, 3, resolution, resolution], about [-1, 1].
        raw: volume-rendered [n, 3, neural, neural], about [-1, 1].
        depth: [n, 1, neural, neural], distance from the camera in world units.
        opacity: [n, 1, neural, neural] in [0, 1].
        features: [n, features, neural, neural], the first three are ``raw``.
    """

    image: Tensor
    raw: Tensor
    depth: Tensor
    opacity: Tensor
    features: Tensor


class TriPlaneGenerator(FaceGenerator):
    """Z and a camera to a view. A new view of the same styles costs only ``view`` of the same planes."""

    dimension: ClassVar[str] = "3d"
    camera_dim = LABEL_DIM

    def __init__(self, config: EG3DConfig):
        super().__init__()
        self.config = config
        self.backbone = Generator(config.backbone)
        self.decoder = OSGDecoder(config.features, config.decoder_hidden, config.decoder_lr_multiplier)
        if config.superresolution != "none":
            self.superresolution = Superresolution(config)

    def mapping(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Maps z [n, z_dim] and the conditioning camera c [n, 25] to w [n, w_dim], or [n, num_ws, w_dim] with a cutoff.

        The camera tells the mapping from where such a face is usually seen; for one head seen from many sides it stays
        the same (section 4.5).
        """
        if c is not None:
            c = torch.zeros_like(c) if self.config.c_gen_conditioning_zero else c * self.config.c_scale
        styles: Tensor = self.backbone.mapping(z, c, psi=psi, cutoff=cutoff)
        return styles

    def planes(self, ws: Tensor) -> Tensor:
        """Draws the planes [n, 3, features, r, r] of styles [n, num_ws, w_dim] or [n, w_dim]."""
        drawn: Tensor = self.backbone.synthesis(ws)
        # -1, and no len(): a graph traced of this takes any number of codes.
        return drawn.reshape(-1, 3, self.config.features, drawn.shape[-2], drawn.shape[-1])

    def field(self, planes: Tensor) -> Field:
        """The volume that planes [n, 3, features, r, r] span, to be asked for densities and colours of points."""
        return Field(planes, self.decoder, self.config.render)

    def view(
        self,
        planes: Tensor,
        ws: Tensor,
        c: Tensor,
        *,
        resolution: int | None = None,
        jitter: Jitter | torch.Generator | None = None,
    ) -> Rendering:
        """Renders views of planes.

        Args:
            planes: [n, 3, features, r, r] from ``planes``.
            ws: their styles; the last one steers the superresolution.
            c: cameras [n, 25].
            resolution: side of the raw image, ``neural_resolution`` by default.
            jitter: noise of the samples, a generator to draw it from, or None for none (midpoints).

        Raises:
            UsageError: shapes that do not belong together.
        """
        if not len(planes) == len(ws) == len(c):
            found = f"{len(planes)}, {len(ws)} and {len(c)}"
            raise UsageError("planes, ws, c", expected="as many of each", found=found, remedy="repeat the planes")
        side = self.config.neural_resolution if resolution is None else resolution
        rays = camera_rays(c, side)
        if isinstance(jitter, torch.Generator):
            jitter = Jitter.draw(self.config.render, len(c), side * side, jitter)
        march = march_rays(self.field(planes), rays, jitter or Jitter.midpoints(self.config.render))
        features, depth, opacity = (
            part.transpose(1, 2).reshape(-1, part.shape[2], side, side)
            for part in (march.features, march.depth, march.opacity)
        )
        raw = features[:, :3]
        image = raw if self.config.superresolution == "none" else self.superresolution(raw, features, _layers(ws))
        return Rendering(image, raw, depth, opacity, features)

    def synthesis(self, ws: Tensor, c: Tensor, *, jitter: Jitter | torch.Generator | None = None) -> Rendering:
        """``planes``, then ``view``."""
        return self.view(self.planes(ws), ws, c, jitter=jitter)

    def forward(self, z: Tensor, c: Tensor, *, psi: float = 1.0, jitter: torch.Generator | None = None) -> Rendering:
        """Maps z [n, z_dim] to views from the cameras c [n, 25], which also condition the mapping."""
        return self.synthesis(self.mapping(z, c if self.config.backbone.c_dim else None, psi=psi), c, jitter=jitter)

    @property
    def shape(self) -> StyleGAN2Config:
        """Of the StyleGAN2 that styles steer."""
        return self.config.backbone

    @property
    def resolution(self) -> int:
        """Side of the pictures in pixels."""
        return self.config.resolution

    @property
    def w_mean(self) -> Tensor:
        """Mean [w_dim] of W."""
        return self.backbone.mapping.w_avg

    def map(self, z: Tensor, camera: Tensor | None = None) -> Tensor:
        """Styles [n, w_dim] of noise [n, z_dim], under a camera [1 or n, 25] where the network was trained with one."""
        if not self.config.backbone.c_dim or camera is None:
            return self.mapping(z)
        return self.mapping(z, camera.to(z).expand(len(z), -1))

    def render(self, codes: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Pictures [n, 3, resolution, resolution] of codes with their cameras, [n, code_dim] or [n, num_ws, code_dim].

        Samples lie at the middles of their intervals, so a picture is a function of its code. Cameras get no gradients,
        which the fused renderer does not have.

        Raises:
            UsageError: codes of another width.
        """
        if codes.ndim not in (2, 3) or codes.shape[-1] != self.code_dim:
            expected = f"codes with cameras [n, {self.code_dim}]"
            raise UsageError(
                "codes", expected=expected, found=str(tuple(codes.shape)), remedy="put a camera at the end of each"
            )
        ws, c = split_camera(codes)
        return self.view(self.fast_planes(ws, dtype=dtype), ws, c.detach()).image

    def fast_planes(self, ws: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """``planes`` on the fused operators."""
        drawn = synthesize(self.backbone.synthesis.weights(), ws, dtype=dtype)
        return drawn.reshape(len(drawn), 3, self.config.features, *drawn.shape[-2:])

    def renderer(self) -> Heads:
        """With the planes of the last heads kept."""
        return Heads(self)

    def mesh(self, code: Tensor, side: int) -> Mesh:
        """The surface of the head of a code [code_dim] or [num_ws, code_dim]."""
        styles, _ = split_camera(code[None])
        with torch.no_grad():
            return mesh_of(self.field(self.fast_planes(styles)), side=side)

    def tunable_parameters(self) -> dict[str, nn.Parameter]:
        """Those of backbone, decoder and superresolution."""
        return {name: value for name, value in self.named_parameters() if not name.startswith("backbone.mapping.")}

    def cut(self, resolution: int) -> TriPlaneGenerator:
        """Not possible: planes of any size make pictures of one size."""
        if resolution == self.resolution:
            return self.copy()
        raise UsageError("resolution", expected=str(self.resolution), found=str(resolution), remedy="leave it out")

    def settings(self) -> dict[str, str]:
        """The text entries of a file."""
        config = json.dumps(dataclasses.asdict(self.config), sort_keys=True)
        return {"architecture": "eg3d", "config": config}


def _layers(ws: Tensor) -> Tensor:
    return ws[:, None] if ws.ndim == 2 else ws
