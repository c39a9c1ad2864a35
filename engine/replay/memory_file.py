"""The memory file: how it begins, plain or encrypted, how it is read by blocks, and how it is replaced whole.

``memory.safetensors`` is a prefix (``.layout``) and a body, W codes and images, in blocks of 64 KiB whose digests are
among the prefix's columns. ``memory.sealed`` is a clear header of 80 bytes, then the same prefix and blocks, each an
AES-GCM message of one fresh key.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from everface.engine.atomic import DISK, Disk, finish_wipe, old_name, write_whole
from everface.engine.errors import IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.replay.blocks import DIGEST_BYTES, BodyReader, block_count, write_body
from everface.engine.replay.content import Content, body_pieces
from everface.engine.replay.layout import FORMAT_VERSION, pack, prefix_bytes, reading, require, require_version, unpack
from everface.engine.vault import CheckSeal, Key, ScryptCost, Seal, VaultSeal

PLAIN, SEALED = "memory.safetensors", "memory.sealed"
_OUTDATED = "replay.db"
# Magic, version, scrypt's n, r and p, salt, verifier, salt of this write, prefix bytes; then 8 bytes of SHA-256.
_CLEAR = struct.Struct("<8s4I16s8s16sQ")
_CLEAR_BYTES, _MAGIC = _CLEAR.size + 8, b"everface"
_PREFIX = b"header and columns"
_MOST_HEADER, _ATTEMPTS = 1 << 16, 5
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """A file as it was found: its content, its first bytes, which no other file has, and its body."""

    content: Content
    begin: bytes
    body: BodyReader


class MemoryFile:
    """The file of one workspace. No handle is held between calls.

    Args:
        folder: the workspace.
        vault: of an encrypted workspace, its seal.
        disk: the operating system.
    """

    def __init__(self, folder: Path, vault: VaultSeal | None, disk: Disk = DISK) -> None:
        self.path, self._vault, self.disk = folder / (SEALED if vault else PLAIN), vault, disk
        self.seal: Seal = vault or CheckSeal()
        self._last: _Snapshot | None = None

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
            return cls(folder, _unlocked(folder / SEALED, key) if names == [SEALED] else None, disk)
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

    def size(self, content: Content) -> int:
        """Exact bytes of this file for a content."""
        return file_bytes(content, self._vault is not None)

    def read(self, work: Callable[[Content, BodyReader], T]) -> T:
        """Runs work on the newest content and its body, and again where a writer replaced the file meanwhile.

        Raises:
            WorkspaceError: there is no file, or one of another version.
            IntegrityError: it is damaged; and whatever else the work raises.
        """
        for _ in range(_ATTEMPTS - 1):
            # A replaced file is overwritten while it may still be read; only what stays wrong is damage.
            with contextlib.suppress(IntegrityError):
                return self._once(work)
        return self._once(work)

    def _once(self, work: Callable[[Content, BodyReader], T]) -> T:
        with _opened(self.path) as file:
            last = self._last = self._loaded(file)
            return work(last.content, replace(last.body, file=file))

    def write(self, content: Content, old: Content | None = None) -> None:
        """Replaces the file, or makes it where there is no ``old`` one, of which blocks are read one at a time.

        Raises:
            OSError: it cannot be written; the old file is still there, unless only the last sync failed.
            IntegrityError: a block that is to be copied is damaged.
        """

        def fill(file: BinaryIO) -> None:
            if old is None:
                self._fill(file, content, ())
            else:  # the old file is closed again before it is replaced: Windows would refuse that
                self._once(lambda _, body: self._fill(file, content, body_pieces(content, old, body.read)))

        if old is not None:
            self.wipe()
        write_whole(self.path, fill, disk=self.disk, keep=True)

    def wipe(self) -> None:
        """Overwrites what a replaced file was."""
        finish_wipe(self.path, self.disk)

    def _fill(self, file: BinaryIO, content: Content, body: Iterable[bytes]) -> None:
        """Writes the body first, because the prefix has its digests."""
        length, clear, seal = len(_prefix(content)), b"", None
        if self._vault is not None:
            salt, cost = os.urandom(16), (self._vault.cost.n, self._vault.cost.r, self._vault.cost.p)
            clear = _CLEAR.pack(_MAGIC, FORMAT_VERSION, *cost, self._vault.salt, self._vault.verifier, salt, length)
            clear += hashlib.sha256(clear).digest()[:8]
            seal = self._vault.for_file(salt, clear)
            length += VaultSeal.overhead
        file.seek(len(clear) + length)
        prefix = pack(content, write_body(file, body, seal))
        file.seek(0)
        file.write(clear + (seal.seal(prefix, _PREFIX) if seal else prefix))

    def _loaded(self, file: BinaryIO) -> _Snapshot:
        """The open file's header and columns, verified; those of last time where it is the same file."""
        with reading(self.path):
            begin = _clear_header(file) if self._vault else _plain_header(file)
            if self._last is not None and self._last.begin == begin:
                return self._last
            size, seal = os.fstat(file.fileno()).st_size, None
            if self._vault is None:
                start = prefix_bytes(begin)
                require(start <= size)
                prefix = begin + file.read(start - len(begin))
            else:
                *_, salt, length = _CLEAR.unpack(begin[:-8])
                start = _CLEAR_BYTES + length + VaultSeal.overhead
                require(start <= size)
                seal = self._vault.for_file(salt, begin)
                prefix = seal.unseal(file.read(start - _CLEAR_BYTES), _PREFIX)
            content, digests = unpack(prefix)
            body = BodyReader(file, start, content.body_bytes, digests, seal)
            require(size == body.end and len(digests) == DIGEST_BYTES * block_count(body.size))
        return _Snapshot(content, begin, body)


def file_bytes(content: Content, encrypted: bool) -> int:
    """Exact bytes of the file of a content."""
    sealing = _CLEAR_BYTES + VaultSeal.overhead * (1 + block_count(content.body_bytes)) if encrypted else 0
    return len(_prefix(content)) + content.body_bytes + sealing


def _prefix(content: Content) -> bytes:
    """What comes before the body, its digests not yet known."""
    return pack(content, bytes(DIGEST_BYTES * block_count(content.body_bytes)))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, also while it has its old name only: a writer without hard links is between two renames."""
    with contextlib.ExitStack() as stack:
        try:
            try:
                file = stack.enter_context(open(path, "rb"))
            except FileNotFoundError:
                file = stack.enter_context(open(old_name(path), "rb"))
        except OSError as error:
            found, remedy = error.strerror or str(error), "make it readable, or restore it from a copy of the workspace"
            raise WorkspaceError(str(path), expected="a file to read", found=found, remedy=remedy) from error
        yield file


def _plain_header(file: BinaryIO) -> bytes:
    begin = file.read(8)
    (length,) = struct.unpack("<Q", begin)
    require(length <= _MOST_HEADER)
    return begin + file.read(length)


def _clear_header(file: BinaryIO) -> bytes:
    header = file.read(_CLEAR_BYTES)
    magic, version, *_ = _CLEAR.unpack(header[:-8])
    require(magic == _MAGIC)
    require_version(version)
    require(hashlib.sha256(header[:-8]).digest()[:8] == header[-8:])
    return header


def _unlocked(path: Path, key: Key | None) -> VaultSeal:
    """The vault that a key opens."""
    with _opened(path) as file, reading(path):
        _, _, *cost, salt, verifier, _, _ = _CLEAR.unpack(_clear_header(file)[:-8])
        scrypt = ScryptCost(*cost)
    if key is None:
        raise KeyMismatchError("workspace", expected="its passphrase", found="none", remedy="pass --passphrase-file")
    vault = VaultSeal.of(key, scrypt, salt)
    vault.require(verifier)
    return vault
