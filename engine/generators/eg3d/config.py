"""The shape of an EG3D: backbone, renderer, superresolution."""

from __future__ import annotations

from dataclasses import dataclass, field

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config

__all__ = ["LABEL_DIM", "PLANE_AXES", "SUPERRESOLUTIONS", "EG3DConfig", "RenderConfig"]

LABEL_DIM = 25  # camera to world 4x4, then intrinsics 3x3
# Which two of a point's coordinates (x, y, z) are its (column, row) on each plane. The published networks were trained
# with planes xy, xz and zx: the third is the second transposed, and none is yz.
PLANE_AXES = {"published": ((0, 1), (0, 2), (2, 0)), "corrected": ((0, 1), (0, 2), (2, 1))}
# By name: how often the first block doubles the side (the second always does).
SUPERRESOLUTIONS = {"8XDC": True, "8X": True, "4X": False, "2X": False, "none": False}


@dataclass(frozen=True)
class RenderConfig:
    """Volume rendering (Chan et al. 2022, section 4.3, and the published settings for FFHQ).

    Attributes:
        ray_start, ray_end: distances along a ray between which it is sampled, in world units.
        box_warp: side of the cube around the origin that the planes span.
        samples: of the first pass, evenly spaced.
        importance_samples: of the second pass, where the first found matter; 0 for one pass only.
        white_back: whether what is behind the volume is white rather than black.
        plane_axes: ``"published"`` or ``"corrected"``, see ``PLANE_AXES``.
    """

    ray_start: float = 2.25
    ray_end: float = 3.3
    box_warp: float = 1.0
    samples: int = 48
    importance_samples: int = 48
    white_back: bool = False
    plane_axes: str = "published"

    def __post_init__(self) -> None:
        _require(0 < self.ray_start < self.ray_end < 1e4, "ray_start, ray_end", f"{self.ray_start}, {self.ray_end}")
        _require(0 < self.box_warp < 1e4, "box_warp", str(self.box_warp))
        _require(4 <= self.samples <= 1024, "samples (4 to 1024)", str(self.samples))
        _require(0 <= self.importance_samples <= 1024, "importance_samples", str(self.importance_samples))
        _require(self.plane_axes in PLANE_AXES, f"plane_axes ({', '.join(PLANE_AXES)})", self.plane_axes)


def _backbone() -> StyleGAN2Config:
    return StyleGAN2Config(resolution=256, c_dim=LABEL_DIM, mapping_layers=2, img_channels=96)


@dataclass(frozen=True)
class EG3DConfig:
    """Shape of an EG3D; the defaults are those of ``ffhqrebalanced512-128``.

    Attributes:
        backbone: draws the planes; 3 * features image channels.
        resolution: side of the final image in pixels.
        neural_resolution: side of the raw, volume-rendered image.
        superresolution: ``"8XDC"``, ``"8X"`` (128 to 512), ``"4X"`` (128 to 256), ``"2X"`` (64 to 128) or ``"none"``
            (the raw image is final); other resolutions keep the factor.
        sr_channels: width of the first block of the superresolution; the second has half. 256 in 8XDC, 128 elsewhere.
        sr_conv_clamp: as ``StyleGAN2Config.conv_clamp``.
        sr_antialias: whether shrinking to the superresolution's input is filtered.
        sr_noise: whether the superresolution adds its constant noise; the published networks add none.
        decoder_hidden: width of the decoder.
        decoder_lr_multiplier: of the decoder's layers.
        c_gen_conditioning_zero: whether the mapping ignores the camera.
        c_scale: factor of the camera in the mapping.
        render: rays and samples.
    """

    backbone: StyleGAN2Config = field(default_factory=_backbone)
    resolution: int = 512
    neural_resolution: int = 128
    superresolution: str = "8XDC"
    sr_channels: int = 256
    sr_conv_clamp: float | None = 256.0
    sr_antialias: bool = True
    sr_noise: bool = False
    decoder_hidden: int = 64
    decoder_lr_multiplier: float = 1.0
    c_gen_conditioning_zero: bool = False
    c_scale: float = 1.0
    render: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self) -> None:
        kinds = ", ".join(SUPERRESOLUTIONS)
        _require(self.superresolution in SUPERRESOLUTIONS, f"superresolution ({kinds})", self.superresolution)
        channels = self.backbone.img_channels
        _require(channels % 3 == 0 and channels >= 9, "backbone.img_channels (3 planes, 3 or more each)", str(channels))
        _require(self.backbone.c_dim in (0, LABEL_DIM), "backbone.c_dim (0 or 25)", str(self.backbone.c_dim))
        _require(8 <= self.resolution <= 1024, "resolution (8 to 1024)", str(self.resolution))
        _require(4 <= self.neural_resolution <= 1024, "neural_resolution (4 to 1024)", str(self.neural_resolution))
        _require(1 <= self.decoder_hidden <= 1024, "decoder_hidden (1 to 1024)", str(self.decoder_hidden))
        _require(2 <= self.sr_channels <= 1024, "sr_channels (2 to 1024)", str(self.sr_channels))
        if self.superresolution == "none":
            found = f"{self.resolution} and {self.neural_resolution}"
            _require(self.resolution == self.neural_resolution, "resolution = neural_resolution with none", found)

    @property
    def features(self) -> int:
        """Channels of one plane and of the rendered features; the first three are the raw image."""
        return self.backbone.img_channels // 3

    @property
    def sr_input(self) -> int:
        """Side of what the superresolution takes."""
        return self.resolution // (4 if SUPERRESOLUTIONS[self.superresolution] else 2)


def _require(ok: bool, name: str, found: str) -> None:
    if not ok:
        raise UsageError(f"EG3D setting {name}", expected="a supported value", found=found, remedy="change the setting")
