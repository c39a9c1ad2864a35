"""How smoothly a generator's pictures change along paths in W."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.space import normal_z
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.perception.perceptual import PerceptualDistance


@torch.no_grad()
def path_length(
    generator: Generator, perceptual: PerceptualDistance, paths: int = 300, step: float = 0.02, seed: int = 0
) -> float:
    """Perceptual path length in W (Karras et al., CVPR 2019, section 4.1) with MobileNetV2 instead of VGG-16.

    The mean over paths of ``distance(G(a), G(b)) / step ** 2``, where a and b lie ``step`` of the way between two
    mapped codes apart, at a random place. The measure is noisy in its upper tail, so the paths outside the
    1st and 99th percentile are left out. Its numbers compare with one another only, not with published ones.

    Args:
        generator: in evaluation mode.
        perceptual: the distance.
        paths: how many.
        step: length of a piece as a share of its path, 1e-4 to 0.5; the published 1e-4 is below the rounding of float32
            in a distance this small.
        seed: of paths and places.

    Raises:
        UsageError: a number out of range.
    """
    if not 1e-4 <= step <= 0.5:
        raise UsageError("step", expected="1e-4 to 0.5", found=f"{step}")
    if paths < 1:
        raise UsageError("paths", expected="at least 1", found=str(paths))
    rng = np.random.default_rng(seed)
    distances: list[Tensor] = []
    ends = generator.mapping(normal_z(2 * paths, generator.config.z_dim, seed))
    for first, last in zip(torch.split(ends[:paths], 20), torch.split(ends[paths:], 20), strict=True):
        place = torch.from_numpy(rng.random((len(first), 1)) * (1 - step)).float()
        near = [
            synthesize(generator.synthesis.weights(), torch.lerp(first, last, place + shift)) for shift in (0.0, step)
        ]
        distances.append(perceptual(near[0].clamp(-1, 1), near[1].clamp(-1, 1)) / step**2)
    lengths = torch.cat(distances).double().numpy()
    low, high = np.percentile(lengths, [1, 99])
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
