"""The memory file: how it begins, plain or encrypted, how it is read, and how it is replaced whole.

``memory.safetensors`` is the prefix (``.layout``) and the body (``.blocks``). ``memory.sealed`` is a clear header
of 80 bytes, then the same prefix as block 0 and the same body as blocks 1, 2, ... of one fresh key.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from everface.engine.atomic import DISK, Disk, write_whole
from everface.engine.errors import IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.replay.blocks import BLOCK_BYTES, DIGEST_BYTES, BodyReader, BodyWriter, Digests, Guard, block_count
from everface.engine.replay.content import Content, body_pieces
from everface.engine.replay.layout import (
    FORMAT_VERSION,
    MOST_HEADER,
    pack,
    prefix_bytes,
    reading,
    require_version,
    unpack,
)
from everface.engine.replay.wipe import finish, old_name
from everface.engine.vault import BlockCipher, CheckSeal, Key, ScryptCost, Seal, VaultSeal

PLAIN, SEALED = "memory.safetensors", "memory.sealed"
_OUTDATED = "replay.db"
# Magic, version, scrypt's n, r and p, salt, verifier, salt of this write, prefix bytes; then 8 bytes of SHA-256.
_CLEAR = struct.Struct("<8s4I16s8s16sQ")
_CLEAR_BYTES, _MAGIC = _CLEAR.size + 8, b"everface"
_ATTEMPTS = 5
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """A file as it was found: its content, first bytes (which no other file has), where its body is, and blocks."""

    content: Content
    begin: bytes
    guard: Guard
    start: int
    held: dict[int, bytes] = field(default_factory=dict)


def file_bytes(content: Content, encrypted: bool) -> int:
    """Exact bytes of the file of a content."""
    blocks = block_count(content.body_bytes)
    if encrypted:
        return _CLEAR_BYTES + len(pack(content, b"")) + content.body_bytes + BlockCipher.overhead * (1 + blocks)
    return len(pack(content, bytes(DIGEST_BYTES * blocks))) + content.body_bytes


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
        expected = f"{PLAIN} or {SEALED}"
        names = [name for name in (PLAIN, SEALED) if (folder / name).is_file() or old_name(folder / name).is_file()]
        if len(names) == 1:
            return cls(folder, _unlocked(folder / SEALED, key) if names == [SEALED] else None, disk)
        if names:
            raise IntegrityError(str(folder), expected=expected, found="both", remedy="move the wrong one away")
        if (folder / _OUTDATED).exists():
            remedy = "make a new workspace with `everface init` and run `everface update` with the photos again"
            found = "the SQLite store of an older everface"
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
            as ``find``, and whatever the work raises.
        """
        for _ in range(_ATTEMPTS - 1):
            # A replaced file is overwritten while it may still be read; only what stays wrong is damage.
            with contextlib.suppress(IntegrityError):
                return self._once(work)
        return self._once(work)

    def _once(self, work: Callable[[Content, BodyReader], T]) -> T:
        with _opened(self.path) as file:
            last = self._last = self._loaded(file)
            body = BodyReader(file, last.start, last.content.body_bytes, last.guard, last.held)
            return work(last.content, body)

    def write(self, content: Content, old: Content | None = None) -> None:
        """Replaces the file, or makes it where there is no ``old`` one, whose blocks are copied one at a time.

        Raises:
            OSError: it cannot be written; the old file is still there, unless only the last sync failed.
            IntegrityError: a block that is to be copied is damaged.
        """
        if old is not None:
            finish(self.path, self.disk)

        def copy(writer: BodyWriter, body: BodyReader | None) -> None:
            for piece in body_pieces(content, old or content):
                if isinstance(piece, bytes):
                    writer.write(piece)
                elif body is not None:
                    for at in range(*piece, BLOCK_BYTES):
                        writer.write(body.read(at, min(piece[1], at + BLOCK_BYTES)))
            writer.finish()

        def fill(file: BinaryIO) -> None:
            guard = self._begun(file, content)
            # The old file is closed again before it is replaced: Windows would refuse that.
            if old is None:
                copy(BodyWriter(file, guard), None)
            else:
                self._once(lambda _, body: copy(BodyWriter(file, guard), body))
            if isinstance(guard, Digests):
                file.seek(0)
                file.write(pack(content, bytes(guard.values)))

        write_whole(self.path, fill, disk=self.disk, keep=old_name(self.path))

    def wipe(self) -> None:
        """Overwrites what a replaced file was; see ``.wipe``."""
        finish(self.path, self.disk)

    def _begun(self, file: BinaryIO, content: Content) -> Guard:
        """Writes what comes before the body, or leaves place for it where it depends on the body."""
        if self._vault is None:
            file.seek(len(pack(content, bytes(DIGEST_BYTES * block_count(content.body_bytes)))))
            return Digests()
        vault, prefix, salt = self._vault, pack(content, b""), os.urandom(16)
        cost = (vault.cost.n, vault.cost.r, vault.cost.p)
        clear = _CLEAR.pack(_MAGIC, FORMAT_VERSION, *cost, vault.salt, vault.verifier, salt, len(prefix))
        clear += hashlib.sha256(clear).digest()[:8]
        cipher = vault.block_cipher(salt, clear)
        file.write(clear + cipher.seal(0, prefix))
        return cipher

    def _loaded(self, file: BinaryIO) -> _Snapshot:
        """The open file's header and columns, verified; those of last time where it is the same file."""
        with reading(str(self.path)):
            begin = _clear_header(file) if self._vault else _plain_header(file)
            if self._last is not None and self._last.begin == begin:
                return self._last
            size = os.fstat(file.fileno()).st_size
            if self._vault is None:
                start = prefix_bytes(begin)
                _require(start <= size)
                content, digests = unpack(begin + file.read(start - len(begin)))
                guard: Guard = Digests(digests)
                _require(len(digests) == DIGEST_BYTES * block_count(content.body_bytes))
            else:
                *_, salt, length = _CLEAR.unpack(begin[:-8])
                start = _CLEAR_BYTES + length + BlockCipher.overhead
                _require(start <= size)
                guard = self._vault.block_cipher(salt, begin)
                content, _ = unpack(guard.unseal(0, file.read(length + BlockCipher.overhead)))
            _require(size == start + content.body_bytes + guard.overhead * block_count(content.body_bytes))
        return _Snapshot(content, begin, guard, start)


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
    _require(length <= MOST_HEADER)
    return begin + file.read(length)


def _clear_header(file: BinaryIO) -> bytes:
    header = file.read(_CLEAR_BYTES)
    magic, version, *_ = _CLEAR.unpack(header[:-8])
    _require(magic == _MAGIC)
    require_version(version)
    _require(hashlib.sha256(header[:-8]).digest()[:8] == header[-8:])
    return header


def _unlocked(path: Path, key: Key | None) -> VaultSeal:
    """The vault that a key opens."""
    with _opened(path) as file, reading(str(path)):
        _, _, *cost, salt, verifier, _, _ = _CLEAR.unpack(_clear_header(file)[:-8])
        scrypt = ScryptCost(*cost)
    if key is None:
        raise KeyMismatchError("workspace", expected="its passphrase", found="none", remedy="pass --passphrase-file")
    vault = VaultSeal.of(key, scrypt, salt)
    vault.require(verifier)
    return vault


def _require(ok: bool) -> None:
    if not ok:
        raise ValueError("other bytes than a store writes")
