"""The body in blocks: any range is read back, and a block elsewhere or changed does not open."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import IntegrityError
from everface.engine.replay.body import BLOCK_BYTES, Body, Piece, block_count, write_body
from everface.engine.vault import UNSEALED, Seal, VaultSeal

SEALS: dict[str, Seal] = {"plain": UNSEALED, "sealed": VaultSeal(b"k" * 32, b"header")}


def written(data: bytes, kind: str, step: int) -> tuple[bytes, bytes]:
    """The file, and the digests."""
    file = io.BytesIO(b"before")
    file.seek(6)
    digests = write_body(file, (data[start : start + step] for start in range(0, len(data), step)), SEALS[kind])
    return file.getvalue(), digests


def reader(stored: bytes, size: int, digests: bytes, kind: str, folder: Path) -> Body:
    (folder / "file").write_bytes(stored)
    return Body(folder / "file", SEALS[kind], 6, size, digests)


def test_fresh_bytes_need_no_file() -> None:
    assert list(Body().read([b"one", b"", b"two"])) == [b"one", b"", b"two"]


@given(st.integers(0, 3 * BLOCK_BYTES + 5), st.integers(1, 2 * BLOCK_BYTES), st.integers(0), st.sampled_from(["plain", "sealed"]))  # fmt: skip  # noqa: E501
@settings(max_examples=25, deadline=None)
def test_any_range_is_read_back(size: int, step: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    data = rng.bytes(size)
    stored, digests = written(data, kind, step)
    assert len(stored) == 6 + size + (28 if kind == "sealed" else 0) * block_count(size)
    with tempfile.TemporaryDirectory() as folder:
        body = reader(stored, size, digests, kind, Path(folder))
        assert body.end == len(stored)
        ranges = [sorted(pair) for pair in rng.integers(0, size + 1, (4, 2)).tolist()]
        pieces: list[Piece] = [(0, 0), *((start, stop) for start, stop in ranges), b"fresh"]
        assert list(body.read(pieces)) == [b"", *(data[start:stop] for start, stop in ranges), b"fresh"]


@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_only_the_block_itself_opens(kind: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(2 * BLOCK_BYTES + 100)
    stored, digests = written(data, kind, 1000)
    length = BLOCK_BYTES + (28 if kind == "sealed" else 0)
    swapped = stored[:6] + stored[6 + length : 6 + 2 * length] + stored[6 : 6 + length] + stored[6 + 2 * length :]
    changed = bytearray(stored)
    changed[6 + length + 17] ^= 1
    body = reader(bytes(changed), len(data), digests, kind, tmp_path)
    assert list(body.read([(0, BLOCK_BYTES)])) == [data[:BLOCK_BYTES]]
    for bad, start in ((swapped, 0), (bytes(changed), BLOCK_BYTES), (stored[:-1], 2 * BLOCK_BYTES)):
        with pytest.raises(IntegrityError, match="damaged"):
            list(reader(bad, len(data), digests, kind, tmp_path).read([(start, start + 10)]))
