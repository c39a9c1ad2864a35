"""One photo in front of a personal model: the search for the model's code of it, and the picture of that code."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import InvertConfig
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.invert import invert
from everface.engine.latents.model import Floats, join_camera
from everface.engine.learn.capture import capture
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos import AlignedPhoto, FaceModels
from everface.engine.photos.single import align_single
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person
from everface.engine.session.values import Portrait

SEARCH = InvertConfig(steps=60, learning_rate=0.1, leash=1.0)
"""From the person's hull on. The leash costs 0.02 of identity to a clean photo and holds the codes a third nearer."""


@dataclass(frozen=True, eq=False)
class PlacedPhoto:
    """A photo, and the point of the person's hull that is nearest to it.

    Attributes:
        person: whose model draws.
        photo: aligned.
        camera: [camera_dim] that its codes carry.
        nearest: [w_dim] of the hull, nearest to the photo's code under the base.
        began: time.monotonic() of the beginning.
    """

    person: Person
    photo: AlignedPhoto
    camera: NDArray[np.floating]
    nearest: Floats
    began: float

    @classmethod
    def of(cls, person: Person, faces: FaceModels, path: Path, on_progress: OnProgress) -> PlacedPhoto:
        """Aligns a photo and asks the encoder where it lies; where there is none, a search does.

        Raises:
            NothingToDoError: nothing was learned yet.
            UsageError: no such file.
            PhotoRejectedError: it shows no face.
        """
        began = time.monotonic()
        person.require_learned()
        backend, config = person.backend, person.config
        photo = align_single(path, backend.shape.resolution, config.photo, models=faces, owner=person.likeness)
        images, camera = photo.image[None], person.camera(photo.camera[None])
        code = backend.encode(images)
        if code is None:
            code = capture(
                backend, images, backend.prepare(images), camera, config.invert, on_progress=on_progress
            ).codes
        nearest = person.hull.place(code[:, : backend.shape.w_dim].astype(np.float64)).nearest
        return cls(person, photo, camera[0], nearest[0].astype(np.float32), began)

    def start(self) -> Floats:
        """W+ styles [num_ws, w_dim] to begin with: every layer at the nearest point."""
        return np.repeat(self.nearest[None], self.person.backend.shape.num_ws, axis=0)

    def search(
        self, picture: NDArray[np.uint8] | Floats, degradation: Degradation, start: Floats, config: InvertConfig,
        on_progress: OnProgress,
    ) -> Floats:  # fmt: skip
        """Styles [num_ws, w_dim] whose picture, degraded, is nearest to a picture [r, r, 3]."""
        backend = self.person.backend
        found = invert(
            self.person.model, backend.prepare(picture[None], degradation), join_camera(start[None], self.camera[None]),
            config, coordinates=backend.coordinates, on_progress=on_progress,
        )  # fmt: skip
        return found.codes[0, :, : backend.shape.w_dim]

    def pictures(self, codes: Floats) -> NDArray[np.uint8]:
        """The model's pictures of codes [n, w_dim] or [n, num_ws, w_dim], from where the photo sees the face."""
        return to_uint8(self.person.model.render(join_camera(codes, np.repeat(self.camera[None], len(codes), axis=0))))

    def picture(self, styles: Floats) -> NDArray[np.uint8]:
        """The model's picture of styles [num_ws, w_dim]."""
        return np.asarray(self.pictures(styles[None])[0])

    def portrait(self, styles: Floats, degradation: Degradation) -> Portrait:
        """The styles' picture, and numbers."""
        person, photo = self.person, self.photo.image
        code = join_camera(styles[None], self.camera[None])
        loss = float(person.model.losses(code, person.backend.prepare(photo[None], degradation))[0])
        image = self.picture(styles)
        likeness, photo_likeness = (
            mean_best_cosine(person.backend.embed(picture[None]), person.identity[None]) for picture in (image, photo)
        )
        moved = float(person.hull.place(styles.astype(np.float64)).distance.mean())
        seconds = time.monotonic() - self.began
        quad = self.photo.quad
        return Portrait(image, photo, styles, loss, likeness, photo_likeness, moved, seconds, quad, degradation)
