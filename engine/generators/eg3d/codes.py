"""Codes that carry their camera at their end: styles, then EG3D's label of 25 numbers."""

from __future__ import annotations

from torch import Tensor

from everface.engine.generators.eg3d.config import LABEL_DIM


def split_camera(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Styles [n, d] or [n, num_ws, d], and cameras [n, 25], of codes of either form; in W+ all rows have the same."""
    ws, c = codes[..., :-LABEL_DIM], codes[..., -LABEL_DIM:]
    return ws, c if c.ndim == 2 else c[:, 0]
