"""One photo through the personal model: reconstruct and enhance."""

from __future__ import annotations

from pathlib import Path

from everface.engine.latents.degradation import Degradation
from everface.engine.photos import FaceModels
from everface.engine.photos.single import align_mask
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person
from everface.engine.session.placed import SEARCH, PlacedPhoto
from everface.engine.session.values import EnhanceOptions, Portrait


def reconstruct(person: Person, faces: FaceModels, path: Path, on_progress: OnProgress) -> Portrait:
    """See ``everface.engine.session.engine.Engine.reconstruct``."""
    placed = PlacedPhoto.of(person, faces, path, on_progress)
    styles = placed.search(placed.photo.image, Degradation(), placed.start(), SEARCH, on_progress)
    return placed.portrait(styles, Degradation())


def enhance(
    person: Person, faces: FaceModels, path: Path, options: EnhanceOptions, on_progress: OnProgress
) -> Portrait:
    """See ``everface.engine.session.engine.Engine.enhance``."""
    placed = PlacedPhoto.of(person, faces, path, on_progress)
    mask = None
    if options.mask is not None:
        mask = align_mask(options.mask, path, placed.photo, person.config.photo)
    factor = options.factor or max(1.0, person.backend.shape.resolution / max(1.0, placed.photo.face_pixels))
    degradation = Degradation(min(64.0, factor), options.blur, mask)
    styles = placed.search(placed.photo.image, degradation, placed.start(), SEARCH, on_progress)
    return placed.portrait(styles, degradation)
