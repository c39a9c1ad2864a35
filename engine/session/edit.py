"""Changes a photo's face as asked: the picture is retouched, the model searches for it, and the effect is measured.

Directions measured on a base hardly move a generator that was tuned to one person, and within the person's hull there
is little else than the looks that were learned. So an edit says where everything shall be (``photos.retouch``), the
search finds the code of the model that draws that, from the photo's own code on, and as long as the effect is not what
was asked for, it asks for more or less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import InvertConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.model import Floats
from everface.engine.photos import FaceModels
from everface.engine.photos.attributes import UNITS, FaceAttributes, face_attributes
from everface.engine.photos.retouch import retouched
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress
from everface.engine.session.person import Person
from everface.engine.session.placed import SEARCH, PlacedPhoto
from everface.engine.session.values import Effect, Portrait

_STEPS = (50, 30, 30)  # of the search in each round
_AIMS = 4  # how often a retouched picture is measured before the search is told to find it
_EXACT = 0.15  # of what was asked
_MOST = 3.0  # times what was asked is aimed at
_STRANGER = 0.45  # distance of dlib's descriptors; those of two photos of one person lie below 0.6


def edit(
    person: Person, faces: FaceModels, path: Path, changes: Mapping[str, float], *, stay: float,
    on_progress: OnProgress,
) -> Portrait:  # fmt: skip
    """See ``everface.engine.session.engine.Engine.edit``."""
    if person.config.dimension != "2d":
        remedy = "`everface view` turns it"
        raise UsageError(person.name, expected="a 2D workspace", found="a 3D one", remedy=remedy)
    asked = _checked(changes, stay)
    placed = PlacedPhoto.of(person, faces, path, on_progress)
    styles = placed.search(placed.photo.image, Degradation(), placed.start(), SEARCH, on_progress)
    if not asked:
        return placed.portrait(styles, Degradation())
    picture = placed.picture(styles)
    before = face_attributes(faces, picture)
    if before is None:
        remedy = "use a photo that shows the face more clearly, or update with more photos like it"
        raise NothingToDoError(path.name, expected="a face in the model's picture", found="none", remedy=remedy)
    attempt = _Editor(placed, faces, picture, before, asked).run(styles, stay, on_progress)
    done = placed.portrait(attempt.styles, Degradation())
    effects = tuple(Effect(name, UNITS[name], asked[name], attempt.measured[name]) for name in asked)
    return replace(done, effects=effects, limited=attempt.apart >= _STRANGER or attempt.error > 0.4)


def _checked(changes: Mapping[str, float], stay: float) -> dict[str, float]:
    if not 0 <= stay <= 1:
        raise UsageError("stay", expected="0 to 1", found=str(stay))
    for name, amount in changes.items():
        if name not in UNITS:
            expected = f"one of {', '.join(UNITS)}"
            raise UsageError("change", expected=expected, found=repr(name), remedy="choose one of these")
        if not math.isfinite(amount):
            raise UsageError(name, expected="a finite number", found=str(amount))
    return {name: amount for name, amount in changes.items() if amount}


@dataclass(frozen=True, eq=False)
class _Attempt:
    styles: Floats
    measured: dict[str, float]
    error: float
    apart: float


@dataclass(frozen=True, eq=False)
class _Editor:
    """What stays the same over the rounds of one edit."""

    placed: PlacedPhoto
    faces: FaceModels
    picture: NDArray[np.uint8]
    before: FaceAttributes
    asked: Mapping[str, float]

    def run(self, styles: Floats, stay: float, on_progress: OnProgress) -> _Attempt:
        """The attempt that comes nearest to what was asked and still is the person."""
        wanted, attempts = dict(self.asked), list[_Attempt]()
        code = styles
        for steps in _STEPS:
            aim = self._aim(wanted)
            search = InvertConfig(steps, SEARCH.learning_rate, leash=stay * SEARCH.leash)
            code = self.placed.search(aim, Degradation(), code, search, on_progress)
            attempts.append(self._judged(code))
            last = attempts[-1]
            if last.apart < _STRANGER and last.error <= _EXACT:
                break
            wanted = {
                name: _nearer(wanted[name], amount, last.measured[name], last.apart >= _STRANGER)
                for name, amount in self.asked.items()
            }
        return min(attempts, key=lambda one: (one.apart >= _STRANGER, one.error))

    def _aim(self, wanted: Mapping[str, float]) -> Floats:
        """The picture retouched until it shows what is wanted, as far as a warp can."""
        amounts = dict(wanted)
        best: tuple[float, Floats] | None = None
        for _ in range(_AIMS):
            aim = retouched(self.picture, self.before.points, amounts)
            measured = self._effect(to_uint8(aim))
            error = _error(wanted, measured)
            if best is None or error < best[0]:
                best = error, aim
            if error <= _EXACT / 2:
                break
            amounts = {name: _nearer(amounts[name], wanted[name], measured[name], False) for name in wanted}
        assert best is not None  # noqa: S101 - there is at least one aim
        return best[1]

    def _judged(self, styles: Floats) -> _Attempt:
        picture = self.placed.picture(styles)
        measured = self._effect(picture)
        own, other = self.placed.person.backend.embed(np.stack([self.picture, picture]))
        return _Attempt(styles, measured, _error(self.asked, measured), float(np.linalg.norm(own - other)))

    def _effect(self, picture: NDArray[np.uint8]) -> dict[str, float]:
        after = face_attributes(self.faces, picture)
        return {
            name: float("nan") if after is None else after.values[name] - self.before.values[name]
            for name in self.asked
        }


def _error(asked: Mapping[str, float], measured: Mapping[str, float]) -> float:
    """The largest miss, as a share of what was asked; infinity without a face."""
    misses = [abs(measured[name] / amount - 1) for name, amount in asked.items()]
    return math.inf if any(map(math.isnan, misses)) else max(misses)


def _nearer(amount: float, asked: float, measured: float, too_far: bool) -> float:
    """What to ask for next, of the same sign and not wildly more."""
    if too_far or math.isnan(measured):
        return 0.7 * amount
    ratio = measured / asked
    factor = 2.0 if ratio < 0.5 else max(0.5, 1 / ratio)
    return float(np.clip(amount * factor, -_MOST * abs(asked), _MOST * abs(asked)))
