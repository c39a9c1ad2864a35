"""Resampling and bias with activation: against their definitions, to the second derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops import bias_act, upfirdn2d
from everface.engine.ops.reference import FIR_TAPS

LAYOUTS = st.sampled_from(["contiguous", "channels last", "strided", "misaligned"])


def laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        return torch.cat([x, x], 3)[..., : x.shape[3]]
    if layout == "misaligned":
        return torch.empty(x.numel() + 1, dtype=x.dtype)[1:].view(x.shape).copy_(x)
    return x


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm_error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / max(float(truth.norm()), 1e-30))


def by_definition(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple[int, int, int, int]) -> Tensor:
    """A full two-dimensional convolution by PyTorch, which shares nothing with the reference."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = torch.nn.functional.pad(wide, padding).reshape(n * c, 1, h * up + sum(padding[2:]), -1)
    kernel = torch.outer(taps.flip(0), taps.flip(0))[None, None]
    y = torch.nn.functional.conv2d(wide, kernel)[:, :, ::down, ::down]
    return y.reshape(n, c, *y.shape[2:])


SHAPES = st.tuples(st.integers(0, 2), st.integers(1, 37), st.integers(1, 9), st.integers(1, 40))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SHAPES, st.integers(1, 3), st.integers(1, 3), st.integers(1, 7),
       st.tuples(*[st.integers(-2, 5)] * 4), LAYOUTS)  # fmt: skip
def test_resampling_is_its_definition(shape, up, down, count, padding, layout):
    n, c, h, w = shape
    taps = normal(count, seed=1)
    x = laid_out(normal(n, c, h, w), layout).requires_grad_()
    left, right, top, bottom = padding
    small = min(h * up + top + bottom, w * up + left + right) < count
    if small or h * up + min(top, 0) + min(bottom, 0) < 0 or w * up + min(left, 0) + min(right, 0) < 0:
        with pytest.raises(UsageError, match="padding"):
            upfirdn2d(x, taps, up=up, down=down, padding=padding)
        return
    y = upfirdn2d(x, taps, up=up, down=down, padding=padding, impl="cpu")
    truth = by_definition(x, taps, up, down, padding) if n else y.detach()
    torch.testing.assert_close(y, truth)
    torch.testing.assert_close(upfirdn2d(x, taps, up=up, down=down, padding=padding, impl="reference"), truth)
    if n:
        dy = normal(*y.shape, seed=2)
        torch.testing.assert_close(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(truth, x, dy)[0])


KINDS = [(1, 1, (1, 1, 1, 1)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 1, 1)), (3, 2, (-1, 2, 0, 3))]


@pytest.mark.parametrize(("up", "down", "padding"), KINDS)
def test_resampling_gradients(up, down, padding):
    taps = torch.tensor(FIR_TAPS, dtype=torch.float64) + 0.1 * normal(4, seed=3)  # not symmetric

    def run(x: Tensor) -> Tensor:
        return upfirdn2d(x, taps, up=up, down=down, padding=padding, impl="cpu")

    x = normal(2, 3, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(run, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, x, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize(("up", "down", "padding"), KINDS[:3])
def test_resampling_errs_as_rounding_does(dtype, layout, up, down, padding):
    taps, x = torch.tensor(FIR_TAPS), laid_out(normal(2, 35, 17, 50).to(dtype), layout)
    options: dict[str, Any] = {"up": up, "down": down, "padding": padding}
    truth = upfirdn2d(x.double(), taps.double(), impl="reference", **options)
    mine, plain = (upfirdn2d(x, taps, impl=impl, **options) for impl in ("cpu", "reference"))
    assert mine.dtype == dtype and mine.is_contiguous() == (layout == "contiguous")
    assert norm_error(mine, truth) < min(2 * norm_error(plain, truth) + 1e-9, 3e-7 if dtype == torch.float32 else 4e-3)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SHAPES, st.booleans(), st.sampled_from(["lrelu", "linear"]), st.sampled_from([None, 0.5]), LAYOUTS)
def test_activation_is_its_definition(shape, biased, activation, clamp, layout):
    x = laid_out(normal(*shape), layout).requires_grad_()
    bias = normal(shape[1], seed=1).requires_grad_() if biased else None
    leaves = [x, bias] if biased else [x]
    dy = normal(*shape, seed=2)
    found = []
    for impl in ("cpu", "reference"):
        y = bias_act(x, bias, activation=activation, clamp=clamp, impl=impl)
        found.append([y.detach(), *torch.autograd.grad(y, leaves, dy)])
    for mine, truth in zip(*found, strict=True):
        torch.testing.assert_close(mine, truth)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (2, 3, 4, 5), (1, 2, 2, 3, 2)])
def test_activation_gradients_of_any_rank(shape):
    def run(x: Tensor, bias: Tensor) -> Tensor:
        return bias_act(x, bias, clamp=1.5, impl="cpu")

    leaves = normal(*shape).requires_grad_(), normal(shape[1], seed=1).requires_grad_()
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activation_errs_as_rounding_does(dtype):
    x, bias = normal(2, 40, 9, 21).to(dtype), normal(40, seed=1).float()
    truth = bias_act(x.double(), bias.double(), clamp=2.0, impl="reference")
    mine, plain = (bias_act(x, bias, clamp=2.0, impl=impl) for impl in ("cpu", "reference"))
    assert norm_error(mine, truth) <= 2 * norm_error(plain, truth)
    last = bias_act(laid_out(x, "channels last"), bias, clamp=2.0, impl="cpu")
    assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(last, mine)


def test_registration():
    taps, x = torch.tensor(FIR_TAPS), normal(2, 3, 6, 5).float()
    leaf = laid_out(x, "channels last").requires_grad_()
    torch.library.opcheck(torch.ops.everface.upfirdn2d.default, (leaf, taps, 2, 1, [2, 1, 2, 1]))
    bias = normal(3, seed=1).float().requires_grad_()
    torch.library.opcheck(torch.ops.everface.bias_act.default, (leaf, bias, 0.2, 1.4, 3e38))
    dy = normal(2, 3, 6, 5, seed=2).float().requires_grad_()
    torch.library.opcheck(torch.ops.everface.bias_act_grad.default, (dy, x, 0.2, 1.4, 3e38))


def test_not_a_number_stays():
    x = torch.full((1, 2, 3, 40), float("nan"))
    assert bias_act(x, clamp=1.0, impl="cpu").isnan().all()
    assert upfirdn2d(x, torch.tensor(FIR_TAPS), padding=(2, 1, 2, 1), impl="cpu").isnan().all()


def test_wrong_arguments_are_named():
    x, taps = torch.ones(1, 2, 4, 4), torch.tensor(FIR_TAPS)
    for word, call in {
        "x": lambda: upfirdn2d(x[0], taps), "taps": lambda: upfirdn2d(x, taps[None]),
        "up": lambda: upfirdn2d(x, taps, up=0), "down": lambda: upfirdn2d(x, taps, down=65),
        "padding": lambda: upfirdn2d(x, taps, padding=(-9, 9, 0, 0)),
        "bias": lambda: bias_act(x, torch.ones(3)), "activation": lambda: bias_act(x, activation="relu"),
        "clamp": lambda: bias_act(x, clamp=0.0), "impl": lambda: bias_act(x, impl="fast"),
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=rf"^{word}"):
            call()


def test_a_named_implementation_never_falls_back():
    x = torch.ones(1, 2, 4, 4)
    for call in (
        lambda: bias_act(x, gain=-1.0, impl="cpu"), lambda: bias_act(x.half(), impl="cpu"),
        lambda: bias_act(x, impl="cuda"), lambda: upfirdn2d(x, torch.tensor(FIR_TAPS), impl="cuda"),
    ):  # fmt: skip
        with pytest.raises(MissingBackendError, match="impl="):
            call()
    torch.testing.assert_close(bias_act(x, gain=-1.0), -x)
