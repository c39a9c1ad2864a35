"""The memory file: how it begins, plain or encrypted, how it is read, and how it is replaced whole.

``memory.safetensors`` is the prefix (:mod:`.layout`) and the body (:mod:`.blocks`). ``memory.sealed`` is a clear header
of 80 bytes, then the same prefix as message 0 and the same body as messages 1, 2, ... of one fresh key.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from everface.engine.atomic import DISK, Disk, write_whole
from everface.engine.errors import IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.replay.blocks import BLOCK_BYTES, DIGEST_BYTES, BodyReader, BodyWriter, Digests, Guard, block_count
from everface.engine.replay.budget import plain_bytes
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

__all__ = ["PLAIN", "SEALED", "MemoryFile", "Replaced", "Snapshot", "Vault"]

PLAIN, SEALED = "memory.safetensors", "memory.sealed"
_OUTDATED = "replay.db"
# Magic, version, scrypt's n, r and p, salt, verifier, salt of this write, prefix bytes; then 8 bytes of SHA-256.
_CLEAR = struct.Struct("<8s4I16s8s16sQ")
_CLEAR_BYTES, _MAGIC = _CLEAR.size + 8, b"everface"


class Replaced(Exception):  # noqa: N818  # not an error: there is a newer state
    """A file is no longer the one that was opened."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A file as it was found.

    Attributes:
        content: what it holds.
        identity: its first bytes, which no other file has.
        guard: verifies its blocks.
        start: where its body begins.
    """

    content: Content
    identity: bytes
    guard: Guard
    start: int


@dataclass(frozen=True)
class Vault:
    """How an encrypted workspace is sealed."""

    seal: VaultSeal
    cost: ScryptCost
    salt: bytes

    @classmethod
    def make(cls, key: Key, cost: ScryptCost, salt: bytes | None = None) -> Vault:
        """The vault that a passphrase opens; a new one for no salt."""
        salt = os.urandom(16) if salt is None else salt
        return cls(VaultSeal(key.derive(salt, cost), salt), cost, salt)


class MemoryFile:
    """The file of one workspace; no handle is held between calls.

    Args:
        folder: the workspace.
        vault: of an encrypted workspace.
        disk: the operating system.
    """

    def __init__(self, folder: Path, vault: Vault | None, disk: Disk = DISK) -> None:
        self.path, self._vault, self._disk = folder / (SEALED if vault else PLAIN), vault, disk
        self.seal: Seal = vault.seal if vault else CheckSeal()

    @classmethod
    def find(cls, folder: Path, key: Key | None, disk: Disk = DISK) -> MemoryFile:
        """The file of an existing workspace.

        Raises:
            WorkspaceError: there is none, or one of another version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted, and the key is missing or wrong.
        """
        names = [name for name in (PLAIN, SEALED) if (folder / name).is_file() or old_name(folder / name).is_file()]
        if len(names) == 1:
            if names[0] == PLAIN:
                return cls(folder, None, disk)
            return cls(folder, _unlocked(folder / SEALED, key), disk)
        if names:
            raise IntegrityError(
                str(folder), expected=f"either {PLAIN} or {SEALED}", found="both", remedy="move the wrong one away"
            )
        if (folder / _OUTDATED).exists():
            raise WorkspaceError(
                str(folder / _OUTDATED), expected=f"{PLAIN} or {SEALED}", found="the SQLite store of an older everface",
                remedy="make a new workspace with `everface init` and run `everface update` with the photos again",
            )  # fmt: skip
        raise WorkspaceError(str(folder), expected="a workspace", found="none", remedy="run `everface init`")

    def size(self, content: Content) -> int:
        """Exact bytes of the file for a content."""
        if self._vault is None:
            return plain_bytes(content)
        messages = 1 + block_count(content.body_bytes)
        return _CLEAR_BYTES + len(pack(content, None)) + content.body_bytes + BlockCipher.overhead * messages

    def identity(self) -> bytes:
        """The first bytes of the file as it is now."""
        with self._opened() as file, reading(str(self.path)):
            return self._begin(file)

    def load(self) -> Snapshot:
        """Reads and verifies header and columns.

        Raises:
            as :meth:`find`.
        """
        with self._opened() as file, reading(str(self.path)):
            begin = self._begin(file)
            size = os.fstat(file.fileno()).st_size
            if self._vault is None:
                end = prefix_bytes(begin)
                _require_size(end <= size)
                file.seek(0)
                content, digests = unpack(file.read(end))
                guard: Guard = Digests(digests)
                expected = end + content.body_bytes
                if len(digests) != DIGEST_BYTES * block_count(content.body_bytes):
                    raise ValueError("digests of another body")
            else:
                *_, salt, length = _CLEAR.unpack(begin[:-8])
                guard = self._vault.seal.block_cipher(salt, begin)
                end = _CLEAR_BYTES + length + guard.overhead
                _require_size(end <= size)
                content, _ = unpack(guard.unseal(0, file.read(length + guard.overhead)))
                expected = end + content.body_bytes + guard.overhead * block_count(content.body_bytes)
            _require_size(size == expected)
        return Snapshot(content, begin, guard, end)

    @contextlib.contextmanager
    def body(self, snapshot: Snapshot) -> Iterator[BodyReader]:
        """Opens the body of a snapshot.

        Raises:
            Replaced: the file is another one by now.
        """
        with self._opened() as file:
            with reading(str(self.path)):
                same = self._begin(file) == snapshot.identity
            if not same:
                raise Replaced
            first = 0 if self._vault is None else 1
            yield BodyReader(file, snapshot.start, snapshot.content.body_bytes, snapshot.guard, first)

    def write(self, content: Content, old: Snapshot | None = None) -> None:
        """Replaces the file, or makes it where there is no ``old`` one, whose blocks are copied one at a time.

        Raises:
            OSError: it cannot be written; the old file is still there, unless only the last sync failed.
            IntegrityError: a block that is to be copied is damaged.
        """
        if old is not None:
            finish(self.path, self._disk)

        def copy(writer: BodyWriter) -> None:
            # Closed before the file is replaced: Windows would refuse that.
            with contextlib.ExitStack() as stack:
                reader = stack.enter_context(self.body(old)) if old is not None else None
                for piece in body_pieces(content, old.content if old is not None else content):
                    if isinstance(piece, bytes):
                        writer.write(piece)
                    elif reader is not None:
                        for at in range(*piece, BLOCK_BYTES):
                            writer.write(reader.read(at, min(piece[1], at + BLOCK_BYTES)))
                writer.finish()

        def fill(file: BinaryIO) -> None:
            if self._vault is None:
                digests = Digests()
                file.seek(len(pack(content, bytes(DIGEST_BYTES * block_count(content.body_bytes)))))
                copy(BodyWriter(file, digests, 0))
                file.seek(0)
                file.write(pack(content, bytes(digests.values)))
            else:
                prefix, salt = pack(content, None), os.urandom(16)
                header = self._clear_header(salt, len(prefix))
                cipher = self._vault.seal.block_cipher(salt, header)
                file.write(header + cipher.seal(0, prefix))
                copy(BodyWriter(file, cipher, 1))

        write_whole(self.path, fill, disk=self._disk, keep=old_name(self.path))

    def require_writable(self) -> None:
        """Raises WorkspaceError unless the file and its folder can be written."""
        if not all(os.access(one, os.W_OK) for one in (self.path.parent, self.path) if one.exists()):
            raise WorkspaceError(
                str(self.path), expected="a file that can be written", found="a read-only one",
                remedy="make it and its folder writable, or open it read-only",
            )  # fmt: skip

    def wipe(self) -> None:
        """Overwrites the file that was replaced."""
        finish(self.path, self._disk)

    def _clear_header(self, salt: bytes, prefix_bytes: int) -> bytes:
        vault = self._vault
        if vault is None:
            raise ValueError("not an encrypted file")
        cost = vault.cost
        verifier = vault.seal.verifier
        packed = _CLEAR.pack(
            _MAGIC, FORMAT_VERSION, cost.n, cost.r, cost.p, vault.salt, verifier, salt, prefix_bytes
        )  # fmt: skip
        return packed + hashlib.sha256(packed).digest()[:8]

    def _begin(self, file: BinaryIO) -> bytes:
        if self._vault is not None:
            return _clear_header(file)
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEADER:
            raise ValueError("another header")
        file.seek(0)
        return file.read(8 + length)

    def _opened(self) -> BinaryIO:
        return _open(self.path)


def _open(path: Path) -> BinaryIO:
    """The file, also where a writer without hard links was killed between two renames."""
    try:
        try:
            return open(path, "rb")
        except FileNotFoundError:
            return open(old_name(path), "rb")
    except OSError as error:
        raise WorkspaceError(
            str(path), expected="a file that can be read", found=error.strerror or str(error),
            remedy="make it readable, or restore it from a copy of the workspace",
        ) from error  # fmt: skip


def _clear_header(file: BinaryIO) -> bytes:
    header = file.read(_CLEAR_BYTES)
    magic, version, *_ = _CLEAR.unpack(header[:-8])
    if magic != _MAGIC:
        raise ValueError("another header")
    require_version(version)
    if hashlib.sha256(header[:-8]).digest()[:8] != header[-8:]:
        raise ValueError("damaged header")
    return header


def _unlocked(path: Path, key: Key | None) -> Vault:
    """The seal that a key gives for an encrypted file."""
    with _open(path) as file, reading(str(path)):
        _, _, n, r, p, salt, verifier, _, _ = _CLEAR.unpack(_clear_header(file)[:-8])
        cost = ScryptCost(n, r, p)
    if key is None:
        raise KeyMismatchError("workspace", expected="its passphrase", found="none", remedy="pass --passphrase-file")
    vault = Vault.make(key, cost, salt)
    vault.seal.require(verifier)
    return vault


def _require_size(ok: bool) -> None:
    if not ok:
        raise ValueError("a file of another length")
