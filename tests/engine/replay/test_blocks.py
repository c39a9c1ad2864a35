"""The body in blocks: any range is read back, and a block elsewhere or changed does not open."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import IntegrityError
from everface.engine.replay.blocks import BLOCK_BYTES, BodyReader, BodyWriter, Digests, Guard, block_count
from everface.engine.vault import BlockCipher


def guard_of(kind: str) -> Guard:
    return Digests() if kind == "plain" else BlockCipher(b"k" * 32, b"header")


def written(data: bytes, guard: Guard, step: int) -> bytes:
    file = io.BytesIO(b"before")
    file.seek(6)
    writer = BodyWriter(file, guard)
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
    writer.finish()
    return file.getvalue()


def reader(stored: bytes, size: int, guard: Guard) -> BodyReader:
    return BodyReader(io.BytesIO(stored), 6, size, guard, {})


@given(st.integers(0, 3 * BLOCK_BYTES + 5), st.integers(1, 2 * BLOCK_BYTES), st.integers(0), st.sampled_from(["plain", "sealed"]))  # fmt: skip  # noqa: E501
@settings(max_examples=25, deadline=None)
def test_any_range_is_read_back(size: int, step: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    data, guard = rng.bytes(size), guard_of(kind)
    stored = written(data, guard, step)
    assert len(stored) == 6 + size + guard.overhead * block_count(size)
    body = reader(stored, size, guard)
    for _ in range(4):
        start, stop = sorted(int(one) for one in rng.integers(0, size + 1, 2))
        assert body.read(start, stop) == data[start:stop]
    with pytest.raises(IntegrityError, match="within"):
        body.read(0, size + 1)


@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_only_the_block_itself_opens(kind: str) -> None:
    guard = guard_of(kind)
    data = np.random.default_rng(0).bytes(2 * BLOCK_BYTES + 100)
    stored = written(data, guard, 1000)
    length = BLOCK_BYTES + guard.overhead
    swapped = stored[:6] + stored[6 + length : 6 + 2 * length] + stored[6 : 6 + length] + stored[6 + 2 * length :]
    changed = bytearray(stored)
    changed[6 + length + 17] ^= 1
    assert reader(bytes(changed), len(data), guard).read(0, BLOCK_BYTES) == data[:BLOCK_BYTES]
    for bad, start in ((swapped, 0), (bytes(changed), BLOCK_BYTES), (stored[:-1], 2 * BLOCK_BYTES)):
        with pytest.raises(IntegrityError, match="damaged"):
            reader(bad, len(data), guard).read(start, start + 10)
