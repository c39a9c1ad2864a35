"""One photo through the personal model: reconstruct, enhance, edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.directions import Direction
from everface.engine.latents.hull import Placement
from everface.engine.latents.model import Floats, join_camera
from everface.engine.latents.personal import PersonalCode, PersonalSearch, search_personal
from everface.engine.learn.capture import capture
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos import AlignedPhoto, FaceModels
from everface.engine.photos.single import align_mask, align_single
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person
from everface.engine.session.values import EnhanceOptions, Portrait


def reconstruct(person: Person, faces: FaceModels, path: Path, *, refine: bool, on_progress: OnProgress) -> Portrait:
    """See ``everface.engine.session.engine.Engine.reconstruct``."""
    placed = _Placed.of(person, faces, path, on_progress)
    return placed.portrait(placed.search(Degradation(), refine, on_progress), Degradation())


def enhance(
    person: Person, faces: FaceModels, path: Path, options: EnhanceOptions, on_progress: OnProgress
) -> Portrait:
    """See ``everface.engine.session.engine.Engine.enhance``."""
    placed = _Placed.of(person, faces, path, on_progress)
    mask = None
    if options.mask is not None:
        mask = align_mask(options.mask, path, placed.photo, person.config.photo)
    factor = options.factor or max(1.0, person.backend.shape.resolution / max(1.0, placed.photo.face_pixels))
    degradation = Degradation(min(64.0, factor), options.blur, mask)
    return placed.portrait(placed.search(degradation, False, on_progress), degradation)


def edit(
    person: Person, faces: FaceModels, path: Path, changes: Mapping[str, float], *, stay: float,
    on_progress: OnProgress,
) -> Portrait:  # fmt: skip
    """See ``everface.engine.session.engine.Engine.edit``."""
    if not 0 <= stay <= 1:
        raise UsageError("stay", expected="0 to 1", found=str(stay))
    known = {direction.name: direction for direction in person.directions}
    steps = [_step(known, name, amount) for name, amount in changes.items()]
    placed = _Placed.of(person, faces, path, on_progress)
    code, anchors = placed.search(Degradation(), False, on_progress), person.hull.anchors
    moved = code.weights @ anchors + sum(steps, np.zeros(anchors.shape[1]))
    style = person.hull.pull(moved[None], stay)[0].astype(np.float32)
    styles = np.repeat(style[None], person.backend.shape.num_ws, axis=0)
    return placed.portrait(PersonalCode(styles, code.weights, code.loss), Degradation())


def _step(known: Mapping[str, Direction], name: str, amount: float) -> NDArray[np.float64]:
    if name not in known:
        expected = f"one of {', '.join(known)}" if known else "a base that has directions"
        raise UsageError("change", expected=expected, found=repr(name), remedy="choose one of these")
    if not math.isfinite(amount):
        raise UsageError(name, expected="a finite number", found=str(amount))
    return known[name].step.astype(np.float64) * amount


@dataclass(frozen=True, eq=False)
class _Placed:
    """A photo, the camera that its codes carry, and where it lies relative to the personal hull."""

    person: Person
    photo: AlignedPhoto
    camera: NDArray[np.floating]
    place: Placement

    @classmethod
    def of(cls, person: Person, faces: FaceModels, path: Path, on_progress: OnProgress) -> _Placed:
        person.require_learned()
        backend, config = person.backend, person.config
        photo = align_single(path, backend.shape.resolution, config.photo, models=faces, owner=person.likeness)
        images, cameras = photo.image[None], person.camera(photo.camera[None])
        own = capture(backend, images, backend.prepare(images), cameras, config.invert, on_progress=on_progress)
        place = person.hull.place(own.codes[:, : backend.shape.w_dim].astype(np.float64))
        return cls(person, photo, cameras[0], place)

    def search(self, degradation: Degradation, refine: bool, on_progress: OnProgress) -> PersonalCode:
        """The personal code that explains the photo."""
        backend = self.person.backend
        return search_personal(
            self.person.model, backend.prepare(self.photo.image[None], degradation), self.camera,
            self.person.hull.anchors, self.place.weights[0],
            search=PersonalSearch(layers=refine, coordinates=backend.coordinates), on_progress=on_progress,
        )  # fmt: skip

    def portrait(self, code: PersonalCode, degradation: Degradation) -> Portrait:
        """The code's picture, and numbers."""
        person, photo = self.person, self.photo.image
        posed: Floats = join_camera(code.styles[None], self.camera[None])
        loss = person.model.losses(posed, person.backend.prepare(photo[None], degradation))[0]
        image = to_uint8(person.model.render(posed))[0]
        likeness, photo_likeness = (
            mean_best_cosine(person.backend.embed(picture[None]), person.identity[None]) for picture in (image, photo)
        )
        return Portrait(image, photo, code.styles, float(loss), likeness, photo_likeness, float(self.place.distance[0]))
