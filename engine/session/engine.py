"""The engine: a personal model in a workspace, and the verbs of the command line.

A verb imports what it is made of, so that opening a workspace stays quick.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError, WorkspaceError
from everface.engine.latents.model import Floats
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.session.values import EnhanceOptions, Portrait, UpdateReport, Views
from everface.engine.session.workspace import Workspace

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh


class Engine(Workspace):
    """A personal model in a workspace, and what can be done with it.

    Example:
        >>> with Engine.create("me.everface", EngineConfig(budget_bytes=131072)) as engine:  # doctest: +SKIP
        ...     report = engine.update(["holiday/"])
        ...     images = engine.generate(8, seed=0)
    """

    def update(
        self,
        photos: Sequence[str | os.PathLike[str]],
        *,
        max_minutes: float | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> UpdateReport:
        """Learns one batch of photos: one batch is one timestamp.

        Args:
            photos: files and folders.
            max_minutes: ends the update, with a commit, after about this long.
            on_progress: hears the stages ``"photos"``, ``"invert"`` and ``"tune"``.

        Raises:
            UpdateFailedError: no photo was usable, or the model did not become better; nothing was changed.
            UsageError: no photos are named, one does not exist, or the time is not positive.
            WorkspaceError: it cannot be written; nothing was changed.
        """
        from everface.engine.session.update import UpdateRun, update

        if max_minutes is not None and not (math.isfinite(max_minutes) and max_minutes > 0):
            raise UsageError("max_minutes", expected="a positive number", found=str(max_minutes))
        if self._readonly:
            remedy = "open it without readonly"
            raise WorkspaceError(str(self.path), expected="opened for writing", found="opened read-only", remedy=remedy)
        deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        with self._updating:
            run = UpdateRun(self.path, self._store, on_progress, deadline)
            report = update(self.person, self._faces, [Path(photo) for photo in photos], run)
            self._changed()
        return report

    def sample_codes(self, n: int, seed: int = 0) -> Floats:
        """W codes [n, w_dim] of P0 samples, dealt evenly to the timestamps.

        Raises:
            UsageError: n or seed out of range.
            NothingToDoError: nothing was learned yet.
        """
        return self.person.sample_codes(n, seed)

    def generate(self, n: int, seed: int = 0, *, yaw: tuple[float, float] | None = None) -> NDArray[np.uint8]:
        """Pictures of the person, uint8 [n, R, R, 3]: P0 samples of the personal subspace.

        Args:
            n: how many.
            seed: of the random choices.
            yaw: in 3D, lowest and highest yaw in degrees, of which each head gets a random one; frontal for None.

        Raises:
            UsageError: n, seed or yaw out of range, or a yaw for a 2D workspace.
            NothingToDoError: nothing was learned yet.
        """
        return self.person.generate(n, seed, yaw)

    def view(
        self,
        photo: str | os.PathLike[str],
        *,
        yaw: tuple[float, float] = (-30.0, 30.0),
        frames: int = 25,
        on_progress: OnProgress = ignore_progress,
    ) -> Views:
        """The person's head of a photo, turned from one side to the other; of a 3D workspace.

        Args:
            photo: a file that shows the person.
            yaw: first and last, in degrees.
            frames: how many views, evenly spaced.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as ``reconstruct``, and UsageError for a 2D workspace or a range outside of +-90 degrees.
        """
        from everface.engine.session import view

        return view.view(self.person, self._faces, Path(photo), yaw, frames, on_progress)

    def mesh(self, photo: str | os.PathLike[str], *, side: int = 96, on_progress: OnProgress = ignore_progress) -> Mesh:
        """The surface of the person's head of a photo, with colours; of a 3D workspace.

        Args:
            photo: a file that shows the person.
            side: points of the grid across, 8 to 512.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as ``view``.
        """
        from everface.engine.session import view

        return view.mesh(self.person, self._faces, Path(photo), side, on_progress)

    def render(self, codes: Floats, cameras: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Pictures uint8 [n, R, R, 3] of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim].

        In 3D they are seen from cameras [n, 25], from the front for None.
        """
        return self.person.render(codes, cameras)

    def reconstruct(self, photo: str | os.PathLike[str], *, on_progress: OnProgress = ignore_progress) -> Portrait:
        """The picture of the personal model that is nearest to a photo.

        The search begins on the person's hull, nearest to the photo, and changes each layer's style (W+).

        Args:
            photo: a file that shows the person.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            NothingToDoError: nothing was learned yet.
            UsageError: no such file.
            PhotoRejectedError: it shows no face.
        """
        from everface.engine.session import portrait

        return portrait.reconstruct(self.person, self._faces, Path(photo), on_progress)

    def enhance(
        self,
        photo: str | os.PathLike[str],
        options: EnhanceOptions | None = None,
        *,
        on_progress: OnProgress = ignore_progress,
    ) -> Portrait:
        """Restores a small, blurred, noisy or covered photo by what is known of the person (MyStyle, section 4.2).

        Args:
            photo: a file that shows the person.
            options: what happened to it.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as ``reconstruct``, and UsageError for a mask that does not fit.
        """
        from everface.engine.session import portrait

        return portrait.enhance(self.person, self._faces, Path(photo), options or EnhanceOptions(), on_progress)

    def edit(
        self,
        photo: str | os.PathLike[str],
        changes: Mapping[str, float],
        *,
        stay: float = 1.0,
        on_progress: OnProgress = ignore_progress,
    ) -> Portrait:
        """Changes pose, expression or light of a photo, measures what came of it, and stays the person.

        Args:
            photo: a file that shows the person.
            changes: amounts by name, of ``everface.engine.photos.attributes.UNITS`` and in their units.
            stay: how strongly the search is held to the code of the unedited picture: 0 not at all.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as ``reconstruct``, and UsageError for a change that is not known or not finite, or a 3D workspace.
        """
        from everface.engine.session.edit import edit

        return edit(self.person, self._faces, Path(photo), changes, stay=stay, on_progress=on_progress)

    def paste(self, photo: str | os.PathLike[str], portrait: Portrait) -> NDArray[np.uint8]:
        """A photo with a portrait made of it in its frame, uint8 [h, w, 3]: its resolution, and its colours around.

        Args:
            photo: the file that ``reconstruct``, ``enhance`` or ``edit`` was given.
            portrait: what it returned.

        Raises:
            PhotoRejectedError: it cannot be read.
        """
        from everface.engine.session.portrait import paste

        return paste(self.person, Path(photo), portrait)

    def report(self, out: str | os.PathLike[str]) -> Path:
        """Writes the report: one self-contained HTML page.

        Args:
            out: the file; replaced where it exists, written whole or not at all.

        Raises:
            UsageError: ``out`` is a folder.
        """
        from everface.engine.report import render_report
        from everface.engine.session.review import review

        path = Path(out)
        if path.is_dir():
            raise UsageError(
                "out", expected="a file", found=f"the folder {path}", remedy="name a file such as report.html"
            )
        text = render_report(review(self.person, self.status(), self._store))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
        return path
