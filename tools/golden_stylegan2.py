"""Compares the generator with the original implementations and keeps some of their pixels as test data.

    python -m tools.golden_stylegan2.py --original DIR [--out tests/data/stylegan2_golden.npz] [--case NAME ...]

DIR is a checkout of github.com/NVlabs/stylegan2-ada-pytorch or github.com/NVlabs/stylegan3. Their licence forbids
copying their code into this project; nothing of it is kept but the pixels that it computes from our seeded weights.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools.agreement import CASES, Case, render, sampled, seeded_generator, seeded_inputs

from everface.engine.ops.synthesis.inference import PackedSynthesis


def original(folder: Path, case: Case) -> torch.nn.Module:
    """The original generator of a case's shape."""
    sys.path.insert(0, str(folder))
    with contextlib.suppress(ModuleNotFoundError):
        import packaging.version

        sys.modules.setdefault("pkg_resources", types.SimpleNamespace(parse_version=packaging.version.parse))  # type: ignore[arg-type]
    config = case.config
    synthesis: dict[str, Any] = {
        "channel_base": config.channel_base, "channel_max": config.channel_max, "conv_clamp": config.conv_clamp,
        "num_fp16_res": 0,
    }  # fmt: skip
    if (folder / "training" / "networks_stylegan2.py").exists():
        from training.networks_stylegan2 import Generator
    else:
        from training.networks import Generator

        synthesis = {"synthesis_kwargs": synthesis}
    return Generator(
        z_dim=config.z_dim, c_dim=config.c_dim, w_dim=config.w_dim, img_resolution=config.resolution,
        img_channels=config.img_channels, mapping_kwargs={"num_layers": config.mapping_layers}, **synthesis,
    ).eval()  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", action="append", choices=list(CASES))
    asked = parser.parse_args()
    kept = {}
    for name in asked.case or CASES:
        case = CASES[name]
        ours, theirs = seeded_generator(case), original(asked.original, case)
        theirs.load_state_dict(ours.state_dict())
        z, c = seeded_inputs(case.config)
        cutoff = case.config.num_ws // 2
        told = []
        for noise in (True, False):
            options = {"truncation_psi": 0.7, "truncation_cutoff": cutoff} if noise else {}
            wanted = theirs(z, c, **options, noise_mode="const" if noise else "none")
            found = render(ours, noise=noise)
            kept[f"{name}/{'noise' if noise else 'plain'}"] = sampled(wanted)
            told.append((found - wanted).abs().max().item())
        scale = wanted.abs().max().item()
        if case.config.img_channels <= 4:
            ws = ours.mapping(z, c, psi=0.7, cutoff=cutoff)
            native = torch.from_numpy(PackedSynthesis(ours.synthesis.arrays())(ws.numpy()))
            told.append(
                (native - theirs(z, c, truncation_psi=0.7, truncation_cutoff=cutoff, noise_mode="const"))
                .abs()
                .max()
                .item()
            )
        differences = "  ".join(f"{one:.1e}" for one in told)
        print(
            f"{name:24} largest pixel {scale:8.2f}; largest difference (noise, plain, native): {differences}",
            flush=True,
        )
    if asked.out:
        np.savez_compressed(asked.out, **kept)


if __name__ == "__main__":
    main()
