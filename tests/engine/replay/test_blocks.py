"""The body in blocks: any range is read back, and a block elsewhere or changed does not open."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import IntegrityError
from everface.engine.replay.blocks import BLOCK_BYTES, BodyReader, block_count, write_body
from everface.engine.vault import VaultSeal

SEALS = {"plain": None, "sealed": VaultSeal(b"k" * 32, b"header")}


def written(data: bytes, kind: str, step: int) -> tuple[bytes, bytes]:
    """The file, and the digests."""
    file = io.BytesIO(b"before")
    file.seek(6)
    digests = write_body(file, (data[start : start + step] for start in range(0, len(data), step)), SEALS[kind])
    return file.getvalue(), digests


def reader(stored: bytes, size: int, digests: bytes, kind: str) -> BodyReader:
    return BodyReader(io.BytesIO(stored), 6, size, digests, SEALS[kind])


@given(st.integers(0, 3 * BLOCK_BYTES + 5), st.integers(1, 2 * BLOCK_BYTES), st.integers(0), st.sampled_from(["plain", "sealed"]))  # fmt: skip  # noqa: E501
@settings(max_examples=25, deadline=None)
def test_any_range_is_read_back(size: int, step: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    data = rng.bytes(size)
    stored, digests = written(data, kind, step)
    assert len(stored) == 6 + size + (28 if kind == "sealed" else 0) * block_count(size)
    body = reader(stored, size, digests, kind)
    assert body.end == len(stored)
    for _ in range(4):
        start, stop = sorted(int(one) for one in rng.integers(0, size + 1, 2))
        assert body.read(start, stop) == data[start:stop]
    with pytest.raises(IntegrityError, match="within"):
        body.read(0, size + 1)


@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_only_the_block_itself_opens(kind: str) -> None:
    data = np.random.default_rng(0).bytes(2 * BLOCK_BYTES + 100)
    stored, digests = written(data, kind, 1000)
    length = BLOCK_BYTES + (28 if kind == "sealed" else 0)
    swapped = stored[:6] + stored[6 + length : 6 + 2 * length] + stored[6 : 6 + length] + stored[6 + 2 * length :]
    changed = bytearray(stored)
    changed[6 + length + 17] ^= 1
    assert reader(bytes(changed), len(data), digests, kind).read(0, BLOCK_BYTES) == data[:BLOCK_BYTES]
    for bad, start in ((swapped, 0), (bytes(changed), BLOCK_BYTES), (stored[:-1], 2 * BLOCK_BYTES)):
        with pytest.raises(IntegrityError, match="damaged"):
            reader(bad, len(data), digests, kind).read(start, start + 10)
