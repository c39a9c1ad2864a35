"""How alike two pictures look: distances between MobileNetV2 features ("MobileNetV2 distance")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from everface.engine.assets import asset_path
from everface.engine.perception._images import require_images

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# MobileNetV2's blocks 1 to 13 and those of them that add their input (Sandler et al. 2018, table 2).
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1)
RESIDUAL_BLOCKS = (3, 5, 6, 8, 9, 10, 12, 13)
TAPS = ("stem", "block1", "block3", "block6", "block10", "block13")


class PerceptualDistance(nn.Module):
    """Mean squared difference of unit-length feature vectors, over places and layers (after Zhang et al. 2018).

    The features are MobileNetV2's, trained on ImageNet, with batch norms folded in; there are no learned weights per
    channel. Call the result "MobileNetV2 distance": it is not LPIPS and its numbers do not compare with LPIPS.

    Args:
        tensors: the content of the asset: per layer ``.weight`` and ``.bias``.
        side: images smaller than this are enlarged (bilinearly, by a whole factor) before the network.
        taps: layers whose outputs are compared.
    """

    def __init__(self, tensors: dict[str, Tensor], side: int = 128, taps: tuple[str, ...] = TAPS) -> None:
        super().__init__()
        self.side, self.taps = side, taps
        for name, value in tensors.items():
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            self.register_buffer(name.replace(".", "_"), value.float().contiguous(memory_format=layout), False)
        self.register_buffer("gain", 0.5 / torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)
        offset = (0.5 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        self.register_buffer("offset", offset.reshape(1, 3, 1, 1), persistent=False)
        self.eval()

    @classmethod
    def load(cls) -> PerceptualDistance:
        """Reads the packaged weights (see ``assets/NOTICE.md``)."""
        return cls(load_file(asset_path("perceptual.safetensors")))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Unit-length feature maps [n, c, h_i, w_i], one per tapped layer; those of fixed targets can be cached.

        Args:
            images: [n, 3, side, side] in [-1, 1].

        Raises:
            UsageError: not such images.
        """
        return tuple(_unit(x) for x in self.activations(images, self.taps))

    def activations(self, images: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Outputs [n, c, h_i, w_i] of the named layers (``"stem"``, ``"block1"`` .. ``"block13"``), not normalised.

        Images and errors as ``features``.
        """
        require_images("images", images)
        # Channels last: the CPU's backward of a depthwise convolution is two to ten times faster so.
        x = images.contiguous(memory_format=torch.channels_last)
        if (factor := round(self.side / x.shape[-1])) > 1:
            x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        x = x * self.get_buffer("gain") + self.get_buffer("offset")
        x = F.relu6(F.conv2d(x, *self._layer("stem"), stride=2, padding=1))
        features = {"stem": x}
        depth = max((int(layer.removeprefix("block")) for layer in layers if layer != "stem"), default=0)
        for i, stride in enumerate(STRIDES[:depth], start=1):
            y = self._block(x, f"block{i}", stride)
            features[f"block{i}"] = x = x + y if i in RESIDUAL_BLOCKS else y
        return tuple(features[layer] for layer in layers)

    def distance(self, features_a: tuple[Tensor, ...], features_b: tuple[Tensor, ...]) -> Tensor:
        """MobileNetV2 distance [n] from features: 0 for equal pictures, 4 at the most."""
        layers = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(features_a, features_b, strict=True)]
        return torch.stack(layers).mean(0)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """MobileNetV2 distance [n] of each image to its target, both [n, 3, side, side] in [-1, 1]."""
        return self.distance(self.features(images), self.features(targets))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        if name != "block1":  # the first block expands by 1
            x = F.relu6(F.conv2d(x, *self._layer(f"{name}_expand")))
        x = F.relu6(F.conv2d(x, *self._layer(f"{name}_depthwise"), stride, padding=1, groups=x.shape[1]))
        return F.conv2d(x, *self._layer(f"{name}_project"))

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")


def _unit(x: Tensor) -> Tensor:
    return x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt()
