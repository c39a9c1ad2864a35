"""A StyleGAN2 as named NumPy arrays: which it has and of what shapes, reading, cutting and writing; without PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.weights import check_shapes, finite_float32, pack_arrays, read_arrays, read_metadata
from everface.engine.ops.synthesis.weights import LayerWeights, SynthesisWeights

Shapes = dict[str, tuple[int, ...]]
_LARGEST = {
    "z_dim": 4096,
    "w_dim": 4096,
    "c_dim": 4096,
    "mapping_layers": 32,
    "channel_base": 1 << 18,
    "channel_max": 4096,
}
_MAPPING_RATE = 0.01  # of the mapping network's layers: their stored weights are this much larger
_BUFFERS = ("resample_filter", "noise_const", "w_avg")


@dataclass(frozen=True, eq=False)
class StyleGAN2Weights:
    """The numbers of a generator.

    Attributes:
        config: its shape.
        arrays: by NVIDIA's names, such as ``synthesis.b8.conv0.weight``, float32; parameters and constants.
        metadata: the file's text entries.
    """

    config: StyleGAN2Config
    arrays: dict[str, NDArray[np.float32]]
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, subject: str) -> StyleGAN2Weights:
        """Reads a safetensors file.

        Args:
            data: the whole file.
            subject: what to call it in errors.

        Raises:
            CheckpointError: not safetensors, not a StyleGAN2, or arrays missing, left over, misshapen or not finite.
        """
        metadata = read_metadata(data, subject)
        architecture = metadata.get("architecture")
        if architecture != "stylegan2":
            remedy = "pass a generator written by `everface import` or `everface pretrain`"
            if architecture == "stylegan2-synthesis":
                remedy = "it has no mapping network: import its checkpoint again with --mapping OFFICIAL_FILE"
            expected = "metadata with architecture stylegan2"
            raise CheckpointError(subject, expected=expected, found=repr(architecture), remedy=remedy)
        config, arrays = config_from_metadata(metadata, subject), read_arrays(data, subject)
        check_shapes(array_shapes(config), arrays, subject)
        return cls(config, finite_float32(arrays, subject), metadata)

    def to_bytes(self, metadata: Mapping[str, str], dtype: DTypeLike = np.float16) -> bytes:
        """Writes the arrays as safetensors, with their shape in the metadata.

        Raises:
            CheckpointError: a number is not finite in ``dtype``.
        """
        with np.errstate(over="ignore"):
            arrays = {name: array.astype(dtype) for name, array in self.arrays.items()}
        return pack_arrays(arrays, {**metadata, **config_to_metadata(self.config)})

    def cut(self, resolution: int) -> StyleGAN2Weights:
        """Those without the blocks above a resolution, sharing memory with these.

        Raises:
            UsageError: a larger resolution, or below 8.
        """
        if resolution > self.config.resolution:
            raise UsageError("resolution", expected=f"at most {self.config.resolution}", found=str(resolution))
        config = dataclasses.replace(self.config, resolution=resolution)
        return StyleGAN2Weights(config, {name: self.arrays[name] for name in array_shapes(config)}, self.metadata)

    @property
    def w_mean(self) -> NDArray[np.float32]:
        """Mean [w_dim] of W, towards which styles are truncated."""
        return self.arrays["mapping.w_avg"]

    def mapping_layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Weight [w_dim, fan_in] and bias [w_dim] of each fully connected layer, as they are used."""
        layers = []
        for i in range(self.config.mapping_layers):
            weight, bias = (self.arrays[f"mapping.fc{i}.{name}"] for name in ("weight", "bias"))
            gain = np.float32(_MAPPING_RATE / np.sqrt(weight.shape[1]))
            layers.append((weight * gain, bias * np.float32(_MAPPING_RATE)))
        return layers

    def map(self, z: NDArray[np.float32], psi: float = 1.0) -> NDArray[np.float32]:
        """W codes [n, w_dim] of Z codes [n, z_dim], truncated towards the mean by psi.

        Raises:
            UsageError: other shapes, or a generator that takes labels.
        """
        config = self.config
        if config.c_dim:
            raise UsageError("generator", expected="one without labels", found=f"labels of {config.c_dim} numbers")
        if z.ndim != 2 or z.shape[1] != config.z_dim:
            raise UsageError("z", expected=f"[n, {config.z_dim}]", found=str(z.shape))
        x = z / np.sqrt(np.square(z).mean(axis=1, keepdims=True) + np.float32(1e-8))
        for weight, bias in self.mapping_layers():
            x = x @ weight.T + bias
            x = np.where(x < 0, np.float32(0.2) * x, x) * np.float32(np.sqrt(2.0))
        return x if psi == 1 else np.asarray(self.w_mean + np.float32(psi) * (x - self.w_mean), np.float32)

    def synthesis(self) -> SynthesisWeights[NDArray[np.float32]]:
        """The synthesis network as its operators take it, not copied."""
        layers = []
        for side in self.config.block_resolutions:
            for kind in ("conv1", "torgb") if side == 4 else ("conv0", "conv1", "torgb"):
                name = f"b{side}.{kind}"
                part = partial(self._part, f"synthesis.{name}")
                layer = LayerWeights(name, part("affine.weight"), part("affine.bias"), part("weight"), part("bias"))
                if kind != "torgb":
                    layer = dataclasses.replace(layer, noise_strength=part("noise_strength"), noise=part("noise_const"))
                layers.append(layer)
        return SynthesisWeights(self.arrays["synthesis.b4.const"], tuple(layers), self.config.conv_clamp)

    def _part(self, layer: str, name: str) -> NDArray[np.float32]:
        return self.arrays[f"{layer}.{name}"]

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """The arrays that training changes: all but filters, noise images and the mean of W."""
        return {name: array for name, array in self.arrays.items() if not name.endswith(_BUFFERS)}


def array_shapes(config: StyleGAN2Config) -> Shapes:
    """The shape of each array of a generator, by name."""
    shapes: Shapes = {"mapping.w_avg": (config.w_dim,)}
    fan_in = config.z_dim
    if config.c_dim:
        shapes |= {"mapping.embed.weight": (config.w_dim, config.c_dim), "mapping.embed.bias": (config.w_dim,)}
        fan_in += config.w_dim
    for i in range(config.mapping_layers):
        shapes[f"mapping.fc{i}.weight"] = (config.w_dim, config.w_dim if i else fan_in)
        shapes[f"mapping.fc{i}.bias"] = (config.w_dim,)
    fan_in = 0
    for side in config.block_resolutions:
        block, width = f"synthesis.b{side}", config.channels(side)
        shapes[f"{block}.resample_filter"] = (4, 4)
        if side == 4:
            shapes[f"{block}.const"] = (width, 4, 4)
        else:
            shapes |= _layer_shapes(f"{block}.conv0", (width, fan_in, 3), config.w_dim, side)
        shapes |= _layer_shapes(f"{block}.conv1", (width, width, 3), config.w_dim, side)
        shapes |= _conv_shapes(f"{block}.torgb", (config.img_channels, width, 1), config.w_dim)
        fan_in = width
    return shapes


def _conv_shapes(name: str, shape: tuple[int, int, int], w_dim: int) -> Shapes:
    """A modulated convolution of [fan_out, fan_in, kernel]."""
    fan_out, fan_in, kernel = shape
    return {
        f"{name}.affine.weight": (fan_in, w_dim),
        f"{name}.affine.bias": (fan_in,),
        f"{name}.weight": (fan_out, fan_in, kernel, kernel),
        f"{name}.bias": (fan_out,),
    }


def _layer_shapes(name: str, shape: tuple[int, int, int], w_dim: int, side: int) -> Shapes:
    noise: Shapes = {f"{name}.noise_const": (side, side), f"{name}.noise_strength": ()}
    return _conv_shapes(name, shape, w_dim) | noise | {f"{name}.resample_filter": (4, 4)}


def check_stylegan2(
    settings: Mapping[str, str], arrays: Mapping[str, NDArray[Any]], subject: str, *, mapping: bool = True
) -> None:
    """Checks that arrays are exactly those of a StyleGAN2.

    Args:
        settings: text, as in a file's metadata.
        arrays: by name.
        subject: what to call them in errors.
        mapping: False for a synthesis network alone.

    Raises:
        CheckpointError: they are not.
    """
    shapes = array_shapes(config_from_metadata(settings, subject))
    if not mapping:
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith("mapping.")}
    check_shapes(shapes, arrays, subject)


def config_to_metadata(config: StyleGAN2Config) -> dict[str, str]:
    """The text entries that tell a generator's shape."""
    settings = {key: str(value) for key, value in dataclasses.asdict(config).items()}
    return settings | {"architecture": "stylegan2"}


def config_from_metadata(metadata: Mapping[str, str], subject: str) -> StyleGAN2Config:
    """The shape that a file's text entries tell.

    Raises:
        CheckpointError: an entry is no number, or larger than any generator's.
        UsageError: numbers that no generator has.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(StyleGAN2Config):
        name = field.name
        if name not in metadata:
            continue
        text = metadata[name]
        try:
            values[name] = (None if text == "None" else float(text)) if name == "conv_clamp" else int(text)
        except ValueError:
            raise CheckpointError(f"{subject}: {name}", expected="a number", found=repr(text[:40])) from None
    clamp = values.get("conv_clamp")
    if clamp is not None and not clamp > 0:
        raise CheckpointError(f"{subject}: conv_clamp", expected="a positive number", found=str(clamp))
    for name, largest in _LARGEST.items():
        if values.get(name, 1) > largest:
            raise CheckpointError(f"{subject}: {name}", expected=f"at most {largest}", found=str(values[name]))
    return StyleGAN2Config(**values)
