"""Modulated convolution with demodulation, noise, bias and activation as one operator, forward and backward."""

from __future__ import annotations

from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.ops.dispatch import choose
from everface.engine.ops.modulated_conv.kernels import LayerSettings, ModulatedConvKernel
from everface.engine.ops.modulated_conv.reference import modulated_conv2d_reference
from everface.engine.ops.tensors import obstacle, real_type

__all__ = ["modulated_conv2d"]

_MAX_FLOAT32 = 3.4e38
_ACTIVATIONS = {"lrelu": (0.2, 2.0**0.5), "linear": (1.0, 1.0)}  # slope of the negative side, usual gain


def modulated_conv2d(  # noqa: PLR0913
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    up: int = 1,
    demodulate: bool = True,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    activation: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Scales channels by the style, convolves, demodulates, adds noise and bias, activates.

    ``y = clamp(act(d * (w * (s x)) + noise * strength + bias) * gain)`` (Karras et al. 2020, section 2.2). With
    ``up=2`` the convolution is transposed with stride 2 and followed by the [1,3,3,1] filter.

    Args:
        x: ``[N, I, H, W]``, float32, bfloat16 or float64; channels-last is read without a copy.
        weight: ``[O, I, k, k]``, k = 1 or 3 (3 with ``up=2``), any gain included.
        styles: ``[N, I]``.
        up: 1 or 2.
        demodulate: scale each output channel to unit expected variance.
        noise: ``[up H, up W]`` or ``[N, 1, up H, up W]``; it gets no gradient.
        noise_strength: a scalar.
        bias: ``[O]``.
        activation: ``"lrelu"`` (slope 0.2, default gain sqrt 2) or ``"linear"`` (default gain 1).
        gain: factor after the activation.
        clamp: largest magnitude of the result.
        impl: ``"auto"``, ``"reference"``, ``"cpu"`` or ``"cuda"``; a named one never falls back to another.

    Gradients are the first derivatives; ``impl="reference"`` has those of any order.

    Returns:
        ``[N, O, up H, up W]`` in x's type, channels-last.

    Raises:
        UsageError: an argument is outside of its contract.
        MissingBackendError: a named implementation cannot run here.
    """
    _check(x, weight, styles, up, bias)
    if activation not in _ACTIVATIONS:
        raise UsageError("activation", expected="lrelu or linear", found=repr(activation), remedy="choose one of them")
    slope, usual = _ACTIVATIONS[activation]
    gain = usual if gain is None else float(gain)
    if noise is not None:
        noise = _check_noise(noise, noise_strength, x, up)
    limit = float("inf") if clamp is None else float(clamp)

    def in_the_way(impl: str) -> str:
        return obstacle(impl, x) if gain > 0 else f"a gain of {gain}, which hides the sign of what it scales"

    # CUDA kernels run when they are named: they have not been verified on a device yet.
    automatic = "reference" if in_the_way("cpu") else "cpu"
    if choose("modulated_conv2d", impl, automatic, in_the_way) == "reference":
        return modulated_conv2d_reference(
            x, weight, styles, noise, noise_strength, bias, up == 2, demodulate, slope, gain, limit
        )
    real = real_type(x.dtype)
    tensors = (weight, styles, noise, None if noise is None else noise_strength, bias)
    settings = LayerSettings(up == 2, demodulate, slope, gain, min(limit, _MAX_FLOAT32))
    images: Tensor = ModulatedConvKernel.apply(  # type: ignore[no-untyped-call]
        settings, x, *(None if tensor is None else tensor.to(real) for tensor in tensors)
    )
    return images


def _check(x: Tensor, weight: Tensor, styles: Tensor, up: int, bias: Tensor | None) -> None:
    if up not in (1, 2):
        raise UsageError("up", expected="1 or 2", found=repr(up), remedy="upsample in steps of 2")
    if x.ndim != 4 or not x.dtype.is_floating_point:
        raise UsageError("x", expected="floats [N, I, H, W]", found=f"{x.dtype} {tuple(x.shape)}", remedy="reshape it")
    taps = (3,) if up == 2 else (1, 3)
    fits = weight.ndim == 4 and weight.shape[1] == x.shape[1] and weight.shape[2] == weight.shape[3]
    if not fits or weight.shape[2] not in taps or min(weight.shape) < 1:
        expected = f"[O, {x.shape[1]}, k, k] with k in {taps}"
        raise UsageError("weight", expected=expected, found=str(tuple(weight.shape)), remedy="check the layer's sizes")
    if tuple(styles.shape) != tuple(x.shape[:2]):
        expected = str(tuple(x.shape[:2]))
        raise UsageError(
            "styles", expected=expected, found=str(tuple(styles.shape)), remedy="give one style per channel"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        expected = f"({weight.shape[0]},)"
        raise UsageError(
            "bias", expected=expected, found=str(tuple(bias.shape)), remedy="give one bias per output channel"
        )


def _check_noise(noise: Tensor, strength: Tensor | None, x: Tensor, up: int) -> Tensor:
    size = (x.shape[2] * up, x.shape[3] * up)
    if tuple(noise.shape) not in (size, (x.shape[0], 1, *size), (1, 1, *size)):
        expected = f"{size} or {(x.shape[0], 1, *size)}"
        raise UsageError(
            "noise", expected=expected, found=str(tuple(noise.shape)), remedy="make it of the output's size"
        )
    if strength is None or strength.numel() != 1:
        raise UsageError(
            "noise_strength", expected="a scalar tensor beside noise", found=str(strength), remedy="give both"
        )
    return noise if noise.ndim == 4 else noise[None, None]
