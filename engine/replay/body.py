"""The body of a memory file, W codes and images, in blocks of 64 KiB that are verified when they are read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from everface.engine.atomic import needing, old_name
from everface.engine.vault import UNSEALED, Seal, damaged

BLOCK_BYTES = 64 * 1024
DIGEST_BYTES = 16
Piece = bytes | tuple[int, int]  # what no file has yet, or from where to where it lies in a body


def block_count(body_bytes: int) -> int:
    """Blocks of a body."""
    return -(-body_bytes // BLOCK_BYTES)


@dataclass(frozen=True, eq=False)
class Body:
    """The body of a file that was written. No handle is held between reads.

    Attributes:
        path: the file; once it has been replaced, a read finds damage.
        seal: of the blocks.
        start: where the body begins in it.
        size: bytes of the body, without what sealing adds.
        digests: of the blocks, one after another.
    """

    path: Path = Path()
    seal: Seal = UNSEALED
    start: int = 0
    size: int = 0
    digests: bytes = b""

    @property
    def end(self) -> int:
        """Where the file ends."""
        return self.start + self.size + block_count(self.size) * self.seal.overhead

    def read(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """The bytes of each piece; the file is open until the last.

        Raises:
            IntegrityError: a block is damaged.
            WorkspaceError: the file cannot be opened.
        """
        file, index, block = None, -1, b""
        with contextlib.ExitStack() as stack:
            for piece in pieces:
                if isinstance(piece, bytes):
                    yield piece
                    continue
                file, parts, (start, stop) = file or stack.enter_context(opened(self.path)), [], piece
                while start < stop:
                    if start // BLOCK_BYTES != index:
                        index, block = start // BLOCK_BYTES, self._block(file, start // BLOCK_BYTES)
                    parts.append(block[start % BLOCK_BYTES :][: stop - start])
                    start += len(parts[-1])
                yield b"".join(parts)

    def _block(self, file: BinaryIO, index: int) -> bytes:
        """One block, verified."""
        file.seek(self.start + index * (BLOCK_BYTES + self.seal.overhead))
        stored = file.read(min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) + self.seal.overhead)
        block = self.seal.unseal(stored, b"block %d" % index)
        if self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] != _digest(block):
            raise damaged(f"block {index}")
        return block


def write_body(file: BinaryIO, pieces: Iterable[bytes], seal: Seal) -> bytes:
    """Writes a body into a file that is open where it begins; returns the digests of its blocks."""
    digests = bytearray()
    for index, block in enumerate(_blocks(pieces)):
        digests += _digest(block)
        file.write(seal.seal(block, b"block %d" % index))
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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, also while it has its old name only: a writer without hard links is between two renames."""
    with contextlib.ExitStack() as stack:
        with needing(path, "a file to read", "make it readable, or restore it from a copy of the workspace"):
            try:
                file = stack.enter_context(open(path, "rb"))
            except FileNotFoundError:
                file = stack.enter_context(open(old_name(path), "rb"))
        yield file
