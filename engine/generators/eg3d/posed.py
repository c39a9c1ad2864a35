"""An EG3D as tuning and inversion see a synthesis network: a code that carries its camera becomes a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.config import LABEL_DIM
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.stylegan2 import StyleGAN2Config
from everface.engine.ops.synthesis.learning import synthesize

__all__ = ["PosedSynthesis", "join_camera", "split_camera"]


def join_camera(ws: Tensor, c: Tensor) -> Tensor:
    """Posed codes [n, d + 25], or [n, num_ws, d + 25] with the same camera in every row.

    Args:
        ws: styles [n, d] or [n, num_ws, d].
        c: cameras [n, 25].

    Raises:
        UsageError: not as many of each.
    """
    if c.ndim != 2 or c.shape[1] != LABEL_DIM or len(c) != len(ws):
        expected = f"[{len(ws)}, {LABEL_DIM}]"
        raise UsageError("cameras", expected=expected, found=str(tuple(c.shape)), remedy="pass one camera per code")
    return torch.cat([ws, c if ws.ndim == 2 else c[:, None].expand(-1, ws.shape[1], -1)], dim=-1)


def split_camera(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Styles and cameras [n, 25] of posed codes."""
    ws, c = codes[..., :-LABEL_DIM], codes[..., -LABEL_DIM:]
    return ws, c if c.ndim == 2 else c[:, 0]


class PosedSynthesis(nn.Module):
    """All of an EG3D but its mapping network.

    Args:
        generator: whose parts it shares.
    """

    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self._generator = (generator,)  # in a tuple: its mapping is not ours to train
        self.backbone, self.decoder = generator.backbone.synthesis, generator.decoder
        if generator.config.superresolution != "none":
            self.superresolution = generator.superresolution

    @property
    def generator(self) -> TriPlaneGenerator:
        """Whose parts these are."""
        return self._generator[0]

    @property
    def config(self) -> StyleGAN2Config:
        """The backbone's shape."""
        return self.generator.config.backbone

    def planes(self, ws: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Planes [n, 3, features, r, r] of styles, drawn on the fused operators."""
        drawn = synthesize(self.backbone.weights(), ws, dtype=dtype)
        return drawn.reshape(len(drawn), 3, self.generator.config.features, *drawn.shape[-2:])

    def forward(self, codes: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Pictures [n, 3, r, r], about [-1, 1], of posed codes (see :func:`join_camera`).

        Samples lie at the middles of their intervals, so the picture is a function of the code. Cameras are given, not
        sought: they get no gradients, which the fused renderer does not have.

        Args:
            codes: [n, d + 25] or [n, num_ws, d + 25].
            dtype: of the backbone's activations; that of the codes by default.

        Raises:
            UsageError: codes of another width.
        """
        width = self.config.w_dim + LABEL_DIM
        if codes.ndim not in (2, 3) or codes.shape[-1] != width:
            expected = f"codes with cameras [n, {width}]"
            raise UsageError("codes", expected=expected, found=str(tuple(codes.shape)), remedy="use join_camera")
        ws, c = split_camera(codes)
        return self.generator.render(self.planes(ws, dtype), ws, c.detach()).image
