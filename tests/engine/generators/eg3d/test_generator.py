"""The whole EG3D: against the original's numbers, its files, its variants, its gradients."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load, save
from tools.agreement_eg3d import CASES, PARTS, render, sampled, seeded_eg3d, seeded_inputs

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.stylegan2.config import StyleGAN2Config

GOLDEN = Path(__file__).resolve().parents[3] / "data" / "eg3d_golden.npz"


def tiny(**changes: object) -> EG3DConfig:
    backbone = StyleGAN2Config(32, 16, 16, 25, 2, 256, 8, 12)
    usual: dict[str, object] = {
        "backbone": backbone, "resolution": 32, "neural_resolution": 16, "superresolution": "2X", "sr_channels": 8,
        "decoder_hidden": 8, "render": RenderConfig(samples=6, importance_samples=6),
    }  # fmt: skip
    return EG3DConfig(**(usual | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "small-2X" else pytest.mark.slow) for name in CASES],
)
@pytest.mark.parametrize("noise", [False, True])
def test_it_agrees_with_the_original(name: str, noise: bool) -> None:
    golden = np.load(GOLDEN)
    found = render(seeded_eg3d(CASES[name].config, CASES[name].gain), noise=noise)
    for part in PARTS:
        wanted = golden[f"{name}/{'noise' if noise else 'plain'}/{part}"]
        np.testing.assert_allclose(sampled(found[part]), wanted, atol=1e-3, rtol=0, err_msg=part)


@pytest.mark.parametrize(
    "changes",
    [
        {"superresolution": "none", "resolution": 16},
        {"superresolution": "2X"},
        {"superresolution": "4X", "neural_resolution": 24},
        {"superresolution": "8X", "neural_resolution": 4},
        {"superresolution": "8XDC", "resolution": 64},
        {"sr_noise": True, "sr_conv_clamp": None},
        {"render": RenderConfig(samples=6, importance_samples=0, plane_axes="corrected", white_back=True)},
    ],
)
def test_variants_render_and_are_stored(changes: dict[str, object]) -> None:
    config = tiny(**changes)
    generator = seeded_eg3d(config)
    z, c = seeded_inputs(config)
    view = generator(z.repeat(2, 1), c.repeat(2, 1), jitter=torch.Generator().manual_seed(0))
    side = config.neural_resolution
    assert view.image.shape == (2, 3, config.resolution, config.resolution)
    assert (view.raw.shape, view.depth.shape) == ((2, 3, side, side), (2, 1, side, side))
    assert torch.isfinite(view.image).all()
    assert (view.depth >= 2.25).all()
    again, metadata = eg3d_from_bytes(generator.to_bytes({"terms": "mine"}, np.float32), "file")
    assert (again.config, metadata["terms"]) == (config, "mine")
    assert torch.equal(again(z, c).image, generator(z, c).image)


def test_a_new_view_needs_only_the_planes() -> None:
    generator = seeded_eg3d(tiny())
    z, c = seeded_inputs(generator.config)
    ws = generator.mapping(z, c)
    planes = generator.planes(ws)
    other = c.clone()
    other[:, 3] += 0.3
    assert torch.equal(generator.view(planes, ws, other).image, generator.synthesis(ws, other).image)
    assert not torch.equal(generator.view(planes, ws, other).raw, generator.view(planes, ws, c).raw)
    assert generator.view(planes, ws, c, resolution=8).raw.shape[-1] == 8
    with pytest.raises(UsageError, match="as many of each"):
        generator.view(planes, ws, c.repeat(2, 1))


def test_the_mapping_is_conditioned_as_the_settings_say() -> None:
    z, c = seeded_inputs(tiny())
    seen, blind, scaled = (
        seeded_eg3d(tiny(**changes)).mapping(z, c)
        for changes in ({}, {"c_gen_conditioning_zero": True}, {"c_scale": 0.0})
    )
    assert torch.equal(blind, scaled)
    assert not torch.equal(blind, seen)


def test_noise_changes_little_and_is_seeded() -> None:
    generator = seeded_eg3d(tiny(render=RenderConfig()))
    z, c = seeded_inputs(generator.config)
    plain = generator(z, c).raw
    first, second = (generator(z, c, jitter=torch.Generator().manual_seed(seed)).raw for seed in (1, 1))
    assert torch.equal(first, second)
    assert 0 < (first - plain).abs().mean() < 0.1


def test_gradients_reach_every_part() -> None:
    generator = seeded_eg3d(tiny()).requires_grad_(True)
    z, c = seeded_inputs(generator.config)
    generator(z, c).image.square().mean().backward()
    silent = {name for name, one in generator.named_parameters() if one.grad is None or not one.grad.any()}
    # The published superresolution adds no noise, so the strengths of its noise are not trained.
    assert silent == {name for name in silent if "superresolution" in name and name.endswith("noise_strength")}


def test_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(one.shape) for name, one in TriPlaneGenerator(EG3DConfig()).state_dict().items()}
    assert shapes["backbone.mapping.embed.weight"] == (512, 25)
    assert shapes["backbone.mapping.fc0.weight"] == (512, 1024)
    assert shapes["backbone.synthesis.b256.torgb.weight"] == (96, 128, 1, 1)
    assert shapes["decoder.net.0.weight"] == (64, 32)
    assert shapes["decoder.net.2.weight"] == (33, 64)
    assert shapes["superresolution.block0.conv0.weight"] == (256, 32, 3, 3)
    assert shapes["superresolution.block1.torgb.weight"] == (3, 128, 1, 1)
    assert "superresolution.resample_filter" not in shapes


PUBLISHED = {
    "z_dim": 512, "w_dim": 512, "c_dim": 25, "img_resolution": 512, "img_channels": 3, "channel_base": 32768,
    "channel_max": 512, "mapping_kwargs": {"num_layers": 2}, "neural_rendering_resolution": 128,
    "rendering_kwargs": {
        "box_warp": 1, "c_gen_conditioning_zero": False, "c_scale": 1.0, "clamp_mode": "softplus",
        "decoder_lr_mul": 1.0, "depth_resolution": 48, "depth_resolution_importance": 48, "ray_end": 3.3,
        "ray_start": 2.25, "sr_antialias": True, "superresolution_noise_mode": "none",
        "disparity_space_sampling": False,
    },
}  # fmt: skip


def imported(kind: str = "SuperresolutionHybrid8XDC", **options: object) -> dict[str, str]:
    settings = PUBLISHED | {"rendering_kwargs": PUBLISHED["rendering_kwargs"] | options}  # type: ignore[operator]
    clamps = {"backbone.synthesis.b4.conv1": None, "superresolution.block0.conv0": 256}
    told = {"settings": settings, "classes": {"superresolution": kind}, "conv_clamps": clamps}
    return {"architecture": "eg3d"} | {name: json.dumps(value) for name, value in told.items()}


def test_the_settings_of_an_import_are_understood() -> None:
    from everface.engine.generators.eg3d.checkpoints import config_of_import

    assert config_of_import(imported()) == EG3DConfig()
    other = config_of_import(imported("SuperresolutionHybrid8X", depth_resolution=64, white_back=True))
    assert (other.sr_channels, other.render.samples, other.render.white_back) == (128, 64, True)


@pytest.mark.parametrize(
    "metadata",
    [
        imported("SuperresolutionHybridDeepfp32"),
        imported("Other"),
        imported(clamp_mode="relu"),
        imported(ray_start="auto"),
        imported() | {"settings": "{}"},
        imported() | {"settings": "[" * 40_000},
        {"architecture": "eg3d"},
        {"architecture": "stylegan2"},
        {"architecture": "eg3d", "config": '{"resolution": 1e99}'},
        {"architecture": "eg3d", "config": json.dumps(dataclasses.asdict(tiny()) | {"more": 1})},
    ],
)
def test_unsupported_settings_are_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(CheckpointError):
        eg3d_from_bytes(bytes(save({"a": torch.zeros(1)}, metadata)), "file")


def test_damaged_files_are_refused() -> None:
    data = seeded_eg3d(tiny()).to_bytes({})
    for size in range(0, len(data), len(data) // 20):
        with pytest.raises(CheckpointError):
            eg3d_from_bytes(data[:size], "file")
    tensors, told = load(data), {"architecture": "eg3d", "config": json.dumps(dataclasses.asdict(tiny()))}
    name = "decoder.net.0.bias"
    for change in (torch.zeros(9), torch.full((8,), float("inf")), torch.zeros(8, dtype=torch.int32)):
        with pytest.raises(CheckpointError, match=r"decoder\.net"):
            eg3d_from_bytes(bytes(save(tensors | {name: change}, told)), "file")
    with pytest.raises(CheckpointError, match="none named"):
        eg3d_from_bytes(bytes(save({key: value for key, value in tensors.items() if key != name}, told)), "file")


class _Planes(torch.nn.Module):
    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ws: torch.Tensor) -> torch.Tensor:
        return self.generator.planes(ws)


class _View(_Planes):
    def forward(self, planes: torch.Tensor, ws: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        view = self.generator.view(planes, ws, c)
        return view.image, view.depth


@pytest.mark.filterwarnings("ignore")
def test_planes_and_render_become_graphs() -> None:
    generator = seeded_eg3d(tiny())
    z, c = seeded_inputs(generator.config)
    with torch.no_grad():
        ws = generator.mapping(z, c)
        planes = generator.planes(ws)
        for module, arguments in ((_Planes(generator), (ws,)), (_View(generator), (planes, ws, c))):
            buffer = io.BytesIO()
            torch.onnx.export(module, arguments, buffer, dynamo=False, opset_version=17)
            session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
            names = [one.name for one in session.get_inputs()]
            found = session.run(None, {name: value.numpy() for name, value in zip(names, arguments, strict=True)})
            wanted = module(*arguments)
            for ours, theirs in zip(wanted if isinstance(wanted, tuple) else (wanted,), found, strict=True):
                np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)
