"""The shelf of model files: immutable, named by the SHA-256 of their content, written before they are committed."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from everface.engine.atomic import DISK, Disk, needing, write_whole
from everface.engine.errors import IntegrityError, UsageError, WorkspaceError
from everface.engine.vault import UNSEALED, Seal

_NAME = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".safetensors"
_REMEDY = "restore the file from a copy of the workspace"


class ModelShelf:
    """``<workspace>/models/<sha256>.safetensors``; encrypted as a whole where the workspace is.

    The name is the hash of the plain content, so a plain file is exactly what its name says.

    Args:
        workspace: the workspace folder.
        seal: the workspace's seal (``everface.engine.replay.store.ReplayStore.seal``).
        disk: the operating system.
    """

    def __init__(self, workspace: Path, seal: Seal = UNSEALED, disk: Disk = DISK) -> None:
        self._folder, self._seal, self._disk = workspace / "models", seal, disk

    def put(self, content: bytes) -> str:
        """Writes and syncs a model file; returns its SHA-256. The same content twice is one file.

        Raises:
            WorkspaceError: the file cannot be written.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        with contextlib.suppress(WorkspaceError):  # absent, or damaged and made anew
            self.get(name)
            return name
        with needing(path, "room for the model", "free some disk space and run the update again"):
            self._folder.mkdir(exist_ok=True)
            write_whole(path, self._seal.seal(content, b"model:" + name.encode()), disk=self._disk)
            self._disk.sync_folder(self._folder.parent)
        return name

    def get(self, name: str) -> bytes:
        """Returns the content whose SHA-256 is ``name``.

        Raises:
            WorkspaceError: there is no such file.
            IntegrityError: its bytes are not those that were written.
        """
        path = self._path(name)
        with needing(path, "the model that the last update left", _REMEDY):
            stored = path.read_bytes()
        content = self._seal.unseal(stored, b"model:" + name.encode())
        if hashlib.sha256(content).hexdigest() != name:
            expected = "content with the hash in its name"
            raise IntegrityError(str(path), expected=expected, found="other content", remedy=_REMEDY)
        return content

    def names(self) -> tuple[str, ...]:
        """The hashes on the shelf, sorted."""
        files = self._folder.glob(f"*{_SUFFIX}") if self._folder.is_dir() else ()
        return tuple(sorted(path.stem for path in files if _NAME.fullmatch(path.stem)))

    def strays(self, keep: Collection[str]) -> tuple[str, ...]:
        """Names of all other files in the folder."""
        files = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return tuple(path.name for path in files if path.suffix != _SUFFIX or path.stem not in keep)

    def sweep(self, keep: Collection[str]) -> tuple[str, ...]:
        """Deletes every other model file and unfinished write; returns what was deleted."""
        gone = self.strays(keep)
        for name in gone:
            self._disk.unlink(self._folder / name)
        return gone

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError("model", expected="64 hexadecimal digits", found=repr(name), remedy="pass put's result")
        return self._folder / f"{name}{_SUFFIX}"
