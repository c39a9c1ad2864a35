"""One photo through the personal model: reconstruct, enhance, edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.directions import Direction
from everface.engine.latents.hull import PersonalHull
from everface.engine.latents.personal import PersonalCode, PersonalSearch, search_personal
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos.single import align_mask, align_single
from everface.engine.progress import OnProgress
from everface.engine.session.codes import find_codes
from everface.engine.session.kit import to_images, to_tensor

if TYPE_CHECKING:
    from everface.engine.session.engine import Engine

__all__ = ["EnhanceOptions", "Portrait", "edit_photo", "enhance_photo", "reconstruct_photo"]


@dataclass(frozen=True, eq=False)
class Portrait:
    """A picture of the person made from a photo.

    Attributes:
        image: uint8 [r, r, 3].
        photo: the aligned photo, uint8 [r, r, 3].
        styles: [num_ws, d] float32, the W+ code of the picture.
        loss: of the picture against the photo (MobileNetV2 distance + MSE), both degraded where asked.
        likeness: cosine of the picture's identity to the person's mean embedding.
        photo_likeness: the same of the photo.
        moved: distance in W from the photo's own code to the personal hull; large where it shows an unknown look,
            or another person.
    """

    image: NDArray[np.uint8]
    photo: NDArray[np.uint8]
    styles: NDArray[np.float32]
    loss: float
    likeness: float
    photo_likeness: float
    moved: float


@dataclass(frozen=True)
class EnhanceOptions:
    """What happened to a photo.

    Attributes:
        mask: picture of the photo's shape, white where the face is visible, None for everywhere.
        factor: how many times fewer pixels across than the model's picture; measured from the photo where None.
        blur: Gaussian blur of the photo, or as much as hides its noise, in pixels of the model's picture.
    """

    mask: Path | None = None
    factor: float | None = None
    blur: float = 0.0


def reconstruct_photo(engine: Engine, path: Path, *, refine: bool, on_progress: OnProgress) -> Portrait:
    """See :meth:`everface.engine.session.engine.Engine.reconstruct`."""
    seen = _Seen(engine, path, on_progress)
    return seen.portrait(seen.search(Degradation(), refine, on_progress), Degradation())


def enhance_photo(engine: Engine, path: Path, options: EnhanceOptions, on_progress: OnProgress) -> Portrait:
    """See :meth:`everface.engine.session.engine.Engine.enhance`."""
    seen = _Seen(engine, path, on_progress)
    mask = None
    if options.mask is not None:
        aligned = align_mask(options.mask, path, seen.photo, engine.config.photo)
        mask = torch.from_numpy(aligned)[None, None]
    factor = options.factor or max(1.0, engine.kit.resolution / max(1.0, seen.photo.face_pixels))
    degradation = Degradation(min(64.0, factor), options.blur, mask)
    return seen.portrait(seen.search(degradation, False, on_progress), degradation)


def edit_photo(
    engine: Engine, path: Path, changes: Mapping[str, float], *, stay: float, on_progress: OnProgress
) -> Portrait:
    """See :meth:`everface.engine.session.engine.Engine.edit`."""
    if not 0 <= stay <= 1:
        raise UsageError("stay", expected="0 to 1", found=str(stay))
    known = {one.name: one for one in engine.kit.directions}
    steps = [_step(known, name, amount) for name, amount in changes.items()]
    seen = _Seen(engine, path, on_progress)
    found = seen.search(Degradation(), False, on_progress)
    moved = found.weights @ seen.hull.anchors + sum(steps, np.zeros(seen.hull.anchors.shape[1]))
    code = seen.hull.pull(moved[None], stay)[0]
    styles = torch.from_numpy(code.astype(np.float32))[None].expand(seen.network.num_ws, -1)
    return seen.portrait(PersonalCode(styles.contiguous(), found.weights, found.loss), Degradation())


def _step(known: Mapping[str, Direction], name: str, amount: float) -> NDArray[np.float64]:
    if name not in known:
        expected = f"one of {', '.join(known)}" if known else "a base that has directions"
        raise UsageError("change", expected=expected, found=repr(name), remedy="choose one of these")
    if not math.isfinite(amount):
        raise UsageError(name, expected="a finite number", found=str(amount))
    return known[name].step.astype(np.float64) * amount


class _Seen:
    """A photo with what the engine knows of it; in 3D ``network`` looks from the photo's camera."""

    def __init__(self, engine: Engine, path: Path, on_progress: OnProgress) -> None:
        kit, owner = engine.kit, engine.store.owner()
        anchors = [codes for _, codes in engine.store.anchors()]
        if not anchors or owner is None:
            remedy = "run `everface update` with photos first"
            raise NothingToDoError(str(engine.path), expected="a person", found="no update yet", remedy=remedy)
        self.engine, self.mean = engine, owner.total / max(owner.count, 1)
        self.photo = align_single(
            path, kit.resolution, engine.config.photo, models=kit.faces,
            owner=lambda images: np.asarray(-np.linalg.norm(kit.embed(images) - self.mean, axis=1)),
        )  # fmt: skip
        self.target = to_tensor(self.photo.image[None])
        code = find_codes(kit, kit.loss.prepare(self.target), self.photo.camera[None], on_progress=on_progress)
        self.network = engine.model.seen_from(torch.from_numpy(self.photo.camera).float())
        self.hull = PersonalHull(np.concatenate(anchors))
        self.place = self.hull.place(code.codes[:, : self.hull.anchors.shape[1]].double().numpy())

    def search(self, degradation: Degradation, refine: bool, on_progress: OnProgress) -> PersonalCode:
        """The personal code that explains the photo."""
        kit = self.engine.kit
        return search_personal(
            self.network, kit.loss, self.target, self.hull.anchors, self.place.weights[0],
            search=PersonalSearch(layers=refine, degradation=degradation, coordinates=kit.coordinates),
            on_progress=on_progress,
        )  # fmt: skip

    @torch.no_grad()
    def portrait(self, code: PersonalCode, degradation: Degradation) -> Portrait:
        """The code's picture, and numbers."""
        kit = self.engine.kit
        made = self.network.render(code.styles[None])
        loss = float(kit.loss(degradation(made), kit.loss.prepare(degradation(self.target))))
        image = to_images(made)[0]
        likeness, photo_likeness = (
            mean_best_cosine(kit.embed(one[None]), self.mean[None]) for one in (image, self.photo.image)
        )
        return Portrait(
            image, self.photo.image, code.styles.numpy(), loss, likeness, photo_likeness, float(self.place.distance[0])
        )
