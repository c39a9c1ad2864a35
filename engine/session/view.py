"""The head of a photo, seen from several sides; of a 3D workspace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from everface.engine.errors import UsageError
from everface.engine.latents.model import join_camera
from everface.engine.photos import FaceModels
from everface.engine.photos.camera import orbit
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person, check_yaw
from everface.engine.session.portrait import reconstruct
from everface.engine.session.values import Views

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh


def view(
    person: Person, faces: FaceModels, path: Path, yaw: tuple[float, float], frames: int, on_progress: OnProgress
) -> Views:
    """See ``everface.engine.session.engine.Engine.view``."""
    person.require_3d()
    low, high = check_yaw(yaw)
    if not 1 <= frames <= 1000:
        raise UsageError("frames", expected="1 to 1000", found=str(frames))
    portrait = reconstruct(person, faces, path, on_progress)
    yaws = np.linspace(low, high, frames)
    styles = np.repeat(portrait.styles[None], frames, axis=0)
    person.render(styles[:1])  # the model remembers the planes
    began = time.perf_counter()
    images = person.render(styles, orbit(yaws))
    seconds = (time.perf_counter() - began) / frames
    return Views(images, tuple(yaws.tolist()), portrait, seconds)


def mesh(person: Person, faces: FaceModels, path: Path, side: int, on_progress: OnProgress) -> Mesh:
    """See ``everface.engine.session.engine.Engine.mesh``."""
    person.require_3d()
    portrait = reconstruct(person, faces, path, on_progress)
    return person.model.mesh(join_camera(portrait.styles[None], orbit([0.0]))[0], side)
