"""rosinality's StyleGAN2 in NVIDIA's names and conventions.

The two agree in all but this: a convolution's stored weight is multiplied by 1 / sqrt(fan-in) when used (NVIDIA's is
not: demodulation would cancel it), has a leading dimension of one, and the noise strength, constants and biases have
other shapes.
"""

from __future__ import annotations

import math
import re

import numpy as np

from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.network import FIR, Imported
from everface.engine.generators.importing.nvidia import from_tensors
from everface.engine.generators.importing.tensors import Array
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights, array_shapes
from everface.engine.generators.weights import check_shapes

_W_SAMPLES = 10_000
_SEED = 0


def convert_rosinality(tensors: dict[str, Array], latent_average: Array | None) -> Imported:
    """Converts a ``g_ema``.

    Args:
        tensors: its state dictionary.
        latent_average: mean of W, where the checkpoint has one; else it is computed from 10,000 seeded samples.

    Raises:
        CheckpointError: a tensor is missing or of another shape, or a filter is not [1, 3, 3, 1].
    """
    source = _Source(tensors)
    notes: list[str] = []
    arrays = source.mapping()
    blocks = 1 + sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in tensors)
    arrays["synthesis.b4.const"] = source.take("input.input")[0]
    for index in range(blocks):
        side = 4 << index
        names = {"conv1": "conv1" if index == 0 else f"convs.{2 * index - 1}"}
        if index:
            names["conv0"] = f"convs.{2 * index - 2}"
        for layer, name in names.items():
            arrays |= source.convolution(name, f"synthesis.b{side}.{layer}")
            number = 2 * index - (layer == "conv0")
            arrays[f"synthesis.b{side}.{layer}.noise_const"] = _noise(tensors, number, side, notes)
        arrays |= source.colours("to_rgb1" if index == 0 else f"to_rgbs.{index - 1}", f"synthesis.b{side}.torgb")
        arrays[f"synthesis.b{side}.resample_filter"] = FIR
    w_dim = arrays["synthesis.b4.conv1.affine.weight"].shape[-1]
    average = np.zeros(w_dim, np.float32) if latent_average is None else latent_average.flatten()
    imported = from_tensors(arrays | {"mapping.w_avg": average}, None, {})
    if latent_average is None:
        notes.append(f"the file holds no mean of W: it was computed from {_W_SAMPLES} samples of seed {_SEED}")
        imported.tensors["mapping.w_avg"] = _mean_of_w(imported)
    return Imported(imported.architecture, imported.tensors, imported.settings, tuple(dict.fromkeys(notes)))


class _Source:
    def __init__(self, tensors: dict[str, Array]) -> None:
        self.tensors = tensors
        for name, value in tensors.items():
            # Its stored filters have the gain of upsampling, 4.
            if name.endswith("kernel") and (value.shape != FIR.shape or np.abs(value - 4 * FIR).max() > 1e-5):
                raise refuse("the resampling filter [1, 3, 3, 1]", f"another in {name[:60]}")

    def take(self, name: str, dimensions: int | None = None) -> Array:
        if name not in self.tensors:
            raise refuse(f"a tensor named {name[:80]}", "none")
        value = self.tensors[name]
        if value.ndim == 0 or (dimensions is not None and value.ndim != dimensions):
            raise refuse(f"{name[:80]} of {dimensions or 'some'} dimensions", f"{tuple(value.shape)}")
        return value

    def mapping(self) -> dict[str, Array]:
        arrays = {}
        # The first entry of `style` normalises and has no weights.
        count = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in self.tensors)
        for index in range(count):
            for kind in ("weight", "bias"):
                arrays[f"mapping.fc{index}.{kind}"] = self.take(f"style.{index + 1}.{kind}")
        return arrays

    def convolution(self, name: str, out: str) -> dict[str, Array]:
        weight = self.take(f"{name}.conv.weight", 5)[0]
        return self._affine(name, out) | {
            f"{out}.weight": weight / np.float32(math.sqrt(weight[0].size)),
            f"{out}.bias": self.take(f"{name}.activate.bias").flatten(),
            f"{out}.noise_strength": self.take(f"{name}.noise.weight").flatten()[0:1].reshape(()),
            f"{out}.resample_filter": FIR,
        }

    def colours(self, name: str, out: str) -> dict[str, Array]:
        return self._affine(name, out) | {
            f"{out}.weight": self.take(f"{name}.conv.weight", 5)[0],
            f"{out}.bias": self.take(f"{name}.bias").flatten(),
        }

    def _affine(self, name: str, out: str) -> dict[str, Array]:
        return {f"{out}.affine.{kind}": self.take(f"{name}.conv.modulation.{kind}") for kind in ("weight", "bias")}


def _noise(tensors: dict[str, Array], index: int, side: int, notes: list[str]) -> Array:
    noise = tensors.get(f"noises.noise_{index}")
    if noise is not None and noise.size == side * side:
        return noise.reshape(side, side)
    notes.append(f"the file holds no constant noise: it was drawn with seed {_SEED}")
    return np.random.default_rng(_SEED + index).standard_normal((side, side), np.float32)


def _mean_of_w(imported: Imported) -> Array:
    fields = StyleGAN2Config.__dataclass_fields__
    config = StyleGAN2Config(**{name: int(imported.settings[name]) for name in fields if name != "conv_clamp"})
    shapes = {name: shape for name, shape in array_shapes(config).items() if name.startswith("mapping.")}
    mapping = {name: array for name, array in imported.tensors.items() if name.startswith("mapping.")}
    check_shapes(shapes, mapping, "checkpoint")
    z = np.random.default_rng(_SEED).standard_normal((_W_SAMPLES, config.z_dim), np.float32)
    parts = [StyleGAN2Weights(config, mapping).map(part) for part in np.split(z, 10)]
    return np.asarray(np.mean([part.mean(axis=0) for part in parts], axis=0), np.float32)
