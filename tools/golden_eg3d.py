"""Compares EG3D with the original implementation and keeps some of its numbers as test data.

    python -m tools.golden_eg3d.py --original DIR [--out tests/data/eg3d_golden.npz] [--case NAME ...]

DIR is the folder ``eg3d`` of a checkout of github.com/NVlabs/eg3d. Its licence forbids copying its code into this
project; nothing of it is kept but the numbers that it computes from our seeded weights.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tools.agreement_eg3d import CASES, PARTS, render, sampled, seeded_eg3d, seeded_inputs
from torch import Tensor

from everface.engine.generators.eg3d.config import EG3DConfig


def original(folder: Path, config: EG3DConfig) -> torch.nn.Module:
    """The original generator of a shape."""
    sys.path.insert(0, str(folder))
    with contextlib.suppress(ModuleNotFoundError):
        import packaging.version

        sys.modules.setdefault("pkg_resources", types.SimpleNamespace(parse_version=packaging.version.parse))  # type: ignore[arg-type]
    from training.triplane import TriPlaneGenerator

    rays = config.render
    options = {
        "superresolution_module": f"training.superresolution.SuperresolutionHybrid{config.superresolution}",
        "depth_resolution": rays.samples, "depth_resolution_importance": rays.importance_samples,
        "ray_start": rays.ray_start, "ray_end": rays.ray_end, "box_warp": rays.box_warp,
        "disparity_space_sampling": False, "clamp_mode": "softplus", "decoder_lr_mul": 1,
        "c_gen_conditioning_zero": False, "c_scale": 1.0, "superresolution_noise_mode": "none", "sr_antialias": True,
    }  # fmt: skip
    shape = config.backbone
    network = TriPlaneGenerator(
        shape.z_dim, shape.c_dim, shape.w_dim, config.resolution, 3, sr_num_fp16_res=4,
        mapping_kwargs={"num_layers": shape.mapping_layers}, rendering_kwargs=options,
        channel_base=shape.channel_base, channel_max=shape.channel_max, num_fp16_res=0, conv_clamp=None,
        sr_kwargs={"channel_base": 32768, "channel_max": 512, "fused_modconv_default": "inference_only"},
    )  # fmt: skip
    network.neural_rendering_resolution = config.neural_resolution
    return network.eval().requires_grad_(False)


@contextlib.contextmanager
def same_numbers(config: EG3DConfig, noise: bool) -> Iterator[None]:
    """Gives the original the numbers that ours draws: it asks for the intervals' first, then for the quantiles."""
    rand, rand_like = torch.rand, torch.rand_like
    generator = torch.Generator().manual_seed(3)
    count = config.render.importance_samples

    def like(tensor: Tensor) -> Tensor:
        return rand(tensor.shape, generator=generator) if noise else torch.full_like(tensor, 0.5)

    def fresh(rows: int, columns: int, device: object = None) -> Tensor:
        if noise:
            return rand(rows, columns, generator=generator)
        return ((torch.arange(columns) + 0.5) / count).expand(rows, columns)

    torch.rand, torch.rand_like = fresh, like  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.rand, torch.rand_like = rand, rand_like


def theirs_of(network: torch.nn.Module, config: EG3DConfig, noise: bool) -> dict[str, Tensor]:
    z, c = seeded_inputs(config)
    ws = network.mapping(z, c, truncation_psi=0.7, truncation_cutoff=7)
    with same_numbers(config, noise):
        found = network.synthesis(ws, c, noise_mode="const", cache_backbone=True)
    parts = {"raw": found["image_raw"], "depth": found["image_depth"], "image": found["image"]}
    return {"planes": network._last_planes} | parts


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", action="append", choices=list(CASES))
    asked = parser.parse_args()
    kept = dict(np.load(asked.out)) if asked.out and asked.out.exists() else {}
    for name in asked.case or CASES:
        config = CASES[name].config
        ours, theirs = seeded_eg3d(config, CASES[name].gain), original(asked.original, config)
        theirs.load_state_dict(ours.state_dict())
        for noise in (False, True):
            start = time.monotonic()
            found, middle = render(ours, noise=noise), time.monotonic()
            wanted, end = theirs_of(theirs, config, noise), time.monotonic()
            told = [
                f"{part} {(found[part] - wanted[part]).abs().max().item():.1e} of {wanted[part].abs().max().item():.2f}"
                for part in PARTS
            ]
            seconds = f"{middle - start:.1f} s ours, {end - middle:.1f} s theirs"
            print(
                f"{name:22} {'noise' if noise else 'plain'}: largest difference {', '.join(told)}; {seconds}",
                flush=True,
            )
            spread = f"depth {wanted['depth'].min().item():.3f} to {wanted['depth'].max().item():.3f}"
            print(f"{'':22} {spread}, raw standard deviation {wanted['raw'].std().item():.3f}", flush=True)
            kept.update({f"{name}/{'noise' if noise else 'plain'}/{part}": sampled(wanted[part]) for part in PARTS})
        if asked.out:
            np.savez_compressed(asked.out, **kept)


if __name__ == "__main__":
    main()
