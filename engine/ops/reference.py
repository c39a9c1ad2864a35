"""StyleGAN2's operators in plain PyTorch: what the kernels are held to, and the second derivatives.

Sources: Karras et al. 2020 (arXiv 1912.04958), section 2.2 and appendix B; Karras et al. 2018 (arXiv 1812.04948).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "bias_act_reference",
    "demodulation",
    "fir_after_transposed",
    "modulated_conv2d_reference",
    "upfirdn2d_reference",
]

DEMODULATION_EPSILON = 1e-8
FIR_TAPS = (0.25, 0.75, 0.75, 0.25)  # [1,3,3,1] / 8 along one axis, times 2 for the zeros that upsampling inserts


def _shifted_sum(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Valid convolution along one axis as a sum of shifted copies: far faster than a depthwise one on a CPU."""
    length = x.shape[axis] - len(taps) + 1
    parts = [x.narrow(axis, k, length) * taps[len(taps) - 1 - k] for k in range(len(taps))]
    return torch.stack(parts).sum(0) if len(parts) > 8 else sum(parts[1:], parts[0])


def upfirdn2d_reference(
    x: Tensor, taps: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Tensor:
    """Inserts zeros, pads or crops, filters with a separable FIR (a convolution, not a correlation), drops samples.

    Args:
        x: ``[N, C, H, W]``.
        taps: ``[K]``, the filter along each axis.
        up: each sample is followed by ``up - 1`` zeros.
        down: every ``down``-th result is kept.
        padding: left, right, top, bottom in samples of the upsampled image; negative crops.

    Returns:
        ``[N, C, (H up + top + bottom - K) // down + 1, ...]``.
    """
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, padding)
    taps = taps.to(x)
    x = _shifted_sum(_shifted_sum(x, taps, 2), taps, 3)
    return x[:, :, ::down, ::down]


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


def fir_after_transposed(t: Tensor) -> Tensor:
    """The [1,3,3,1] filter on a stride-2 transposed convolution: ``[N, C, 2H + 1, 2W + 1]`` to ``[N, C, 2H, 2W]``."""
    return upfirdn2d_reference(t, torch.tensor(FIR_TAPS, dtype=t.dtype, device=t.device), padding=(1, 1, 1, 1))


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
    """See :func:`everface.engine.ops.modulated_conv2d`. All samples share the weights, so any batch is one call."""
    x = x * styles.to(x.dtype)[:, :, None, None]
    kernel = weight.to(x.dtype)
    if up:
        x = fir_after_transposed(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2))
    else:
        x = F.conv2d(x, kernel, padding=weight.shape[2] // 2)
    if demodulate:
        x = x * demodulation(weight, styles).to(x.dtype)[:, :, None, None]
    if noise is not None and noise_strength is not None:
        x = x + (noise * noise_strength).to(x.dtype)
    return bias_act_reference(x, bias, slope=slope, gain=gain, clamp=clamp if clamp < float("inf") else None)
