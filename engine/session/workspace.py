"""An open workspace: its store, its settings, and the person that it knows."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from everface.engine.config import EngineConfig
from everface.engine.errors import UsageError
from everface.engine.generators.base_files import EMBEDDED
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.replay.store import CompactReport, ForgetReport, Key, ReplayStore
from everface.engine.session.person import Person
from everface.engine.session.values import MemoryStatus, Status

if TYPE_CHECKING:
    from everface.engine.photos import FaceModels

_LEAST_SIDE = 16


class Workspace:
    """What an engine opens. Use ``create`` or ``open``; it is a context manager.

    It may be used from any thread; reads go on during an update and see the state before it.

    Attributes:
        path: the workspace.
        config: its settings.
    """

    def __init__(self, path: Path, store: ReplayStore, *, readonly: bool = False) -> None:
        self.path, self._store, self._readonly = path, store, readonly
        self.config = EngineConfig.from_json(store.state.config_json)
        self._current: Person | None = None
        self._loading, self._updating = threading.RLock(), threading.Lock()

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: EngineConfig | None = None, *, key: Key | None = None
    ) -> Self:
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
        from everface.engine.replay.policies.registry import policy

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
        workspace = cls(Path(path), store)
        workspace._backend = backend
        return workspace

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, key: Key | None = None, readonly: bool = False) -> Self:
        """Opens a workspace; model files that no commit names are swept away.

        Raises:
            WorkspaceError: there is none, it is in use by another writer, or from a newer version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted, and the key is missing or wrong.
        """
        store = ReplayStore.open(path, key=key, readonly=readonly)
        try:
            workspace = cls(Path(path), store, readonly=readonly)
            if not readonly:
                store.models.sweep([store.state.model])
        except BaseException:
            store.close()
            raise
        return workspace

    def close(self) -> None:
        """Closes the workspace; more than once is harmless."""
        self._store.close()

    def __enter__(self) -> Self:
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
            anchors=tuple(codes for _, codes in self._store.anchors()), owner=self._store.state.owner,
        )  # fmt: skip

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(self.config)

    @cached_property
    def _faces(self) -> FaceModels:
        from everface.engine.photos import FaceModels

        return FaceModels.load()

    def _changed(self) -> None:
        with self._loading:
            self._current = None

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
        from everface.engine.replay.policies.base import Pool
        from everface.engine.replay.policies.choose import choose
        from everface.engine.replay.policies.registry import policy

        chooser, rng = policy(self.config.policy), np.random.default_rng([self.config.seed, 2])
        gone = self._store.set_budget(
            budget_bytes, lambda memories, room: choose(Pool.of(memories), chooser, rng, room_bytes=room)
        )
        self._changed()
        return gone

    def compact(self, *, on_progress: OnProgress = ignore_progress) -> CompactReport:
        """Encodes the memories more densely. Made for idle time."""
        return self._store.compact(on_progress)
