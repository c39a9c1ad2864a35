"""The border to C++: arguments that do not fit are named and refused, nothing is written, PyTorch is not needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.dlpack import to_dlpack

from everface import _native

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Binding:
    """A native call: arrays that fit together, how to make it, which of them it writes, and which may be None."""

    arrays: Callable[[], Arrays]
    call: Callable[[Arrays], object]
    outputs: frozenset[str]
    optional: frozenset[str] = frozenset()


def _floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _conv_arrays() -> Arrays:
    y = {"y": _floats(2, 10, 8, 6), "demod": _floats(2, 6)}
    x = {"x": _floats(2, 5, 4, 3), "weight": _floats(6, 3, 3, 3), "styles": _floats(2, 3)}
    return {**x, "noise": _floats(1, 10, 8), "bias": _floats(6), **y}


def _conv(arrays: Arrays) -> _native.ModulatedConv:
    inputs = {name: arrays[name] for name in ("x", "weight", "styles", "noise", "bias")}
    return _native.ModulatedConv(**inputs, strength=0.1, up=True)


def _conv_gradients() -> Arrays:
    shapes = {"dx": (2, 5, 4, 3), "dstyles": (2, 3), "dweight": (6, 3, 3, 3), "dbias": (6,), "dstrength": (1,)}
    return {**_conv_arrays(), "dy": _floats(2, 10, 8, 6), **{name: _floats(*shape) for name, shape in shapes.items()}}


def _conv_backward(arrays: Arrays) -> None:
    names = ("y", "demod", "dy", "dx", "dstyles", "dweight", "dbias", "dstrength")
    _conv(arrays).backward(**{name: arrays[name] for name in names})


def _layer(prefix: str, cout: int, cin: int, side: int | None) -> Arrays:
    taps = 1 if side is None else 3
    arrays = {"affine_weight": _floats(cin, 5), "affine_bias": _floats(cin), "weight": _floats(cout, cin, taps, taps)}
    arrays["bias"] = _floats(cout)
    if side is not None:
        arrays |= {"noise_strength": np.array(0.1, np.float32), "noise": _floats(side, side)}
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _network_arrays() -> Arrays:
    layers = ((6, 6, 4), (3, 6, None), (4, 6, 8), (4, 4, 8), (3, 4, None))
    arrays = {"constant": _floats(6, 4, 4)}
    for index, sizes in enumerate(layers):
        arrays |= _layer(f"layers[{index}]", *sizes)
    return arrays


def _network(arrays: Arrays) -> _native.SynthesisWeights:
    parts: list[Arrays] = [{} for _ in range(5)]
    for name, array in arrays.items():
        if name.startswith("layers["):
            parts[int(name[7])][name.split(".")[1]] = array
    return _native.SynthesisWeights(
        constant=arrays["constant"], layers=[_native.SynthesisLayer(**part) for part in parts]
    )


def _pass_arrays() -> Arrays:
    return {**_network_arrays(), "ws": _floats(2, 4, 5), "image": _floats(2, 3, 8, 8), "dimage": _floats(2, 3, 8, 8),
            "dws": _floats(2, 4, 5)}  # fmt: skip


def _pass(arrays: Arrays) -> None:
    run = _native.SynthesisPass(_network(arrays), ws=arrays["ws"], image=arrays["image"], precision="bf16")
    run.backward(dimage=arrays["dimage"], gradients=_network(_network_arrays()), dws=arrays["dws"])


def _packed(arrays: Arrays) -> None:
    _native.PackedSynthesis(_network(arrays), precision="fp32").run(ws=arrays["ws"], out=arrays["out"])


_SCENE = {
    "planes": (1, 3, 4, 5, 5), "hidden_weight": (6, 4), "hidden_bias": (6,), "out_weight": (5, 6), "out_bias": (5,),
    "origins": (1, 7, 3), "directions": (1, 7, 3), "depths": (1, 7, 6), "quantiles": (1, 1, 5),
}  # fmt: skip
_RENDERED = {"features": (1, 7, 4), "depth": (1, 7, 1), "opacity": (1, 7, 1)}


def _volume(arrays: Arrays) -> None:
    scene = {name: arrays[name] for name in _SCENE}
    rendering = _native.VolumeRendering(**scene, axes=((0, 1), (0, 2), (2, 0)), box_warp=1.0)
    rendering.forward(**{name: arrays[name] for name in _RENDERED})
    rendering.backward(
        **{f"d{name}": arrays[f"d{name}"] for name in _RENDERED},
        **{f"d{name}": arrays[f"d{name}"] for name in list(_SCENE)[:5]},
    )


def _volume_arrays() -> Arrays:
    arrays = {name: _floats(*shape) for name, shape in {**_SCENE, **_RENDERED}.items()}
    arrays["depths"] = np.sort(np.abs(arrays["depths"]), axis=-1)
    arrays["quantiles"] = np.abs(arrays["quantiles"]) % 1
    gradients = {**_RENDERED, **dict(list(_SCENE.items())[:5])}
    return arrays | {f"d{name}": _floats(*shape) for name, shape in gradients.items()}


_NOISES = frozenset({"layers[0].noise", "layers[2].noise", "layers[3].noise"})
BINDINGS = {
    "conv forward": Binding(
        _conv_arrays, lambda a: _conv(a).forward(y=a["y"], demod=a["demod"]), frozenset({"y", "demod"}),
        frozenset({"noise", "bias"}),
    ),
    "conv backward": Binding(
        _conv_gradients, _conv_backward, frozenset({"dx", "dstyles", "dweight", "dbias", "dstrength"}),
        frozenset({"noise", "bias", "dx", "dstyles", "dweight", "dbias", "dstrength"}),
    ),
    "synthesis pass": Binding(_pass_arrays, _pass, frozenset({"image", "dws"}), _NOISES | {"dws"}),
    "packed synthesis": Binding(
        lambda: {**_network_arrays(), "ws": _floats(2, 4, 5), "out": _floats(2, 3, 8, 8)}, _packed,
        frozenset({"out"}), _NOISES,
    ),
    "volume": Binding(
        _volume_arrays, _volume, frozenset({*_RENDERED, *(f"d{name}" for name in list(_SCENE)[:5])}),
        frozenset({"quantiles", *(f"d{name}" for name in list(_SCENE)[:5])}),
    ),
}  # fmt: skip
_LEADING = ("x", "planes", "constant")
_EVERY = [(kind, name) for kind, binding in BINDINGS.items() for name in binding.arrays()]


def _misfits(array: NDArray[np.float32], output: bool) -> dict[str, Any]:
    """Values for an argument that are near to the right one, and wrong."""
    bad: dict[str, Any] = {
        "float64": array.astype(np.float64),
        "int32": array.astype(np.int32),
        "half": array.astype(np.float16),
        "big-endian": array.astype(">f4"),
        "another rank": array[None],
        "text": "array",
        "list": array.tolist(),
        "object": array.astype(object),
    }
    if array.ndim:
        bad["longer"] = np.concatenate([array, array], axis=-1)
        bad["shorter first"] = array[:0]
        bad["strided"] = np.repeat(array, 2, axis=-1)[..., ::2] if array.size > 1 else array.astype(np.float64)
        bad["backwards"] = array[..., ::-1] if array.shape[-1] > 1 else array.astype(np.float64)
        raw = np.zeros(array.nbytes + 1, np.uint8)
        bad["misaligned"] = raw[1:].view(np.float32).reshape(array.shape)
    if array.ndim > 1 and min(array.shape[-2:]) > 1:
        bad["fortran"] = np.asfortranarray(array)
    if output:
        bad["read-only"] = array.copy()
        bad["read-only"].flags.writeable = False
    return bad


@pytest.mark.parametrize(("kind", "name"), _EVERY)
def test_misfits_are_refused_by_name_and_nothing_is_written(kind, name):
    binding = BINDINGS[kind]
    binding.call(binding.arrays())
    misfits = _misfits(binding.arrays()[name], name in binding.outputs)
    if name not in binding.optional:
        misfits["none"] = None
    for what, value in misfits.items():
        arrays = binding.arrays() | {name: value}
        before = {output: arrays[output].copy() for output in binding.outputs if output != name}
        try:
            binding.call(arrays)
        except (ValueError, TypeError) as error:
            # What fits by itself decides the types or sizes of the others, the first of which is named.
            leads = what in ("longer", "shorter first", "another rank") or (what == "float64" and name in _LEADING)
            assert name in str(error) or leads, f"{what}: {error}"
        else:
            either = "noise" in name and what == "another rank"
            assert either or name in ("depths", "quantiles"), f"{what} was taken for {name}"
            continue
        if kind in ("conv forward", "conv backward", "packed synthesis"):
            for output, array in before.items():
                assert np.array_equal(array, arrays[output]), f"{what}: {output} was written"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in BINDINGS for name in sorted(BINDINGS[kind].optional)]
)
def test_optional_arrays_may_be_none(kind, name):
    BINDINGS[kind].call(BINDINGS[kind].arrays() | {name: None})


SHAPES = st.tuples(*(st.integers(0, 3) for _ in range(2)), st.integers(0, 9), st.integers(0, 9), st.integers(0, 5))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SHAPES, SHAPES, st.sampled_from(["f4", "f8", "u2"]), st.booleans())
def test_any_shape_gives_a_result_or_an_error(shape, other, kind, up):
    n, cin, height, width, cout = shape
    real = np.float64 if kind == "f8" else np.float32
    factor = 2 if up else 1
    sizes = {"x": (n, height, width, cin), "weight": (cout, cin, 3, 3), "styles": (n, cin), "bias": (cout,)}
    arrays = {name: np.ones(size, kind if name == "x" else real) for name, size in sizes.items()}
    changed = list(arrays)[other[0] % 4]
    if other[1] == 0:
        arrays[changed] = np.ones(other[: arrays[changed].ndim], arrays[changed].dtype)
    y, demod = np.ones((n, factor * height, factor * width, cout), kind), np.ones((n, cout), real)
    try:
        layer = _native.ModulatedConv(**arrays, up=up)
        layer.forward(y=y, demod=demod)
        dx = np.ones_like(arrays["x"])
        layer.backward(y=y, demod=demod, dy=y.copy(), dx=dx, dweight=np.ones_like(arrays["weight"]))
    except ValueError as error:
        assert str(error).split(":")[0] in {*arrays, "y", "demod", "dx", "dy", "dweight"}


def test_a_network_has_one_noise_image_a_layer():
    for count in (0, 2):
        arrays = _pass_arrays() | {"layers[2].noise": _floats(count, 8, 8)}
        with pytest.raises(ValueError, match=r"layers\[2\].noise: expected float32 \[1, 8, 8\]"):
            _pass(arrays)


def test_capsules_and_arrays_are_the_same():
    arrays = _conv_arrays()
    _conv(arrays).forward(y=arrays["y"], demod=arrays["demod"])
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    layer = _conv({name: to_dlpack(tensor) for name, tensor in tensors.items()})
    layer.forward(y=to_dlpack(tensors["y"]), demod=tensors["demod"])  # an object with __dlpack__ serves as well
    np.testing.assert_array_equal(tensors["y"].numpy(), arrays["y"])


def test_bfloat16_crosses_as_uint16():
    arrays = _conv_arrays()
    x = torch.from_numpy(arrays["x"]).bfloat16()
    y, other = torch.empty(2, 10, 8, 6, dtype=torch.bfloat16), np.empty((2, 10, 8, 6), np.uint16)
    _conv(arrays | {"x": to_dlpack(x)}).forward(y=to_dlpack(y), demod=arrays["demod"])
    _conv(arrays | {"x": x.view(torch.uint16).numpy()}).forward(y=other, demod=arrays["demod"])
    np.testing.assert_array_equal(y.view(torch.uint16).numpy(), other)


def test_a_used_capsule_is_refused():
    capsule = to_dlpack(torch.ones(2, 5, 4, 3))
    torch.utils.dlpack.from_dlpack(capsule)
    with pytest.raises(ValueError, match="x: expected an unused DLPack capsule"):
        _conv(_conv_arrays() | {"x": capsule}).forward(y=_floats(2, 10, 8, 6), demod=_floats(2, 6))


def test_a_layer_keeps_its_arrays():
    layer = _conv(_conv_arrays())  # nobody else has them
    y, demod = _floats(2, 10, 8, 6), _floats(2, 6)
    layer.forward(y=y, demod=demod)
    again = y.copy()
    _conv_arrays()
    layer.forward(y=y, demod=demod)
    np.testing.assert_array_equal(y, again)


def test_bindings_need_no_torch():
    program = "import sys; from everface import _native; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
