"""StyleGAN2's mapping network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.layers import FullyConnected


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
