"""Volume rendering of tri-planes (Chan et al. 2022, EG3D)."""

from everface.engine.ops.volume.gradients import render_volume
from everface.engine.ops.volume.operator import VolumeSettings

__all__ = ["VolumeSettings", "render_volume"]
