"""StyleGAN2's operators in plain PyTorch: what the kernels are held to, and the second derivatives.

Sources: Karras et al. 2020 (arXiv 1912.04958), section 2.2 and appendix B; Karras et al. 2018 (arXiv 1812.04948).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from everface.engine.ops.resample import fir_after_transpose

DEMODULATION_EPSILON = 1e-8


def bias_act_reference(
    x: Tensor, bias: Tensor | None = None, *, slope: float = 0.2, gain: float = 2**0.5, clamp: float | None = None
) -> Tensor:
    """``clamp(leaky_relu(x + bias, slope) * gain)``; a slope of 1 is the identity.

    Args:
        x: ``[N, C, ...]``.
        bias: ``[C]``.
        slope: of the negative side.
        gain: factor after the activation.
        clamp: largest magnitude of the result.
    """
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2)))
    if slope != 1:
        x = F.leaky_relu(x, slope)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """``d[n, o] = rsqrt(sum_i s[n, i]^2 q[o, i] + 1e-8)`` with q the sums of squared taps (equation 3).

    Args:
        weight: ``[O, I, k, k]``.
        styles: ``[N, I]``.
    """
    squares = weight.square().sum((2, 3))
    return (styles.square() @ squares.t() + DEMODULATION_EPSILON).rsqrt()


def modulated_conv2d_reference(  # noqa: PLR0913
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    noise_strength: Tensor | None,
    bias: Tensor | None,
    up: bool,
    demodulate: bool,
    slope: float,
    gain: float,
    clamp: float,
) -> Tensor:
    """See ``everface.engine.ops.modulated_conv2d``. All samples share the weights, so any batch is one call."""
    x = x * styles.to(x.dtype)[:, :, None, None]
    kernel = weight.to(x.dtype)
    if up:
        x = fir_after_transpose(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2))
    else:
        x = F.conv2d(x, kernel, padding=weight.shape[2] // 2)
    if demodulate:
        x = x * demodulation(weight, styles).to(x.dtype)[:, :, None, None]
    if noise is not None and noise_strength is not None:
        x = x + (noise * noise_strength).to(x.dtype)
    return bias_act_reference(x, bias, slope=slope, gain=gain, clamp=clamp if clamp < float("inf") else None)
