"""Modulated convolution against its definition in float64, and its registration with PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.ops.rounding import bound, typical
from torch import Tensor

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops.modulated_conv import modulated_conv2d


def _arguments(n: int, cin: int, cout: int, h: int, w: int, taps: int, up: int, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    return {
        "x": normal(n, cin, h, w),
        "weight": normal(cout, cin, taps, taps),
        "styles": normal(n, cin) + 1,
        "noise": normal(h * up, w * up),
        "noise_strength": torch.tensor(0.3, dtype=torch.float64),
        "bias": normal(cout) * 0.1,
    }


DIFFERENTIABLE = ("x", "weight", "styles", "bias", "noise_strength")


def _value_and_gradients(arguments: dict[str, Tensor], dy: Tensor, dtype: torch.dtype, **options) -> list[Tensor]:
    real = torch.float64 if dtype == torch.float64 else torch.float32
    reference = options.get("impl") == "reference"
    cast = {k: v.to(dtype if k == "x" or reference else real) for k, v in arguments.items()}
    leaves = [cast[name].requires_grad_() for name in DIFFERENTIABLE]
    y = modulated_conv2d(**cast, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def _error(value: Tensor, truth: Tensor) -> float:
    scale = float(truth.norm())
    return float((value.double() - truth).norm()) / (scale if scale > 0 else 1.0)


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 15), st.integers(1, 15))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SHAPES, st.sampled_from([(1, 1), (3, 1), (3, 2)]), st.booleans(), st.sampled_from([None, 0.7]))
def test_float64_equals_the_reference_to_rounding(shape, kind, demodulate, clamp):
    taps, up = kind
    arguments = _arguments(*shape, taps, up)
    dy = torch.ones(shape[0], shape[2], shape[3] * up, shape[4] * up, dtype=torch.float64)
    options = {"up": up, "demodulate": demodulate, "clamp": clamp}
    mine = _value_and_gradients(arguments, dy, torch.float64, impl="cpu", **options)
    truth = _value_and_gradients(arguments, dy, torch.float64, impl="reference", **options)
    for value, expected in zip(mine, truth, strict=True):
        assert value.shape == expected.shape
        # A sum over all channels and taps, or over all pixels, may cancel: its error is relative to its terms.
        terms = taps * taps * (shape[1] + shape[2]) + shape[0] * shape[3] * shape[4] * up * up
        limit = bound(terms, torch.float64, margin=64) * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(value, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("shape", [(2, 40, 33, 16, 20, 3, 1), (3, 24, 48, 13, 18, 3, 2), (2, 20, 3, 8, 8, 1, 1)])
def test_float32_errors_are_rounding(shape):
    arguments = _arguments(*shape)
    n, _, cout, h, w, _, up = shape
    dy = torch.randn(n, cout, h * up, w * up, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mine = _value_and_gradients(arguments, dy, torch.float32, up=up, impl="cpu")
    truth = _value_and_gradients(arguments, dy, torch.float64, up=up, impl="reference")
    for name, value, expected in zip(("y", *DIFFERENTIABLE), mine, truth, strict=True):
        # The gradient of the strength is one number, which cancels; others are summed over taps and channels or pixels.
        pixels, taps = n * h * w * up * up, 9 * max(shape[1], cout)
        limit = typical(pixels if name in ("weight", "bias") else taps, torch.float32, margin=4)
        limit = bound(pixels * cout, torch.float32) if name == "noise_strength" else limit
        assert _error(value, expected) < limit, name


@pytest.mark.parametrize("shape", [(2, 40, 33, 16, 20, 3, 1), (3, 24, 48, 13, 18, 3, 2), (1, 64, 64, 32, 32, 3, 1)])
def test_bfloat16_errs_at_most_twice_as_much_as_pytorch(shape):
    arguments = _arguments(*shape)
    n, _, cout, h, w, _, up = shape
    dy = torch.randn(n, cout, h * up, w * up, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    runs = {
        name: _value_and_gradients(arguments, dy, dtype, up=up, impl=impl)
        for name, dtype, impl in (
            ("mine", torch.bfloat16, "cpu"),
            ("torch", torch.bfloat16, "reference"),
            ("truth", torch.float64, "reference"),
        )
    }
    for name, mine, plain, truth in zip(
        ("y", *DIFFERENTIABLE), runs["mine"], runs["torch"], runs["truth"], strict=True
    ):
        if name != "noise_strength":  # one number: a ratio of two chances
            assert _error(mine, truth) < 2 * _error(plain, truth), name


@pytest.mark.parametrize(("taps", "up"), [(3, 1), (3, 2), (1, 1)])
def test_gradcheck(taps, up):
    arguments = _arguments(2, 3, 4, 5, 4, taps, up)
    noise = arguments["noise"]

    def run(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor, strength: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, up=up, noise=noise, noise_strength=strength, bias=bias, impl="cpu")

    leaves = tuple(arguments[name].requires_grad_() for name in DIFFERENTIABLE)
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_empty_batch(dtype):
    a = _arguments(2, 5, 6, 7, 4, 3, 2)
    x, styles, weight = a["x"][:0].to(dtype), a["styles"][:0].float(), a["weight"].float().requires_grad_()
    y = modulated_conv2d(x, weight, styles, up=2, impl="cpu")
    assert y.shape == (0, 6, 14, 8)
    y.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


def test_layout_of_the_arguments_does_not_matter():
    a = {k: v.float() for k, v in _arguments(2, 6, 5, 9, 8, 3, 1).items()}
    expected = modulated_conv2d(**a, impl="cpu")
    strange = dict(a)
    strange["x"] = torch.cat([a["x"], a["x"]], 3)[..., :8]
    strange["weight"] = a["weight"].permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    strange["styles"] = torch.cat([a["styles"]] * 2, 1)[:, :6]
    shifted = torch.empty(a["bias"].numel() + 1)[1:]  # four bytes off any alignment
    strange["bias"] = shifted.copy_(a["bias"])
    assert torch.equal(modulated_conv2d(**strange, impl="cpu"), expected)


def test_not_a_number_stays():
    a = {k: v.float() for k, v in _arguments(1, 4, 4, 8, 8, 3, 1).items()}
    a["x"][0, 0, 0, 0] = float("nan")
    y = modulated_conv2d(**a, clamp=1.0, impl="cpu")
    assert y[0, :, :2, :2].isnan().all()


def test_threads_and_repetition_give_the_same_bits():
    a = {k: v.float() for k, v in _arguments(4, 32, 32, 16, 16, 3, 1).items()}
    dy = torch.ones(4, 32, 16, 16, dtype=torch.float64)
    first = _value_and_gradients(a, dy, torch.float32, impl="cpu")
    for value, again in zip(first, _value_and_gradients(a, dy, torch.float32, impl="cpu"), strict=True):
        assert torch.equal(value, again)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"up": 3}, "up"),
        ({"weight": torch.ones(4, 5, 3, 3)}, "weight"),
        ({"styles": torch.ones(1, 4)}, "styles"),
        ({"bias": torch.ones(3)}, "bias"),
        ({"noise": torch.ones(3, 3)}, "noise"),
        ({"noise_strength": None}, "noise_strength"),
        ({"activation": "relu"}, "activation"),
        ({"impl": "fast"}, "impl"),
    ],
)
def test_wrong_arguments_are_named(change, word):
    a = {k: v.float() for k, v in _arguments(2, 4, 4, 6, 6, 3, 1).items()}
    with pytest.raises(UsageError, match=rf"^{word}"):
        modulated_conv2d(**{**a, **change})


def test_a_named_implementation_never_falls_back():
    a = {k: v.float() for k, v in _arguments(1, 4, 4, 6, 6, 3, 1).items()}
    with pytest.raises(MissingBackendError, match="cuda"):
        modulated_conv2d(**a, impl="cuda")
    with pytest.raises(MissingBackendError, match="cpu"):
        modulated_conv2d(**{**a, "x": a["x"].half()}, impl="cpu")


SMALL_RUN = """
import torch
from everface.engine.ops.modulated_conv import modulated_conv2d
g = torch.Generator().manual_seed(0)
x, w, s = torch.randn(2, 24, 13, 17, generator=g), torch.randn(40, 24, 3, 3, generator=g), torch.ones(2, 24)
for dtype, limit in ((torch.float32, 2e-6), (torch.bfloat16, 0.02)):
    for up in (1, 2):
        y = modulated_conv2d(x.to(dtype), w, s, up=up, impl="cpu").double()
        r = modulated_conv2d(x.double(), w.double(), s.double(), up=up, impl="reference")
        error = float((y - r).norm() / r.norm())
        if error > limit:
            raise SystemExit(f"{dtype} up {up}: {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["base", "avx2", "avx512", "avx512bf16", "amx"])
def test_each_instruction_set(isa, monkeypatch):
    monkeypatch.setenv("EVERFACE_ISA", isa)
    done = subprocess.run([sys.executable, "-c", SMALL_RUN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
