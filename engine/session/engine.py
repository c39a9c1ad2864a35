"""The engine: a personal model in a workspace, and the verbs of the command line."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import EngineConfig
from everface.engine.errors import UsageError, WorkspaceError
from everface.engine.generators.base_files import EMBEDDED
from everface.engine.latents.model import Floats
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.photos import FaceModels
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.replay.policies.choose import choose
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.store import CompactReport, ForgetReport, Key, ReplayStore
from everface.engine.report import render_report
from everface.engine.session import portrait, view
from everface.engine.session.person import Person
from everface.engine.session.portrait import EnhanceOptions, Portrait
from everface.engine.session.review import review
from everface.engine.session.update import UpdateRun, update
from everface.engine.session.values import MemoryStatus, Status, UpdateReport
from everface.engine.session.view import Views

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh

__all__ = ["Engine"]

_LEAST_SIDE = 16


class Engine:
    """A personal model in a workspace. Use :meth:`create` or :meth:`open`; it is a context manager.

    It may be used from any thread; reads go on during an update and see the state before it.

    Attributes:
        path: the workspace.
        config: its settings.

    Example:
        >>> with Engine.create("me.everface", EngineConfig(budget_bytes=131072)) as engine:  # doctest: +SKIP
        ...     report = engine.update(["holiday/"])
        ...     images = engine.generate(8, seed=0)
    """

    def __init__(self, path: Path, store: ReplayStore, *, readonly: bool = False) -> None:
        self.path, self._store, self._readonly = path, store, readonly
        self.config = EngineConfig.from_json(store.state.config_json)
        self._current: Person | None = None
        self._loading, self._updating = threading.RLock(), threading.Lock()

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: EngineConfig | None = None, *, key: Key | None = None
    ) -> Engine:
        """Makes a workspace.

        Args:
            path: the folder to make, by custom ``NAME.everface``; it must not exist.
            config: the settings, kept in the workspace.
            key: encrypts the workspace.

        Raises:
            WorkspaceError: the folder exists or cannot be made.
            BudgetError: the budget cannot hold anything.
            UsageError: an unknown policy or dimension.
            CheckpointError: an unknown base.
        """
        config = config or EngineConfig()
        policy(config.policy)
        if config.base not in EMBEDDED:
            # A workspace is opened from other folders too.
            config = replace(config, base=str(Path(config.base).resolve()))
        backend = open_backend(config)
        resolution = backend.shape.resolution
        if resolution < _LEAST_SIDE:
            raise UsageError("base", expected=f"at least {_LEAST_SIDE} pixels", found=str(resolution))
        store = ReplayStore.create(path, budget_bytes=config.budget_bytes, config_json=config.to_json(), key=key)
        engine = cls(Path(path), store)
        engine._backend = backend
        return engine

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, key: Key | None = None, readonly: bool = False) -> Engine:
        """Opens a workspace; model files that no commit names are swept away.

        Raises:
            WorkspaceError: there is none, it is in use by another writer, or from a newer version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted, and the key is missing or wrong.
        """
        store = ReplayStore.open(path, key=key, readonly=readonly)
        try:
            engine = cls(Path(path), store, readonly=readonly)
            if not readonly:
                store.models.sweep([store.state.model])
        except BaseException:
            store.close()
            raise
        return engine

    def close(self) -> None:
        """Closes the workspace; more than once is harmless."""
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def person(self) -> Person:
        """The person as of the last commit: model, anchors, identity. Immutable; an update makes another."""
        with self._loading:
            if self._current is None:
                self._current = self._read_person()
            return self._current

    def _read_person(self) -> Person:
        model = self._store.state.model
        return Person(
            name=str(self.path), config=self.config, backend=self._backend,
            content=self._store.models.get(model) if model else None,
            anchors=tuple(codes for _, codes in self._store.anchors()), owner=self._store.owner(),
        )  # fmt: skip

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(self.config)

    @cached_property
    def _faces(self) -> FaceModels:
        return FaceModels.load()

    def _changed(self) -> None:
        with self._loading:
            self._current = None

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
            as :meth:`reconstruct`, and UsageError for a 2D workspace or a range outside of +-90 degrees.
        """
        return view.view(self.person, self._faces, Path(photo), yaw, frames, on_progress)

    def mesh(self, photo: str | os.PathLike[str], *, side: int = 96, on_progress: OnProgress = ignore_progress) -> Mesh:
        """The surface of the person's head of a photo, with colours; of a 3D workspace.

        Args:
            photo: a file that shows the person.
            side: points of the grid across, 8 to 512.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`view`.
        """
        return view.mesh(self.person, self._faces, Path(photo), side, on_progress)

    def render(self, codes: Floats, cameras: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Pictures uint8 [n, R, R, 3] of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim].

        In 3D they are seen from cameras [n, 25], from the front for None.
        """
        return self.person.render(codes, cameras)

    def reconstruct(
        self, photo: str | os.PathLike[str], *, refine: bool = False, on_progress: OnProgress = ignore_progress
    ) -> Portrait:
        """The picture of the personal model that is nearest to a photo, inside the person's dilated hull P_beta.

        Args:
            photo: a file that shows the person.
            refine: also change each layer's style a little (W+): nearer to the photo, less personal.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            NothingToDoError: nothing was learned yet.
            UsageError: no such file.
            PhotoRejectedError: it shows no face.
        """
        return portrait.reconstruct(self.person, self._faces, Path(photo), refine=refine, on_progress=on_progress)

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
            as :meth:`reconstruct`, and UsageError for a mask that does not fit.
        """
        return portrait.enhance(self.person, self._faces, Path(photo), options or EnhanceOptions(), on_progress)

    def edit(
        self,
        photo: str | os.PathLike[str],
        changes: Mapping[str, float],
        *,
        stay: float = 1.0,
        on_progress: OnProgress = ignore_progress,
    ) -> Portrait:
        """Changes pose, smile or light of a photo, and stays the person.

        Args:
            photo: a file that shows the person.
            changes: amounts by the name of a direction (``person.directions``), in its unit.
            stay: 0 moves freely, which soon shows somebody else; 1 moves only as far as the person's hull reaches
                (MyStyle, section 4.3).
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`reconstruct`, and UsageError for a direction that the base does not have.
        """
        return portrait.edit(self.person, self._faces, Path(photo), changes, stay=stay, on_progress=on_progress)

    def status(self) -> Status:
        """The workspace at a glance."""
        state, memories = self._store.state, self._store.memories()
        kept = tuple(
            MemoryStatus(
                memory.id, memory.timestamp, memory.bytes, memory.codec, memory.resolution,
                None if math.isnan(memory.loss) else memory.loss, memory.reason,
            )
            for memory in memories
        )  # fmt: skip
        return Status(
            timestamps=state.timestamps, memories=kept, budget_bytes=state.budget_bytes, used_bytes=state.used_bytes,
            file_bytes=state.used_bytes, room_bytes=state.room_bytes,
            bytes_per_memory=sum(memory.bytes for memory in kept) / len(kept) if kept else 0.0, model=state.model,
            policy=self.config.policy, base=self.config.base, dimension=self.config.dimension,
            encrypted=state.encrypted, still_derived=tuple(dict.fromkeys(id for id, _ in state.forgotten)),
        )  # fmt: skip

    def report(self, out: str | os.PathLike[str]) -> Path:
        """Writes the report: one self-contained HTML page.

        Args:
            out: the file; replaced where it exists, written whole or not at all.

        Raises:
            UsageError: ``out`` is a folder.
        """
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

    def forget(self, photo_id: str) -> ForgetReport:
        """Erases a memory: its image, W code and every copy; says what still derives from it.

        Raises:
            UsageError: no such memory.
        """
        report = self._store.forget(photo_id)
        self._changed()
        return report

    def set_budget(self, budget_bytes: int) -> tuple[str, ...]:
        """Raises or lowers the budget in one transaction; returns the ids of memories that had to go.

        Raises:
            BudgetError: it is too small for what must stay; nothing was changed.
        """
        chooser, rng = policy(self.config.policy), np.random.default_rng([self.config.seed, 2])
        gone = self._store.set_budget(budget_bytes, lambda pool, room: choose(pool, chooser, rng, room_bytes=room))
        self._changed()
        return gone

    def compact(self, *, on_progress: OnProgress = ignore_progress) -> CompactReport:
        """Encodes the memories more densely. Made for idle time."""
        return self._store.compact(on_progress)
