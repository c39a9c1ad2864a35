"""Public operators: validation, dispatch and autograd over the native kernels, with a reference beside each.

Importing this package needs no torch; the operators load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everface.engine.ops.activation import bias_act
    from everface.engine.ops.modulated_conv import modulated_conv2d
    from everface.engine.ops.reference import bias_act_reference, modulated_conv2d_reference, upfirdn2d_reference
    from everface.engine.ops.resampling import upfirdn2d
    from everface.engine.ops.volume import VolumeSettings, render_volume

__all__ = [
    "VolumeSettings",
    "bias_act",
    "bias_act_reference",
    "modulated_conv2d",
    "modulated_conv2d_reference",
    "render_volume",
    "upfirdn2d",
    "upfirdn2d_reference",
]

_HOMES = {
    "bias_act": "everface.engine.ops.activation",
    "upfirdn2d": "everface.engine.ops.resampling",
    "modulated_conv2d": "everface.engine.ops.modulated_conv_autograd",
    "bias_act_reference": "everface.engine.ops.reference",
    "modulated_conv2d_reference": "everface.engine.ops.reference",
    "upfirdn2d_reference": "everface.engine.ops.reference",
    "render_volume": "everface.engine.ops.volume_autograd",
    "VolumeSettings": "everface.engine.ops.volume",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
