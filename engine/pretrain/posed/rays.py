"""A cheaper rendering for training: the first pass finds where matter is, only the second is differentiated."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.cameras import Rays, camera_rays
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.eg3d.sampling import Jitter, stratified_depths
from everface.engine.generators.stylegan2.layers import FullyConnected
from everface.engine.ops.volume.reference import composite, importance_depths, interval_weights


def training_views(generator: TriPlaneGenerator, planes: Tensor, c: Tensor, side: int, draw: torch.Generator) -> Tensor:
    """Views [n, 3, side, side], about [-1, 1], of planes [n, 3, features, r, r] from cameras c [n, 25].

    As ``TriPlaneGenerator.render`` with noise, but only the samples of the second pass are put together, and only
    the three colours are decoded. In expectation it is the same integral.
    """
    config = generator.config.render
    rays = camera_rays(c, side)
    jitter = Jitter.draw(config, len(c), side * side, draw)
    with torch.no_grad():
        coarse = stratified_depths(rays.directions, config, jitter)
        density = _decoded(generator, planes.detach(), rays, coarse, 1)
        weights = interval_weights(density, coarse)
        depths = importance_depths(coarse, weights, jitter.importance).sort(dim=-1).values
    decoded = _decoded(generator, planes, rays, depths, 4)
    colours = torch.sigmoid(decoded[..., 1:]) * 1.002 - 0.001
    features, _, _ = composite(decoded[..., :1], colours, depths, white_back=False)
    return features.transpose(1, 2).reshape(len(c), 3, side, side)


def _decoded(generator: TriPlaneGenerator, planes: Tensor, rays: Rays, depths: Tensor, outputs: int) -> Tensor:
    """The first outputs of the decoder [n, rays, s, outputs] at depths [n, rays, s]."""
    n, count, samples = depths.shape
    points = rays.origins[:, :, None] + depths[..., None] * rays.directions[:, :, None]
    x = generator.field(planes).features(points.reshape(n, count * samples, 3))
    first, softplus, last = generator.decoder.net
    if not isinstance(last, FullyConnected):
        raise UsageError("decoder", expected="a fully connected layer at its end", found=type(last).__name__)
    hidden = softplus(first(x))
    weight, bias = last.weight[:outputs] * last.weight_gain, last.bias[:outputs] * last.bias_gain
    return F.linear(hidden, weight, bias).reshape(n, count, samples, outputs)
