"""Volume rendering of tri-planes in plain PyTorch: what the kernels are held to, and what exports to ONNX.

Sources: Chan et al. 2022 (EG3D, arXiv 2112.07945), sections 4.1 to 4.3; NeRF's quadrature and inverse transform
sampling. No searchsorted, no cumprod and no 5-D sampling, which ONNX lacks or runtimes compute slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Axes = Sequence[tuple[int, int]]
# Densities [n, m, 1], before softplus, and colours [n, m, features] of points [n, m, 3].
Volume = Callable[[Tensor], tuple[Tensor, Tensor]]


def sample_planes(planes: Tensor, points: Tensor, axes: Axes, box_warp: float) -> Tensor:
    """Mean of the planes' bilinear samples; zero outside of the cube.

    The projections are constant choices of two coordinates, and the sampling is the 4-D ``grid_sample``: both export.

    Args:
        planes: [n, 3, features, h, w].
        points: [n, m, 3] in world units.
        axes: which two coordinates are a plane's (column, row).
        box_warp: side of the cube around the origin.

    Returns:
        Features [n, m, features].
    """
    scaled = points * (2.0 / box_warp)
    total: Tensor | None = None
    for index, (column, row) in enumerate(axes):
        grid = scaled[:, None, :, (column, row)]
        sampled = F.grid_sample(planes[:, index], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        total = sampled if total is None else total + sampled
    if total is None:
        return points.new_zeros(0)
    return (total * (1.0 / 3.0))[:, :, 0].transpose(1, 2)


def decode(features: Tensor, decoder: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Densities [n, m, 1], before softplus, and colours [n, m, features] in about [0, 1].

    The sigmoid is widened by 0.001 to either side, so that 0 and 1 can be reached (MipNeRF).

    Args:
        features: [n, m, features].
        decoder: weight [hidden, features], bias [hidden], weight [1 + features, hidden], bias [1 + features].
    """
    first, first_bias, second, second_bias = decoder
    x = F.linear(F.softplus(F.linear(features, first, first_bias)), second, second_bias)
    return x[..., :1], torch.sigmoid(x[..., 1:]) * (1 + 2 * 0.001) - 0.001


def interval_weights(densities: Tensor, depths: Tensor) -> Tensor:
    """How much of a ray's light comes from each interval [n, rays, s - 1].

    Density is softplus(value - 1) at the interval's middle, and the transmittance before an interval is exp of minus
    the matter before it.

    Args:
        densities: [n, rays, s, 1], before softplus.
        depths: [n, rays, s], ascending.
    """
    density = F.softplus(0.5 * (densities[:, :, :-1, 0] + densities[:, :, 1:, 0]) - 1.0)
    matter = density * (depths[..., 1:] - depths[..., :-1])
    before = torch.cumsum(matter, dim=-1) - matter
    return (1 - torch.exp(-matter)) * torch.exp(-before)


def composite(densities: Tensor, colours: Tensor, depths: Tensor, white_back: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gathers sorted samples [n, rays, s, ...]: features, depth (NaN for a ray that sees nothing), opacity."""
    weights = interval_weights(densities, depths)
    opacity = weights.sum(dim=-1, keepdim=True)
    # Middles of neighbours: half of a sample's weight is that of either interval beside it.
    ends = F.pad(weights, (1, 1))
    shares = 0.5 * (ends[..., :-1] + ends[..., 1:])
    features = (shares[..., None, :] @ colours)[:, :, 0]
    if white_back:
        features = features + 1 - opacity
    depth = (shares * depths).sum(dim=-1, keepdim=True) / opacity
    return features * 2 - 1, depth, opacity


@torch.no_grad()
def importance_depths(depths: Tensor, weights: Tensor, quantiles: Tensor) -> Tensor:
    """Depths of the second pass [n, rays, importance samples], without gradients, in the quantiles' order.

    Args:
        depths: [n, rays, s] of the first pass.
        weights: [n, rays, s - 1] of the intervals between them.
        quantiles: [n, rays, importance samples] in [0, 1); broadcasts.
    """
    n, rays, samples = depths.shape
    # Blurred to the neighbours and lifted by a constant, so that nothing is missed for good (MipNeRF, section 3.2).
    spread = F.max_pool1d(weights.reshape(n * rays, 1, samples - 1), 2, 1, padding=1)
    spread = (spread[..., :-1] + spread[..., 1:]).reshape(n, rays, samples - 1) * 0.5 + 0.01
    # Bins lie between the middles of the intervals. As in the published networks, whose weights are used to it, the
    # outer intervals count for none, so the bin before the last middle is never sampled.
    middles = 0.5 * (depths[..., :-1] + depths[..., 1:])
    bins = spread[..., 1:-1] + 1e-5
    cumulated = torch.cumsum(bins / bins.sum(dim=-1, keepdim=True), dim=-1)
    cumulated = torch.cat((torch.zeros_like(cumulated[..., :1]), cumulated), dim=-1)
    quantiles = quantiles.to(depths).expand(n, rays, -1)
    # Counting is searchsorted in operations that ONNX has.
    above = (cumulated[..., None, :] <= quantiles[..., None]).sum(dim=-1)
    below, above = (above - 1).clamp(min=0), above.clamp(max=samples - 3)
    low, high = cumulated.gather(-1, below), cumulated.gather(-1, above)
    width = torch.where(high - low < 1e-5, torch.ones_like(low), high - low)
    start, end = middles.gather(-1, below), middles.gather(-1, above)
    return start + (quantiles - low) / width * (end - start)


def march(
    volume: Volume, rays: tuple[Tensor, Tensor], depths: Tensor, quantiles: Tensor | None, white_back: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Renders rays in two passes: features [n, rays, features], depth (NaN where nothing is met) and opacity.

    Args:
        volume: what the rays go through.
        rays: origins and directions [n, rays, 3].
        depths: of the first pass [n, rays, samples], ascending.
        quantiles: of the second pass; None for one pass only.
        white_back: whether what is behind is white.
    """
    densities, colours = _samples(volume, rays, depths)
    if quantiles is not None:
        finer = importance_depths(depths, interval_weights(densities, depths), quantiles)
        more = _samples(volume, rays, finer)
        depths, order = torch.sort(torch.cat((depths, finer), dim=-1), dim=-1)
        index = order[..., None]
        densities = torch.cat((densities, more[0]), dim=2).gather(2, index)
        colours = torch.cat((colours, more[1]), dim=2)
        colours = colours.gather(2, index.expand(-1, -1, -1, colours.shape[-1]))
    return composite(densities, colours, depths, white_back)


def _samples(volume: Volume, rays: tuple[Tensor, Tensor], depths: Tensor) -> tuple[Tensor, Tensor]:
    """Densities [n, rays, s, 1] and colours [n, rays, s, features] at depths [n, rays, s]."""
    origins, directions = rays
    n, count, samples = depths.shape
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    densities, colours = volume(points.reshape(n, count * samples, 3))
    return densities.reshape(n, count, samples, 1), colours.reshape(n, count, samples, -1)
