"""The memory file: how it begins, plain or encrypted, how it is read by blocks, and how it is replaced whole.

``memory.safetensors`` is a prefix (``.layout``) and a body, W codes and images, in blocks of 64 KiB whose digests are
among the prefix's columns. ``memory.sealed`` is a clear header of 80 bytes, then the same prefix and blocks, each an
AES-GCM message of one fresh key.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from everface.engine.atomic import DISK, Disk, finish_wipe, old_name, write_whole
from everface.engine.errors import IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.replay.body import DIGEST_BYTES, Body, block_count, opened, write_body
from everface.engine.replay.content import Content
from everface.engine.replay.layout import FORMAT_VERSION, pack, require, require_version, unpack
from everface.engine.vault import UNSEALED, Key, ScryptCost, Seal, VaultSeal

PLAIN, SEALED = "memory.safetensors", "memory.sealed"
_OUTDATED = "replay.db"
# Magic, version, scrypt's n, r and p, salt, verifier, salt of this write, prefix bytes; then 8 bytes of SHA-256.
_CLEAR = struct.Struct("<8s4I16s8s16sQ")
_CLEAR_BYTES, _MAGIC = _CLEAR.size + 8, b"everface"
_PREFIX = b"header and columns"
_BEGIN_BYTES, _ATTEMPTS = 128, 5  # no two files begin alike: with a digest, or with a salt
T = TypeVar("T")


class MemoryFile:
    """The file of one workspace. No handle is held between calls.

    Args:
        folder: the workspace.
        seal: of the workspace.
        disk: the operating system.
    """

    def __init__(self, folder: Path, seal: Seal, disk: Disk = DISK) -> None:
        self.path, self.seal, self.disk = folder / (SEALED if seal.overhead else PLAIN), seal, disk
        self._last: tuple[bytes, Content] | None = None

    @classmethod
    def find(cls, folder: Path, key: Key | None, disk: Disk = DISK) -> MemoryFile:
        """The file of an existing workspace.

        Raises:
            WorkspaceError: there is none, or one of another version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted, and the key is missing or wrong.
        """
        if not folder.is_dir():
            raise WorkspaceError(str(folder), expected="a workspace folder", found="none", remedy="run `everface init`")
        names = [name for name in (PLAIN, SEALED) if (folder / name).is_file() or old_name(folder / name).is_file()]
        if len(names) == 1:
            return cls(folder, _unlocked(folder / SEALED, key) if names == [SEALED] else UNSEALED, disk)
        expected = f"{PLAIN} or {SEALED}"
        if names:
            raise IntegrityError(str(folder), expected=expected, found="both", remedy="move the wrong one away")
        if (folder / _OUTDATED).exists():
            found, remedy = "the SQLite store of an older everface", "make a new workspace with `everface init`"
            raise WorkspaceError(str(folder / _OUTDATED), expected=expected, found=found, remedy=remedy)
        raise WorkspaceError(str(folder), expected="a workspace", found="none", remedy="run `everface init`")

    def require_writable(self) -> None:
        """Raises WorkspaceError unless the file and its folder can be written."""
        if not all(os.access(place, os.W_OK) for place in (self.path.parent, self.path) if place.exists()):
            remedy = "make it and its folder writable, or open it read-only"
            raise WorkspaceError(str(self.path), expected="a writable file", found="a read-only one", remedy=remedy)

    def read(self, work: Callable[[Content], T]) -> T:
        """Runs work on the newest content, and again where a writer replaced the file meanwhile.

        Raises:
            WorkspaceError: there is no file, or one of another version.
            IntegrityError: it is damaged; and whatever else the work raises.
        """
        for _ in range(_ATTEMPTS - 1):
            # A replaced file is overwritten while it may still be read; only what stays wrong is damage.
            with contextlib.suppress(IntegrityError):
                return work(self._content())
        return work(self._content())

    def write(self, content: Content) -> None:
        """Replaces the file, or makes it; what is copied of the file before is read a block at a time.

        Raises:
            OSError: it cannot be written; the old file is still there, unless only the last sync failed.
            IntegrityError: a block that is to be copied is damaged.
        """

        def fill(file: BinaryIO) -> None:
            prefix, clear, seal = _prefix(content), b"", self.seal
            if isinstance(seal, VaultSeal):
                salt, cost = os.urandom(16), (seal.cost.n, seal.cost.r, seal.cost.p)
                clear = _CLEAR.pack(_MAGIC, FORMAT_VERSION, *cost, seal.salt, seal.verifier, salt, len(prefix))
                clear += hashlib.sha256(clear).digest()[:8]
                seal = seal.for_file(salt, clear)
            # The body comes first, because the prefix has its digests. Its reads end before the old file is replaced.
            file.seek(len(clear) + len(prefix) + seal.overhead)
            prefix = pack(content, write_body(file, content.written(), seal))
            file.seek(0)
            file.write(clear + seal.seal(prefix, _PREFIX))

        self.wipe()
        write_whole(self.path, fill, disk=self.disk, keep=True)

    def wipe(self) -> None:
        """Overwrites what a replaced file was."""
        finish_wipe(self.path, self.disk)

    def _content(self) -> Content:
        """Header and columns of the file, verified; those of last time where it is the same file."""
        with opened(self.path) as file, _reading(self.path):
            begin = file.read(_BEGIN_BYTES)
            if self._last is None or self._last[0] != begin:
                file.seek(0)
                self._last = begin, self._loaded(file)
            return self._last[1]

    def _loaded(self, file: BinaryIO) -> Content:
        seal: Seal = self.seal
        if isinstance(seal, VaultSeal):
            clear = _clear_header(file)
            *_, salt, length = _CLEAR.unpack(clear[:-8])
            seal = seal.for_file(salt, clear)
            require(length <= os.fstat(file.fileno()).st_size)
            content, digests = unpack(io.BytesIO(seal.unseal(file.read(length + seal.overhead), _PREFIX)))
        else:
            content, digests = unpack(file)
        body = Body(self.path, seal, file.tell(), content.body_bytes, digests)
        require(os.fstat(file.fileno()).st_size == body.end and len(digests) == DIGEST_BYTES * block_count(body.size))
        return replace(content, body=body, sealed=isinstance(seal, VaultSeal))


def file_bytes(content: Content) -> int:
    """Exact bytes of the file of a content."""
    sealing = _CLEAR_BYTES + VaultSeal.overhead * (1 + block_count(content.body_bytes)) if content.sealed else 0
    return len(_prefix(content)) + content.body_bytes + sealing


def _prefix(content: Content) -> bytes:
    """What comes before the body, its digests not yet known."""
    return pack(content, bytes(DIGEST_BYTES * block_count(content.body_bytes)))


def _clear_header(file: BinaryIO) -> bytes:
    header = file.read(_CLEAR_BYTES)
    magic, version, *_ = _CLEAR.unpack(header[:-8])
    require(magic == _MAGIC)
    require_version(version)
    require(hashlib.sha256(header[:-8]).digest()[:8] == header[-8:])
    return header


def _unlocked(path: Path, key: Key | None) -> VaultSeal:
    """The vault that a key opens."""
    with opened(path) as file, _reading(path):
        _, _, *cost, salt, verifier, _, _ = _CLEAR.unpack(_clear_header(file)[:-8])
        scrypt = ScryptCost(*cost)
    if key is None:
        raise KeyMismatchError("workspace", expected="its passphrase", found="none", remedy="pass --passphrase-file")
    vault = VaultSeal.of(key, scrypt, salt)
    vault.require(verifier)
    return vault


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Any way in which stored bytes cannot be understood is an IntegrityError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error, OverflowError, MemoryError) as error:
        found, remedy = f"{type(error).__name__}: {error}", "restore it from a copy of the workspace"
        raise IntegrityError(str(path), expected="what a store writes", found=found, remedy=remedy) from error
