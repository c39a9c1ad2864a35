"""The body of a memory file, in blocks of 64 KiB that are verified when they are read.

The body is what a file is large of: W codes, then images. A block of an unencrypted file has a digest in the file's
columns; a block of an encrypted one is an AES-GCM message.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Protocol

from everface.engine.errors import IntegrityError

__all__ = ["BLOCK_BYTES", "DIGEST_BYTES", "BodyReader", "BodyWriter", "Digests", "Guard", "block_count"]

BLOCK_BYTES = 64 * 1024
DIGEST_BYTES = 16


def block_count(body_bytes: int) -> int:
    """Blocks of a body."""
    return -(-body_bytes // BLOCK_BYTES)


class Guard(Protocol):
    """Seals and verifies numbered blocks."""

    @property
    def overhead(self) -> int:
        """Bytes that sealing adds to a block."""

    def seal(self, number: int, plain: bytes) -> bytes:
        """The stored form of a block."""

    def unseal(self, number: int, stored: bytes) -> bytes:
        """The block; IntegrityError where it is not the one that was sealed."""


class Digests:
    """Blocks stored as they are, with the first 16 bytes of their SHA-256 kept elsewhere.

    Args:
        values: the digests of all blocks, one after another; empty to write.
    """

    overhead = 0

    def __init__(self, values: bytes = b"") -> None:
        self.values = bytearray(values)

    def seal(self, number: int, plain: bytes) -> bytes:
        """Notes the digest; blocks come in order."""
        self.values += _digest(plain)
        return plain

    def unseal(self, number: int, stored: bytes) -> bytes:
        """Compares the digest."""
        if self.values[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES] != _digest(stored):
            raise IntegrityError(
                f"block {number}", expected="the bytes that were written", found="damaged bytes",
                remedy="restore the file from a copy of the workspace; `everface check` lists what is damaged",
            )  # fmt: skip
        return stored


def _digest(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()[:DIGEST_BYTES]


class BodyReader:
    """Random access to the body of an open file; one block is held at a time.

    Args:
        file: the file.
        start: where the body begins in it.
        size: bytes of the body, without what sealing adds.
        guard: verifies the blocks.
        first: number of the first block.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, guard: Guard, first: int) -> None:
        self._file, self._start, self.size, self._guard, self._first = file, start, size, guard, first
        self._held: tuple[int, bytes] = (-1, b"")

    def block(self, index: int) -> bytes:
        """One block, verified."""
        if index != self._held[0]:
            length = min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) + self._guard.overhead
            self._file.seek(self._start + index * (BLOCK_BYTES + self._guard.overhead))
            self._held = (index, self._guard.unseal(index + self._first, self._file.read(length)))
        return self._held[1]

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from one offset in the body to another."""
        if not 0 <= start <= stop <= self.size:
            raise IntegrityError("body", expected=f"a range within {self.size} bytes", found=f"{start} to {stop}")
        parts = []
        while start < stop:
            index, skip = divmod(start, BLOCK_BYTES)
            parts.append(self.block(index)[skip : skip + stop - start])
            start += len(parts[-1])
        return b"".join(parts)


class BodyWriter:
    """Writes a body block by block.

    Args:
        file: open at the place where the body begins.
        guard: seals the blocks.
        first: number of the first block.
    """

    def __init__(self, file: BinaryIO, guard: Guard, first: int) -> None:
        self._file, self._guard, self._number, self._pending = file, guard, first, bytearray()

    def write(self, data: bytes) -> None:
        """Appends to the body."""
        self._pending += data
        while len(self._pending) >= BLOCK_BYTES:
            self._flush(BLOCK_BYTES)

    def finish(self) -> None:
        """Writes the last block."""
        if self._pending:
            self._flush(len(self._pending))

    def _flush(self, length: int) -> None:
        self._file.write(self._guard.seal(self._number, bytes(self._pending[:length])))
        del self._pending[:length]
        self._number += 1
