"""Codes that carry their camera: styles, then EG3D's label of 25 numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.config import LABEL_DIM


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
