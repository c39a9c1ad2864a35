"""StyleGAN2 with NVIDIA's architecture and parameter names, in plain PyTorch.

Sources: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), equations 1 to 3 for the
modulated convolution; "Training Generative Adversarial Networks with Limited Data" (NeurIPS 2020) for the parameter
names and clamps. The weights of a convolution are shared by the whole batch: activations are scaled by the style
before it and by the demodulation factor after it, which is the same function as per-sample weights, exports with a
dynamic batch, and is several times faster on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.errors import UsageError
from everface.engine.ops.resample import fir_after_transpose, upsample_2x
from everface.engine.ops.synthesis.weights import LayerWeights, SynthesisWeights

__all__ = ["Generator", "MappingNetwork", "StyleGAN2Config", "SynthesisNetwork"]

_SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class StyleGAN2Config:
    """Shape of a generator.

    Attributes:
        resolution: side of the image in pixels, a power of two from 8 to 1024.
        z_dim, w_dim: dimensions of Z and W.
        c_dim: dimension of the conditioning label, 0 for none.
        mapping_layers: fully connected layers from Z to W.
        channel_base, channel_max: channels at resolution r are min(channel_base / r, channel_max).
        img_channels: 3 for RGB.
        conv_clamp: largest magnitude of every layer's result (256 in fp16-trained models), None for none.
    """

    resolution: int = 64
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        size = self.resolution
        if size < 8 or size > 1024 or size & (size - 1):
            raise UsageError("resolution", expected="a power of two from 8 to 1024", found=str(size))
        for name in ("z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "img_channels"):
            if getattr(self, name) < 1:
                raise UsageError(name, expected="at least 1", found=str(getattr(self, name)))

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """Resolutions of the synthesis blocks: 4, 8, ... resolution."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def num_ws(self) -> int:
        """Number of styles that the synthesis network takes: two a block, less the one that b4 lacks, plus torgb."""
        return 2 * len(self.block_resolutions)

    def channels(self, resolution: int) -> int:
        """Channels of the block at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


class FullyConnected(nn.Module):
    """Fully connected layer with equalised learning rate: the stored weight is scaled when used."""

    def __init__(self, fan_in: int, fan_out: int, *, bias: float = 0.0, lr_multiplier: float = 1.0, act: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((fan_out,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(fan_in)
        self.bias_gain = lr_multiplier
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, fan_in] to [n, fan_out]."""
        x = F.linear(x, *self.scaled())
        return F.leaky_relu(x, 0.2) * _SQRT2 if self.act else x

    def scaled(self) -> tuple[Tensor, Tensor]:
        """Weight [fan_out, fan_in] and bias [fan_out] as they are used."""
        return self.weight * self.weight_gain, self.bias if self.bias_gain == 1 else self.bias * self.bias_gain


def _normalise(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """Z (and a label) to W."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        fan_in = config.z_dim
        if config.c_dim:
            self.embed = FullyConnected(config.c_dim, config.w_dim)
            fan_in += config.w_dim
        for i in range(config.mapping_layers):
            layer = FullyConnected(fan_in if i == 0 else config.w_dim, config.w_dim, lr_multiplier=0.01, act=True)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Maps z [n, z_dim] (and c [n, c_dim]) to w [n, w_dim], truncated towards the mean by psi in [0, 1].

        With a cutoff in 0 to num_ws the result is [n, num_ws, w_dim], its first ``cutoff`` styles truncated.
        """
        x = _normalise(z)
        if self.config.c_dim:
            if c is None:
                raise UsageError("c", expected=f"a label [n, {self.config.c_dim}]", found="none")
            x = torch.cat([x, _normalise(self.embed(c))], dim=1)
        for i in range(self.config.mapping_layers):
            x = self.get_submodule(f"fc{i}")(x)
        # Not lerp: exporters reject it.
        truncated = x if psi == 1 else self.w_avg + psi * (x - self.w_avg)
        if cutoff is None:
            return truncated
        layers = self.config.num_ws
        if not 0 <= cutoff <= layers:
            raise UsageError("cutoff", expected=f"0 to {layers} styles", found=str(cutoff))
        return torch.stack([truncated] * cutoff + [x] * (layers - cutoff), dim=1)


class ModulatedConv(nn.Module):
    """What SynthesisLayer and ToRGB share: an affine style and a convolution whose input channels it scales."""

    resample_filter: Tensor

    def __init__(self, fan_in: int, fan_out: int, kernel: int, w_dim: int):
        super().__init__()
        self.affine = FullyConnected(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def weights(self, name: str) -> LayerWeights[Tensor]:
        """Its tensors as the synthesis operators take them."""
        return LayerWeights(name, self.affine.weight, self.affine.bias, self.weight, self.bias)


class SynthesisLayer(ModulatedConv):
    """Modulated 3x3 convolution (2x up or plain), demodulation, noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(self, fan_in: int, fan_out: int, resolution: int, *, up: bool, config: StyleGAN2Config):
        super().__init__(fan_in, fan_out, 3, config.w_dim)
        self.up, self.clamp = up, config.conv_clamp
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("resample_filter", torch.outer(taps, taps) / 64)
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))

    def weights(self, name: str) -> LayerWeights[Tensor]:
        """Its tensors as the synthesis operators take them, noise included."""
        plain = super().weights(name)
        return replace(plain, noise_strength=self.noise_strength, noise=self.noise_const)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps x [n, fan_in, h, h] with w [n, w_dim] to [n, fan_out, H, H].

        A given noise [n or 1, 1, H, H] replaces the layer's constant.
        """
        style = self.affine(w)
        demodulation = torch.rsqrt(style.square() @ self.weight.square().sum(dim=(2, 3)).t() + 1e-8)
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1).to(x.dtype), stride=2)
            x = fir_after_transpose(x)
        else:
            x = F.conv2d(x, self.weight.to(x.dtype), padding=1)
        noise = (self.noise_const if noise is None else noise) * self.noise_strength
        x = x * demodulation[:, :, None, None].to(x.dtype) + (noise + self.bias[:, None, None]).to(x.dtype)
        x = F.leaky_relu(x, 0.2) * _SQRT2
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(ModulatedConv):
    """Modulated 1x1 convolution to RGB, without demodulation."""

    def __init__(self, fan_in: int, config: StyleGAN2Config):
        super().__init__(fan_in, config.img_channels, 1, config.w_dim)
        self.weight_gain = 1 / math.sqrt(fan_in)
        self.clamp = config.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps x [n, fan_in, h, h] with w [n, w_dim] to an image [n, 3, h, h] in float32."""
        style = self.affine(w) * self.weight_gain
        x = F.conv2d(x * style[:, :, None, None].to(x.dtype), self.weight.to(x.dtype)).to(w.dtype)
        x = x + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution of the skip architecture.

    Args:
        resolution: side of what it gives.
        config: of the network that it belongs to.
        fan_in: channels of what it takes; those of the block before by default.
        up: whether it doubles the side, as all blocks after the first do but some of EG3D's.
    """

    resample_filter: Tensor

    def __init__(self, resolution: int, config: StyleGAN2Config, fan_in: int | None = None, *, up: bool = True):
        super().__init__()
        self.resolution, self.up, out = resolution, up, config.channels(resolution)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("resample_filter", torch.outer(taps, taps) / 64)
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(out, 4, 4))
        else:
            fan_in = config.channels(resolution // 2) if fan_in is None else fan_in
            self.conv0 = SynthesisLayer(fan_in, out, resolution, up=up, config=config)
        self.conv1 = SynthesisLayer(out, out, resolution, up=False, config=config)
        self.torgb = ToRGB(out, config)

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Tensor, noises: tuple[Tensor | None, Tensor | None] = (None, None)
    ) -> tuple[Tensor, Tensor]:
        """One step of the skip architecture.

        Args:
            x: [n, fan_in, h, h], or of the first block its constant.
            image: what the blocks before drew [n, colours, h, h], None before the first.
            ws: [n, num_convs + 1, w_dim], the last one for torgb.
            noises: of conv0 and conv1 [n or 1, 1, H, H]; the constants where None.

        Returns:
            Activations [n, fan_out, H, H] and the image [n, colours, H, H].
        """
        if self.num_convs == 2:
            x = self.conv0(x, ws[:, 0], noises[0])
        x = self.conv1(x, ws[:, self.num_convs - 1], noises[1])
        rgb = self.torgb(x, ws[:, self.num_convs])
        if image is None:
            return x, rgb
        return x, (upsample_2x(image) if self.up else image) + rgb

    @property
    def num_convs(self) -> int:
        """Convolutions before torgb."""
        return 1 if self.resolution == 4 else 2


class SynthesisNetwork(nn.Module):
    """W+ to an image."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        for resolution in config.block_resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(resolution, config))

    def blocks(self) -> list[SynthesisBlock]:
        """The blocks, coarse to fine."""
        found = [self.get_submodule(f"b{resolution}") for resolution in self.config.block_resolutions]
        return [block for block in found if isinstance(block, SynthesisBlock)]

    def weights(self) -> SynthesisWeights[Tensor]:
        """Its tensors as the synthesis operators take them, not copied."""
        layers = []
        for block in self.blocks():
            for name in ("conv0", "conv1", "torgb")[2 - block.num_convs :]:
                layer = block.get_submodule(name)
                if isinstance(layer, ModulatedConv):
                    layers.append(layer.weights(f"b{block.resolution}.{name}"))
        return SynthesisWeights(self.blocks()[0].const, tuple(layers), self.config.conv_clamp)

    def arrays(self) -> SynthesisWeights[NDArray[np.float32]]:
        """The same as float32 arrays in C order, for inference."""
        return self.weights().convert(lambda tensor: tensor.detach().float().contiguous().numpy())

    def random_noises(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh noise images [n, 1, r, r] of every layer, for :meth:`forward`; times 0.0 they are no noise."""
        found = {}
        for block in self.blocks():
            side = block.resolution
            for name in ("conv0", "conv1")[2 - block.num_convs :]:
                found[f"b{side}.{name}"] = torch.randn(n, 1, side, side, generator=generator)
        return found

    def forward(
        self, ws: Tensor, noises: dict[str, Tensor] | None = None, *, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Renders styles.

        Args:
            ws: [n, num_ws, w_dim]; [n, w_dim] is used for every layer.
            noises: noise images [n or 1, 1, r, r] by layer name such as ``"b8.conv1"``; the constants where absent.
            dtype: of the convolutions, float32 or bfloat16; that of ``ws`` by default.

        Returns:
            Images [n, 3, resolution, resolution], about [-1, 1], not clamped, in the dtype of ``ws``.
        """
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.config.num_ws, -1)
        if ws.ndim != 3 or ws.shape[1] != self.config.num_ws or ws.shape[2] != self.config.w_dim:
            expected = f"[n, {self.config.num_ws}, {self.config.w_dim}] or [n, {self.config.w_dim}]"
            raise UsageError("ws", expected=expected, found=str(tuple(ws.shape)))
        noises = noises or {}
        dtype = dtype or ws.dtype
        image: Tensor | None = None
        x = self.blocks()[0].const[None].to(dtype).expand(ws.shape[0], -1, -1, -1)
        index = 0
        for block in self.blocks():
            name = f"b{block.resolution}"
            # torgb takes the style of the next block's first convolution.
            styles = ws[:, index : index + block.num_convs + 1]
            x, image = block(x, image, styles, (noises.get(f"{name}.conv0"), noises.get(f"{name}.conv1")))
            index += block.num_convs
        if image is None:
            raise UsageError("resolution", expected="at least one block", found="none")
        return image


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)

    def forward(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Maps z [n, z_dim] (and c [n, c_dim]) to images [n, 3, resolution, resolution], about [-1, 1]."""
        images: Tensor = self.synthesis(self.mapping(z, c, psi=psi, cutoff=cutoff))
        return images
