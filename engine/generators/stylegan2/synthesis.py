"""StyleGAN2's synthesis network (skip architecture, Karras et al. 2020, section 4.2), in plain PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.layers import SynthesisLayer, ToRGB
from everface.engine.ops.resample import upsample_2x
from everface.engine.ops.synthesis.weights import SynthesisWeights


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

    def forward(self, x: Tensor, image: Tensor | None, ws: Tensor, *, noise: bool = True) -> tuple[Tensor, Tensor]:
        """One step of the skip architecture.

        Args:
            x: [n, fan_in, h, h], or of the first block its constant.
            image: what the blocks before drew [n, colours, h, h], None before the first.
            ws: [n, num_convs + 1, w_dim], the last one for torgb.
            noise: whether the convolutions add their noise.

        Returns:
            Activations [n, fan_out, H, H] and the image [n, colours, H, H].
        """
        if self.num_convs == 2:
            x = self.conv0(x, ws[:, 0], noise=noise)
        x = self.conv1(x, ws[:, self.num_convs - 1], noise=noise)
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
        modules = [self.get_submodule(f"b{resolution}") for resolution in self.config.block_resolutions]
        return [block for block in modules if isinstance(block, SynthesisBlock)]

    def weights(self) -> SynthesisWeights[Tensor]:
        """Its tensors as the synthesis operators take them, not copied."""
        layers = []
        for block in self.blocks():
            named = [("conv1", block.conv1), ("torgb", block.torgb)]
            if block.num_convs == 2:
                named.insert(0, ("conv0", block.conv0))
            layers += [layer.weights(f"b{block.resolution}.{name}") for name, layer in named]
        return SynthesisWeights(self.blocks()[0].const, tuple(layers), self.config.conv_clamp)

    def arrays(self) -> SynthesisWeights[NDArray[np.float32]]:
        """The same as float32 arrays in C order, for inference."""
        return self.weights().convert(lambda tensor: tensor.detach().float().contiguous().numpy())

    def forward(self, ws: Tensor, *, noise: bool = True, dtype: torch.dtype | None = None) -> Tensor:
        """Renders styles.

        Args:
            ws: [n, num_ws, w_dim]; [n, w_dim] is used for every layer.
            noise: whether the convolutions add their noise.
            dtype: of the convolutions, float32 or bfloat16; that of ``ws`` by default.

        Returns:
            Images [n, 3, resolution, resolution], about [-1, 1], not clamped, in the dtype of ``ws``.
        """
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.config.num_ws, -1)
        if ws.ndim != 3 or ws.shape[1] != self.config.num_ws or ws.shape[2] != self.config.w_dim:
            expected = f"[n, {self.config.num_ws}, {self.config.w_dim}] or [n, {self.config.w_dim}]"
            raise UsageError("ws", expected=expected, found=str(tuple(ws.shape)))
        dtype = dtype or ws.dtype
        image: Tensor | None = None
        x = self.blocks()[0].const[None].to(dtype).expand(ws.shape[0], -1, -1, -1)
        index = 0
        for block in self.blocks():
            # torgb takes the style of the next block's first convolution.
            styles = ws[:, index : index + block.num_convs + 1]
            x, image = block(x, image, styles, noise=noise)
            index += block.num_convs
        if image is None:
            raise UsageError("resolution", expected="at least one block", found="none")
        return image
