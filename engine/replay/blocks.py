"""The body of a memory file, W codes and images, in blocks of 64 KiB that are verified when they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from everface.engine.errors import IntegrityError
from everface.engine.vault import VaultSeal, damaged

BLOCK_BYTES = 64 * 1024
DIGEST_BYTES = 16
_MOST_HELD = 64


def block_count(body_bytes: int) -> int:
    """Blocks of a body."""
    return -(-body_bytes // BLOCK_BYTES)


@dataclass(frozen=True, eq=False)
class BodyReader:
    """Random access to the body of an open file.

    Attributes:
        file: the file.
        start: where the body begins in it.
        size: bytes of the body, without what sealing adds.
        digests: of the blocks, one after another.
        seal: of the blocks of an encrypted file.
        held: the last blocks that were verified, at most 4 MiB.
    """

    file: BinaryIO
    start: int
    size: int
    digests: bytes
    seal: VaultSeal | None = None
    held: dict[int, bytes] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Where the file ends."""
        return self.start + self.size + block_count(self.size) * (VaultSeal.overhead if self.seal else 0)

    def block(self, index: int) -> bytes:
        """One block, verified."""
        if index not in self.held:
            more = VaultSeal.overhead if self.seal else 0
            self.file.seek(self.start + index * (BLOCK_BYTES + more))
            block = self.file.read(min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) + more)
            if self.seal:
                block = self.seal.unseal(block, b"block %d" % index)
            if self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] != _digest(block):
                raise damaged(f"block {index}")
            if len(self.held) >= _MOST_HELD:
                self.held.clear()
            self.held[index] = block
        return self.held[index]

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


def write_body(file: BinaryIO, pieces: Iterable[bytes], seal: VaultSeal | None) -> bytes:
    """Writes a body into a file that is open where it begins; returns the digests of its blocks."""
    digests = bytearray()
    for index, block in enumerate(_blocks(pieces)):
        digests += _digest(block)
        file.write(seal.seal(block, b"block %d" % index) if seal else block)
    return bytes(digests)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= BLOCK_BYTES:
            yield bytes(pending[:BLOCK_BYTES])
            del pending[:BLOCK_BYTES]
    if pending:
        yield bytes(pending)


def _digest(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()[:DIGEST_BYTES]
