"""StyleGAN2 with NVIDIA's architecture and parameter names.

Sources: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), equations 1 to 3 for the
modulated convolution; "Training Generative Adversarial Networks with Limited Data" (NeurIPS 2020) for the parameter
names and clamps. ``config`` and ``weights`` need no PyTorch, so it is loaded with the first network asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everface.engine.generators.stylegan2.config import StyleGAN2Config
    from everface.engine.generators.stylegan2.generator import Generator
    from everface.engine.generators.stylegan2.layers import FullyConnected, ModulatedConv, SynthesisLayer, ToRGB
    from everface.engine.generators.stylegan2.mapping import MappingNetwork
    from everface.engine.generators.stylegan2.synthesis import SynthesisBlock, SynthesisNetwork

__all__ = [
    "FullyConnected",
    "Generator",
    "MappingNetwork",
    "ModulatedConv",
    "StyleGAN2Config",
    "SynthesisBlock",
    "SynthesisLayer",
    "SynthesisNetwork",
    "ToRGB",
]

_MODULES = {
    "config": ("StyleGAN2Config",),
    "generator": ("Generator",),
    "layers": ("FullyConnected", "ModulatedConv", "SynthesisLayer", "ToRGB"),
    "mapping": ("MappingNetwork",),
    "synthesis": ("SynthesisBlock", "SynthesisNetwork"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
