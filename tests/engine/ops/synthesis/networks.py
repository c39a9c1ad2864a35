"""Small networks with random weights, noise and biases."""

from __future__ import annotations

import torch

from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork

W_DIM = 24


def small_network(clamp: float | None = None, colours: int = 3, resolution: int = 32) -> SynthesisNetwork:
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=resolution, w_dim=W_DIM, channel_base=512, channel_max=40, conv_clamp=clamp, img_channels=colours
    )
    network = SynthesisNetwork(config)
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
        if name.endswith("bias"):
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return network
