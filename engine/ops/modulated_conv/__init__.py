"""Modulated convolution (Karras et al. 2020, section 2.2) with everything that follows it in a layer."""

from everface.engine.ops.modulated_conv.operator import modulated_conv2d

__all__ = ["modulated_conv2d"]
