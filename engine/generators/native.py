"""A synthesis network's parameters as the native module takes them: addresses, sizes, nothing copied."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.stylegan2 import StyleGAN2Config, SynthesisLayer, SynthesisNetwork, ToRGB

__all__ = [
    "MAX_COLOURS",
    "NativeParameters",
    "bind",
    "check_supported",
    "full_ws",
    "is_supported",
    "network_parameters",
    "noise_images",
]

MAX_COLOURS = 4
_PER_LAYER = 5  # affine weight, affine bias, weight, bias, noise strength


@dataclass(frozen=True)
class NativeParameters:
    """Parameters in the native order, dense and of one type.

    Attributes:
        constant: [channels, 4, 4].
        layers: by layer, (conv0) conv1 torgb of each block: affine weight, affine bias, weight, bias, noise strength
            (torgb has none).
    """

    constant: Tensor
    layers: tuple[tuple[Tensor, ...], ...]

    @classmethod
    def from_flat(cls, flat: tuple[Tensor, ...], blocks: int) -> NativeParameters:
        """The inverse of :func:`network_parameters`."""
        at, layers = 1, []
        for index in range(3 * blocks - 1):
            count = _PER_LAYER - 1 if (index + 2) % 3 == 0 else _PER_LAYER
            layers.append(flat[at : at + count])
            at += count
        return cls(flat[0], tuple(layers))

    def addresses(self) -> list[list[int]]:
        """Of each layer's five parameters, 0 where there is none."""
        return [[t.data_ptr() for t in layer] + [0] * (_PER_LAYER - len(layer)) for layer in self.layers]


def _of_layer(layer: SynthesisLayer | ToRGB) -> tuple[Tensor, ...]:
    common = (layer.affine.weight, layer.affine.bias, layer.weight, layer.bias)
    return (*common, layer.noise_strength) if isinstance(layer, SynthesisLayer) else common


def _layers(network: SynthesisNetwork) -> list[tuple[str, SynthesisLayer | ToRGB]]:
    named: list[tuple[str, SynthesisLayer | ToRGB]] = []
    for block in network.blocks():
        if block.resolution > 4:
            named.append((f"b{block.resolution}.conv0", block.conv0))
        named += [(f"b{block.resolution}.conv1", block.conv1), (f"b{block.resolution}.torgb", block.torgb)]
    return named


def network_parameters(network: SynthesisNetwork) -> tuple[Tensor, ...]:
    """All trainable tensors of the network in the native order: the constant, then layer by layer."""
    rest = [tensor for _, layer in _layers(network) for tensor in _of_layer(layer)]
    return (network.blocks()[0].const, *rest)


def check_supported(network: SynthesisNetwork) -> None:
    """Raises MissingBackendError unless the native synthesis covers this network."""
    device = network.blocks()[0].const.device
    if network.config.img_channels > MAX_COLOURS or device.type != "cpu":
        found = f"{network.config.img_channels} channels on {device}"
        remedy = "use everface.engine.generators.fused.render with impl='auto'"
        raise MissingBackendError("native synthesis", expected="up to 4 colours on the CPU", found=found, remedy=remedy)


def is_supported(network: SynthesisNetwork, ws: Tensor, dtype: torch.dtype | None) -> bool:
    """Whether the native synthesis covers this network and these types."""
    on_cpu = network.blocks()[0].const.device.type == "cpu" and ws.device.type == "cpu"
    types = (ws.dtype, dtype or ws.dtype)
    known = types in ((torch.float32,) * 2, (torch.float64,) * 2, (torch.float32, torch.bfloat16))
    return on_cpu and known and network.config.img_channels <= MAX_COLOURS


def full_ws(config: StyleGAN2Config, ws: Tensor) -> Tensor:
    """Styles for each layer: [n, num_ws, w_dim], from that or from [n, w_dim]."""
    if ws.ndim == 2:
        ws = ws[:, None].expand(-1, config.num_ws, -1)
    if ws.ndim != 3 or ws.shape[1] != config.num_ws or ws.shape[2] != config.w_dim:
        expected = f"[n, {config.num_ws}, {config.w_dim}] or [n, {config.w_dim}]"
        raise UsageError("ws", expected=expected, found=str(tuple(ws.shape)), remedy="pass styles of this network")
    return ws


def noise_images(network: SynthesisNetwork, noises: dict[str, Tensor] | None, real: torch.dtype) -> list[Tensor | None]:
    """By layer: the noise given by name, else the constant; None for torgb."""
    noises = noises or {}
    found: list[Tensor | None] = []
    for name, layer in _layers(network):
        if isinstance(layer, SynthesisLayer):
            found.append(noises.get(name, layer.noise_const).detach().to(real).contiguous())
        else:
            found.append(None)
    return found


def bind(
    config: StyleGAN2Config, parameters: NativeParameters, noise: list[Tensor | None], batch: int
) -> _native.BoundSynthesis:
    """Addresses for the native module; the tensors must outlive the result.

    Raises:
        UsageError: a noise image is not of its layer's size.
    """
    steps = []
    for index, image in enumerate(noise):
        side = 4 << ((index + 1) // 3)
        if image is not None and image.numel() not in (side * side, batch * side * side):
            expected = f"[1 or {batch}, 1, {side}, {side}]"
            raise UsageError(
                "noises", expected=expected, found=str(tuple(image.shape)), remedy="match the layer's size"
            )
        steps.append(0 if image is None or image.numel() == side * side else side * side)
    return _native.BoundSynthesis(
        config.resolution,
        config.w_dim,
        config.img_channels,
        [config.channels(r) for r in config.block_resolutions],
        math.inf if config.conv_clamp is None else config.conv_clamp,
        parameters.constant.data_ptr(),
        parameters.addresses(),
        [0 if image is None else image.data_ptr() for image in noise],
        steps,
    )
