"""Heads seen from many sides: planes are drawn once a head, a further view costs only its rays."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from everface.engine.generators.eg3d.codes import split_camera

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.generator import TriPlaneGenerator

_KEPT = 16


class Heads:
    """Pictures of codes without gradients; the planes of the last few heads are kept.

    Args:
        generator: later changes of its weights do not show in kept planes.
    """

    def __init__(self, generator: TriPlaneGenerator) -> None:
        self._generator = generator
        self._planes: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @torch.no_grad()
    def __call__(self, codes: Tensor) -> Tensor:
        """Pictures [n, 3, R, R] of codes [n, code_dim] or [n, num_ws, code_dim], each from its camera."""
        styles, cameras = split_camera(codes)
        side = self._generator.resolution
        views = [
            self._generator.view(self.planes(style), style[None], camera[None]).image
            for style, camera in zip(styles, cameras, strict=True)
        ]
        return torch.cat(views) if views else torch.zeros(0, 3, side, side)

    @torch.no_grad()
    def planes(self, styles: Tensor) -> Tensor:
        """Planes [1, 3, features, r, r] of styles [w_dim] or [num_ws, w_dim], drawn at the first call."""
        key = styles.detach().numpy().tobytes() + bytes([styles.ndim])
        with self._lock:
            if key not in self._planes:
                self._planes[key] = self._generator.fast_planes(styles[None])
            self._planes.move_to_end(key)
            while len(self._planes) > _KEPT:
                self._planes.popitem(last=False)
            return self._planes[key]
