"""Who is in a picture: dlib's face recognition ResNet as a frozen, differentiable PyTorch module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from everface.engine.assets import asset_path
from everface.engine.errors import UsageError
from everface.engine.perception._images import require_images, shrink_to_at_most
from everface.engine.perception.chips import (
    CHIP,
    CHIP_CENTRE,
    CHIP_CROP_SCALE,
    CHIP_MEAN,
    CHIP_WIDTH,
    RESIDUALS,
)


class IdentityEmbedder(nn.Module):
    """dlib's 29-layer face recognition ResNet (King, dlib 19.3; CC0), with weights in int8 per output channel.

    Frozen and in inference mode, yet differentiable to its input. Descriptors of one person lie within about 0.6 of
    each other in Euclidean distance, those of different people farther apart.

    Args:
        tensors: the content of the asset: per layer ``.weight`` int8, ``.scale`` and ``.bias``.
        crop_scale: the images' FFHQ crop scale (0.8 for the embedded base, 1.0 for FFHQ generators).
    """

    def __init__(self, tensors: dict[str, Tensor], crop_scale: float = 0.8) -> None:
        super().__init__()
        if not 0.5 <= crop_scale <= 2.0:
            raise UsageError(
                "crop_scale", expected="0.5 to 2.0", found=f"{crop_scale}", remedy="pass the photos' scale"
            )
        self.crop_scale = crop_scale
        for name in ("conv32_down", "fc", *(f"{block}.conv{i}" for block in RESIDUALS for i in (1, 2))):
            weight, scale = tensors[f"{name}.weight"].float(), tensors[f"{name}.scale"]
            self._keep(name, "weight", weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
            if name != "fc":
                self._keep(name, "bias", tensors[f"{name}.bias"])
        self.register_buffer("mean", torch.tensor(CHIP_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.eval()

    @classmethod
    def load(cls, crop_scale: float = 0.8) -> IdentityEmbedder:
        """Reads the packaged weights (CC0, see ``assets/NOTICE.md``)."""
        return cls(load_file(asset_path("identity.safetensors")), crop_scale)

    def forward(self, images: Tensor) -> Tensor:
        """Descriptors [n, 128] of FFHQ-aligned faces.

        Args:
            images: [n, 3, side, side] in [-1, 1], aligned with this embedder's crop scale.

        Raises:
            UsageError: not such images.
        """
        require_images("images", images)
        return self.describe_chips(self.chips(images))

    def chips(self, images: Tensor) -> Tensor:
        """dlib's face chips [n, 3, 150, 150] in 0..255 of aligned images; what lies outside an image is mirrored."""
        side = images.shape[-1]
        width = CHIP_WIDTH * CHIP_CROP_SCALE / self.crop_scale
        images = shrink_to_at_most(images, 2 * CHIP / width)
        centre = [2 * (c - 0.5) * CHIP_CROP_SCALE / self.crop_scale for c in CHIP_CENTRE]
        theta = images.new_tensor([[width, 0.0, centre[0]], [0.0, width, centre[1]]])
        grid = F.affine_grid(theta.expand(len(images), 2, 3), [len(images), 3, CHIP, CHIP], align_corners=False)
        mode = "bicubic" if side < CHIP else "bilinear"
        chips = F.grid_sample(images, grid, mode=mode, padding_mode="reflection", align_corners=False)
        return (chips.clamp(-1, 1) + 1) * 127.5

    def describe_chips(self, chips: Tensor) -> Tensor:
        """Descriptors [n, 128] of ready face chips [n, 3, 150, 150] in 0..255 (RGB, dlib's padding 0.25)."""
        x = (chips - self.get_buffer("mean")) / 256
        x = F.relu(self._convolve(x, "conv32_down", stride=2, padding=0))
        x = F.max_pool2d(x, 3, 2)
        for block in RESIDUALS:
            x = self._residual(x, block, down="down" in block)
        return x.mean((2, 3)) @ self.get_buffer("fc_weight").t()

    def _residual(self, x: Tensor, block: str, down: bool) -> Tensor:
        y = F.relu(self._convolve(x, f"{block}.conv1", stride=2 if down else 1, padding=0 if down else 1))
        y = self._convolve(y, f"{block}.conv2", stride=1, padding=1)
        if not down:
            return F.relu(x + y)
        x = F.avg_pool2d(x, 2, 2)
        # dlib adds tensors of unequal size as if the smaller were padded with zeros at its end.
        height, width = max(x.shape[2], y.shape[2]), max(x.shape[3], y.shape[3])
        return F.relu(_pad_to(x, y.shape[1], height, width) + _pad_to(y, y.shape[1], height, width))

    def _convolve(self, x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        key = name.replace(".", "_")
        return F.conv2d(x, self.get_buffer(f"{key}_weight"), self.get_buffer(f"{key}_bias"), stride, padding)

    def _keep(self, name: str, kind: str, value: Tensor) -> None:
        self.register_buffer(f"{name.replace('.', '_')}_{kind}", value, persistent=False)


def _pad_to(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1]))
