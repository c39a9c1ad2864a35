"""EG3D with NVIDIA's architecture and parameter names: tri-planes of a StyleGAN2, volume rendering, enlargement."""

from everface.engine.generators.eg3d.cameras import Rays, camera_rays
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.generators.eg3d.config import SUPERRESOLUTIONS, EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import Rendering, TriPlaneGenerator
from everface.engine.generators.eg3d.sampling import Jitter

__all__ = [
    "SUPERRESOLUTIONS",
    "EG3DConfig",
    "Jitter",
    "Rays",
    "RenderConfig",
    "Rendering",
    "TriPlaneGenerator",
    "camera_rays",
    "eg3d_from_bytes",
]
