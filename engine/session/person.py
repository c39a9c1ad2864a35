"""A person as the verbs see them: the personal model, the anchors and the owner's identity, as of one commit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import EngineConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.latents.hull import PersonalHull
from everface.engine.latents.model import FaceModel, Floats, join_camera
from everface.engine.latents.sample import sample_p0_by_timestamp
from everface.engine.learn.backend import Backend
from everface.engine.photos.camera import LABEL_DIM, orbit
from everface.engine.pictures import to_uint8
from everface.engine.replay.store import Owner

_MOST_SAMPLES = 100_000
MOST_YAW = 90.0


@dataclass(frozen=True, eq=False)
class Person:
    """What a workspace knows; made anew after each commit.

    Attributes:
        name: of the workspace, for messages.
        config: its settings.
        backend: of its base.
        content: the model file, None before the first update.
        anchors: for each timestamp W codes [a, w_dim].
        owner: the enrolled person, None before the first update.
    """

    name: str
    config: EngineConfig
    backend: Backend
    content: bytes | None
    anchors: tuple[Floats, ...]
    owner: Owner | None

    @cached_property
    def model(self) -> FaceModel:
        """The personal generator, the base before the first update."""
        return self.backend.model(self.content)

    @cached_property
    def hull(self) -> PersonalHull:
        """What the anchors span, dilated (MyStyle's P_beta).

        Raises:
            NothingToDoError: nothing was learned yet.
        """
        self.require_learned()
        return PersonalHull(np.concatenate(self.anchors))

    def require_learned(self) -> Owner:
        """The owner.

        Raises:
            NothingToDoError: nothing was learned yet.
        """
        if not self.anchors or self.owner is None:
            remedy = "run `everface update` with photos first"
            raise NothingToDoError(self.name, expected="a person", found="no update yet", remedy=remedy)
        return self.owner

    def require_3d(self) -> None:
        """Raises UsageError for a 2D workspace."""
        if self.config.dimension != "3d":
            remedy = "make one with `everface init --dimension 3d`; `everface edit --pose` turns a 2D head"
            raise UsageError(self.name, expected="a 3D workspace", found="a 2D one", remedy=remedy)

    @property
    def identity(self) -> Floats:
        """Mean embedding [e] of the owner's photos.

        Raises:
            NothingToDoError: nothing was learned yet.
        """
        owner = self.require_learned()
        return np.asarray(owner.total / max(owner.count, 1), np.float32)

    def likeness(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """How like the owner each aligned face [n, R, R, 3] is, to choose among several: higher is liker."""
        return np.asarray(-np.linalg.norm(self.backend.embed(images) - self.identity, axis=1), np.float64)

    def camera(self, cameras: NDArray[np.floating]) -> NDArray[np.floating]:
        """What the model's codes carry of cameras [n, 25]: all in 3D, nothing in 2D."""
        return cameras[:, : self.backend.shape.camera_dim]

    def sample_codes(self, n: int, seed: int = 0) -> Floats:
        """W codes [n, w_dim] of P0 samples, dealt evenly to the timestamps.

        Raises:
            UsageError: n or seed out of range.
            NothingToDoError: nothing was learned yet.
        """
        if not 0 <= n <= _MOST_SAMPLES:
            raise UsageError("n", expected=f"0 to {_MOST_SAMPLES}", found=str(n))
        if seed < 0:
            raise UsageError("seed", expected="0 or more", found=str(seed))
        self.require_learned()
        return sample_p0_by_timestamp(self.anchors, n, np.random.default_rng(seed))

    def render(self, styles: Floats, cameras: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Pictures uint8 [n, R, R, 3] of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim].

        In 3D they are seen from cameras [n, 25], from the front for None.
        """
        if cameras is None:
            cameras = orbit([0.0] * len(styles)) if len(styles) else np.zeros((0, LABEL_DIM))
        if len(cameras) != len(styles) or cameras.ndim != 2 or cameras.shape[1] != LABEL_DIM:
            raise UsageError("cameras", expected=f"[{len(styles)}, {LABEL_DIM}]", found=str(np.shape(cameras)))
        return to_uint8(self.model.render(join_camera(styles, self.camera(cameras))))

    def generate(self, n: int, seed: int, yaw: tuple[float, float] | None) -> NDArray[np.uint8]:
        """See ``everface.engine.session.engine.Engine.generate``."""
        if yaw is not None:
            self.require_3d()
        low, high = check_yaw(yaw or (0.0, 0.0))
        angles = np.random.default_rng([seed, 6]).uniform(low, high, n) if seed >= 0 and n > 0 else np.zeros(0)
        return self.render(self.sample_codes(n, seed), orbit(angles) if n > 0 else None)


def check_yaw(yaw: tuple[float, float]) -> tuple[float, float]:
    """The range of degrees, if it can be looked at.

    Raises:
        UsageError: outside of +-90 degrees, or upside down.
    """
    low, high = yaw
    if not (np.isfinite([low, high]).all() and -MOST_YAW <= low <= high <= MOST_YAW):
        expected = f"LOW..HIGH in degrees within +-{MOST_YAW:g}"
        raise UsageError("yaw", expected=expected, found=f"{low:g}..{high:g}", remedy="write it as -30..30")
    return low, high
