"""The body of a memory file, in blocks of 64 KiB that are verified when they are read.

The body is what a file is large of: W codes, then images. A block of an unencrypted file has a digest in the file's
columns; a block of an encrypted one is an AES-GCM message (``everface.engine.vault.BlockCipher``).
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from everface.engine.errors import IntegrityError
from everface.engine.vault import BlockCipher, damaged

BLOCK_BYTES = 64 * 1024
DIGEST_BYTES = 16
_MOST_HELD = 64


def block_count(body_bytes: int) -> int:
    """Blocks of a body."""
    return -(-body_bytes // BLOCK_BYTES)


class Digests:
    """Blocks stored as they are; ``values`` are the first 16 bytes of the SHA-256 of each, one after another."""

    overhead, first = 0, 0

    def __init__(self, values: bytes = b"") -> None:
        self.values = bytearray(values)

    def seal(self, number: int, plain: bytes) -> bytes:
        """Appends the digest; blocks come in order."""
        self.values += hashlib.sha256(plain).digest()[:DIGEST_BYTES]
        return plain

    def unseal(self, number: int, stored: bytes) -> bytes:
        """Compares the digest."""
        digest = self.values[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        if digest != hashlib.sha256(stored).digest()[:DIGEST_BYTES]:
            raise damaged(f"block {number}")
        return stored


Guard = Digests | BlockCipher


class BodyReader:
    """Random access to the body of an open file.

    Args:
        file: the file.
        start: where the body begins in it.
        size: bytes of the body, without what sealing adds.
        guard: verifies the blocks.
        held: the last blocks that were verified, at most 4 MiB.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, guard: Guard, held: dict[int, bytes]) -> None:
        self._file, self._start, self.size, self._guard, self._held = file, start, size, guard, held

    def block(self, index: int) -> bytes:
        """One block, verified."""
        block = self._held.get(index)
        if block is None:
            length = min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) + self._guard.overhead
            self._file.seek(self._start + index * (BLOCK_BYTES + self._guard.overhead))
            block = self._guard.unseal(self._guard.first + index, self._file.read(length))
            if len(self._held) >= _MOST_HELD:
                self._held.clear()
            self._held[index] = block
        return block

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
    """Writes a body into a file that is open where it begins."""

    def __init__(self, file: BinaryIO, guard: Guard) -> None:
        self._file, self._guard, self._number, self._pending = file, guard, guard.first, bytearray()

    def write(self, data: bytes) -> None:
        """Appends to the body."""
        self._pending += data
        while len(self._pending) >= BLOCK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Writes the last block."""
        if self._pending:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._guard.seal(self._number, bytes(self._pending[:BLOCK_BYTES])))
        del self._pending[:BLOCK_BYTES]
        self._number += 1
