"""What a 3D base is worth: does a head stay the same person when it turns, and has it the depth of a head?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.latents.space import normal_z
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.photos.camera import face_in_world
from everface.engine.pretrain.posed.poses import aligned_camera, seen_landmarks

__all__ = ["Evaluation3D", "evaluate_3d"]

_SEED = 77
_NOSE_TIP, _SIDES = 1, (234, 454)  # of the face mesh: the tip, and the edges of the face before the ears
_YAWS = (-30.0, -15.0, 15.0, 30.0)


@dataclass(frozen=True)
class Evaluation3D:
    """Numbers of a 3D generator on random heads.

    Attributes:
        heads: how many.
        same: mean identity cosine between a head's frontal view and its view at each yaw (degrees as text).
        others: the same between the frontal views of different heads.
        nose: median depth of the face's edges behind the tip of the nose, in world units.
        nose_of_mean: the same of the mean face mesh.
        nose_first: share of heads whose tip of the nose is nearer than both edges.
        asymmetry: mean difference of depth to the mirrored depth inside the face, in world units.
        relief: mean standard deviation of depth inside the face, in world units; 0 is flat.
    """

    heads: int
    same: dict[str, float]
    others: float
    nose: float
    nose_of_mean: float
    nose_first: float
    asymmetry: float
    relief: float


@torch.no_grad()
def evaluate_3d(
    generator: TriPlaneGenerator, *, heads: int = 40, pitch: float = 0.0, yaws: Sequence[float] = _YAWS
) -> Evaluation3D:
    """Looks at random heads from several sides.

    Args:
        generator: whose mapping takes no labels.
        heads: how many, at least 2.
        pitch: of all views in degrees.
        yaws: in degrees.
    """
    ws = generator.mapping(normal_z(heads, generator.config.backbone.z_dim, _SEED))
    embedder = IdentityEmbedder.load()

    def view(yaw: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        camera = torch.from_numpy(aligned_camera(yaw, pitch)).float()[None]
        images, depths = [], []
        for w in torch.split(ws, 4):
            made = generator.view(generator.planes(w), w, camera.expand(len(w), -1))
            images.append(embedder(made.image.clamp(-1, 1)))
            depths.append(made.depth[:, 0])
        found = torch.cat(images).double().numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True), torch.cat(depths).double().numpy()

    front, depth = view(0.0)
    same = {f"{yaw:g}": float(np.einsum("nd,nd->n", front, view(yaw)[0]).mean()) for yaw in yaws}
    pairs = front @ front.T
    side = depth.shape[-1]
    landmarks = seen_landmarks(0.0, pitch)
    places = (landmarks * side).astype(int).clip(0, side - 1)
    tip = depth[:, places[_NOSE_TIP, 1], places[_NOSE_TIP, 0]]
    edges = np.stack([depth[:, places[i, 1], places[i, 0]] for i in _SIDES], axis=1)
    mesh = face_in_world()
    inside = _inside(landmarks, side)
    return Evaluation3D(
        heads=heads,
        same=same,
        others=float((pairs.sum() - heads) / (heads * (heads - 1))),
        nose=float(np.median(edges.mean(axis=1) - tip)),
        nose_of_mean=float(mesh[_NOSE_TIP, 2] - mesh[list(_SIDES), 2].mean()),
        nose_first=float((tip[:, None] < edges).all(axis=1).mean()),
        asymmetry=float(np.abs(depth - depth[:, :, ::-1])[:, inside].mean()),
        relief=float(depth[:, inside].std(axis=1).mean()),
    )


def _inside(landmarks: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Pixels [side, side] of the ellipse that the face mesh fills."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2
    axis = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(axis, axis)
    found: NDArray[np.bool_] = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 < 0.9
    return found
