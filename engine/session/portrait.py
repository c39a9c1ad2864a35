"""One photo through the personal model: reconstruct and enhance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.latents.degradation import Degradation
from everface.engine.latents.degradation_fit import fit_degradation
from everface.engine.photos import FaceModels
from everface.engine.photos.load import load_photo
from everface.engine.photos.paste import paste_face
from everface.engine.photos.single import align_mask
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person
from everface.engine.session.placed import SEARCH, PlacedPhoto
from everface.engine.session.values import EnhanceOptions, Portrait

_REFERENCES = 8  # of the person's pictures, whose sharpness a photo is compared with
# Times the leash of a photo that shows all: what it does not show, the person's hull has to. Covered, a mouth that only
# the visible half asked for was none: six photos' mean identity to the clean photo was 0.54 with 3 and 0.56 with 30.
_LEASH, _LEASH_OF_COVERED = 3.0, 30.0
_NOISY_LAYERS = 4  # the finest layers, which would draw the noise


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
    degradation = _degradation(placed, path, options)
    leash = _LEASH if degradation.mask is None else _LEASH_OF_COVERED
    search = replace(SEARCH, leash=leash * SEARCH.leash)
    if degradation.haze:
        search = replace(search, layers=max(1, person.backend.shape.num_ws - _NOISY_LAYERS))
    styles = placed.search(placed.photo.image, degradation, placed.start(), search, on_progress)
    return placed.portrait(styles, degradation)


def paste(person: Person, path: Path, portrait: Portrait) -> NDArray[np.uint8]:
    """See ``everface.engine.session.engine.Engine.paste``."""
    photo = load_photo(path, person.config.photo.max_megapixels).pixels
    # An edit has its own light, and what is covered has no colours to go by.
    follows = not portrait.effects and portrait.degradation.mask is None
    return paste_face(photo, portrait.image, portrait.quad, match=portrait.photo if follows else None)


def _degradation(placed: PlacedPhoto, path: Path, options: EnhanceOptions) -> Degradation:
    """What happened to the photo: as the options say, and fitted where they say nothing."""
    person, photo, mask = placed.person, placed.photo, None
    if options.mask is not None:
        mask = align_mask(options.mask, path, photo, person.config.photo)
    factor = options.factor or max(1.0, person.backend.shape.resolution / max(1.0, photo.face_pixels))
    factor = min(64.0, factor)
    if options.blur is not None:
        return Degradation(factor, options.blur, mask=mask)
    anchors = person.hull.anchors
    some = anchors[np.linspace(0, len(anchors) - 1, min(_REFERENCES, len(anchors))).astype(int)]
    return fit_degradation(photo.image, placed.pictures(some.astype(np.float32)), factor, mask)
