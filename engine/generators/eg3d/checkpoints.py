"""Reading an EG3D from safetensors, whether tuned here or imported."""

from __future__ import annotations

import json
from typing import Any

import torch

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.weights import check_shapes, finite_float32, read_arrays, read_metadata

_LARGEST = {"z_dim": 4096, "w_dim": 4096, "mapping_layers": 32, "channel_base": 1 << 18, "channel_max": 4096}
_ROOMS = {"backbone": StyleGAN2Config, "render": RenderConfig}
_PREFIX = "SuperresolutionHybrid"


def eg3d_from_bytes(data: bytes, subject: str) -> tuple[TriPlaneGenerator, dict[str, str]]:
    """Builds an EG3D from the bytes of a safetensors file.

    Args:
        data: the whole file, written by ``TriPlaneGenerator.to_bytes`` or by ``everface import``.
        subject: what to call it in errors.

    Returns:
        The generator (float32, evaluation mode, no gradients) and the file's metadata.

    Raises:
        CheckpointError: not safetensors, not an EG3D, unsupported settings, or tensors missing, left over, misshapen
            or not finite.
    """
    metadata = read_metadata(data, subject)
    if metadata.get("architecture") != "eg3d":
        remedy = "pass an EG3D written by `everface import`"
        found = repr(metadata.get("architecture"))
        raise CheckpointError(subject, expected="metadata with architecture eg3d", found=found, remedy=remedy)
    config, arrays = _config(metadata, subject), read_arrays(data, subject)
    with torch.device("meta"):
        generator = TriPlaneGenerator(config)
    check_shapes({name: tuple(value.shape) for name, value in generator.state_dict().items()}, arrays, subject)
    state = {name: torch.from_numpy(array) for name, array in finite_float32(arrays, subject).items()}
    generator.load_state_dict(state, assign=True)
    return generator.eval().requires_grad_(False), metadata


def _config(metadata: dict[str, str], subject: str) -> EG3DConfig:
    try:
        if "config" not in metadata:
            return config_of_import(metadata)
        raw = json.loads(metadata["config"])
        config = EG3DConfig(**{name: _ROOMS[name](**value) if name in _ROOMS else value for name, value in raw.items()})
        for name, largest in _LARGEST.items():
            if getattr(config.backbone, name) > largest:
                raise UsageError(name, expected=f"at most {largest}", found=str(getattr(config.backbone, name)))
        return config
    except UsageError as error:
        raise CheckpointError(f"{subject}: {error.subject}", expected=error.expected, found=error.found) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        remedy = "import the checkpoint again from a file that holds the network whole, with its settings"
        found = f"{type(error).__name__}: {error}"[:120]
        raise CheckpointError(subject, expected="the settings of an EG3D", found=found, remedy=remedy) from error


def config_of_import(metadata: dict[str, str]) -> EG3DConfig:
    """The shape of an EG3D from the publisher's settings, as ``everface import`` keeps them.

    Args:
        metadata: ``settings``, ``classes`` and ``conv_clamps``, JSON each.

    Raises:
        UsageError: settings that are not supported here.
        KeyError, TypeError, ValueError: not such metadata.
    """
    settings: dict[str, Any] = json.loads(metadata["settings"])
    clamps: dict[str, float | None] = json.loads(metadata["conv_clamps"])
    options = settings["rendering_kwargs"]
    wanted = {"clamp_mode": "softplus", "disparity_space_sampling": False, "density_noise": 0}
    for name, value in wanted.items():
        if options.get(name, value) != value:
            raise UsageError(f"rendering_kwargs.{name}", expected=str(value), found=str(options[name])[:40])
    kind = _superresolution_of(metadata)
    return EG3DConfig(
        backbone=_backbone_of(settings, clamps["backbone.synthesis.b4.conv1"]),
        resolution=int(settings["img_resolution"]),
        neural_resolution=int(settings.get("neural_rendering_resolution", 64)),
        superresolution=kind,
        sr_channels=256 if kind == "8XDC" else 128,
        sr_conv_clamp=_clamp(clamps["superresolution.block0.conv0"]),
        sr_antialias=bool(options.get("sr_antialias", True)),
        sr_noise=options.get("superresolution_noise_mode", "none") != "none",
        decoder_lr_multiplier=float(options.get("decoder_lr_mul", 1)),
        c_gen_conditioning_zero=bool(options["c_gen_conditioning_zero"]),
        c_scale=float(options.get("c_scale", 0)),
        render=RenderConfig(
            ray_start=float(options["ray_start"]),
            ray_end=float(options["ray_end"]),
            box_warp=float(options["box_warp"]),
            samples=int(options["depth_resolution"]),
            importance_samples=int(options["depth_resolution_importance"]),
            white_back=bool(options.get("white_back", False)),
        ),
    )


def _superresolution_of(metadata: dict[str, str]) -> str:
    kind = str(json.loads(metadata["classes"])["superresolution"])
    if not kind.startswith(_PREFIX):
        raise UsageError("superresolution", expected=f"{_PREFIX}8XDC, 8X, 4X or 2X", found=kind[:60])
    return kind.removeprefix(_PREFIX)


def _backbone_of(settings: dict[str, Any], clamp: float | None) -> StyleGAN2Config:
    return StyleGAN2Config(
        resolution=256,
        z_dim=int(settings["z_dim"]),
        w_dim=int(settings["w_dim"]),
        c_dim=int(settings["c_dim"]),
        mapping_layers=int(settings.get("mapping_kwargs", {}).get("num_layers", 8)),
        channel_base=int(settings.get("channel_base", 32768)),
        channel_max=int(settings.get("channel_max", 512)),
        img_channels=96,
        conv_clamp=_clamp(clamp),
    )


def _clamp(value: float | None) -> float | None:
    return None if value is None else float(value)
