"""Volume rendering of tri-planes (Chan et al. 2022, EG3D)."""

from everface.engine.ops.volume.operator import VolumeSettings, render_volume

__all__ = ["VolumeSettings", "render_volume"]
