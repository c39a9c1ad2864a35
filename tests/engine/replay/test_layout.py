"""Columns to bytes and back: any content survives, and no other bytes are taken for one."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import IntegrityError, WorkspaceError
from everface.engine.replay.body import DIGEST_BYTES, block_count
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR, SEEN, Content, row_type
from everface.engine.replay.layout import pack, unpack
from everface.engine.replay.values import Ledger, Owner

JSON = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-9, 9), st.text(max_size=5), st.none()), max_size=3)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Any content, its numbers made of any bits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def table(count: int, kind: np.dtype[np.void]) -> np.ndarray:
        return np.frombuffer(rng.bytes(count * kind.itemsize), kind).copy()

    n, m, s = (draw(st.integers(0, 5)) for _ in range(3))
    rows = table(n, row_type(draw(st.sampled_from([0, 6])), draw(st.sampled_from([0, 3]))))
    anchors, seen = table(m, ANCHOR), table(s, SEEN)
    reasons = tuple(draw(st.lists(st.text(max_size=9), min_size=1, max_size=3)))
    dimension = draw(st.integers(1, 600)) if n + m else 0
    rows["length"], rows["reason"] = rng.integers(0, 90_000, n), rng.integers(0, len(reasons), n)
    rows["code"], anchors["code"] = np.arange(n) * dimension, (n + np.arange(m)) * dimension
    rows["image"] = (n + m) * dimension + np.cumsum(rows["length"], dtype=np.int64) - rows["length"]
    owner = Owner(rng.normal(size=7).astype(np.float32), draw(st.integers(1, 99))) if draw(st.booleans()) else None
    ledger = Ledger(
        draw(st.integers(0, 2**31)), draw(st.sampled_from(["", "ab" * 32])), draw(st.text(max_size=20)), 65536,
        CodecChoice("webp", 60, 2, draw(st.sampled_from([None, 64]))), tuple(draw(st.lists(JSON, max_size=3))),
        draw(st.integers(0, 9)), reasons, owner, (("id", "model"),) * draw(st.integers(0, 1)),
        draw(st.dictionaries(st.integers(0, 9), st.just("2024-05-01"), max_size=2)),
    )  # fmt: skip
    return Content(ledger, rows, anchors, seen, dimension)


@given(contents())
@settings(max_examples=60, deadline=None)
def test_any_content_survives(content: Content) -> None:
    digests = np.random.default_rng(0).bytes(DIGEST_BYTES * block_count(content.body_bytes))
    prefix = pack(content, digests)
    file = io.BytesIO(prefix + b"body")
    again, found = unpack(file)
    assert (found, file.read()) == (digests, b"body")
    for name in ("rows", "anchors", "seen"):
        assert getattr(again, name).tobytes() == getattr(content, name).tobytes()
        assert getattr(again, name).dtype == getattr(content, name).dtype or not len(getattr(content, name))
    assert replace(again.ledger, owner=None) == replace(content.ledger, owner=None)
    owner = again.ledger.owner
    assert (owner is None) == (content.ledger.owner is None)
    if owner is not None and content.ledger.owner is not None:
        assert (owner.count, owner.total.tolist()) == (content.ledger.owner.count, content.ledger.owner.total.tolist())
    assert again.dimension == content.dimension


def test_arrays_are_aligned_and_without_gaps() -> None:
    content = Content(Ledger(3, "", "{}", 65536, CodecChoice(), reasons=("x",)), np.zeros(3, row_type(6)), dimension=5)
    prefix = pack(content, b"")
    (length,) = struct.unpack_from("<Q", prefix)
    header = json.loads(prefix[8 : 8 + length])
    assert (length % 8, header.pop("__metadata__")["format"]) == (0, "everface memory")
    at, sizes = 0, {"U64": 8, "U32": 4, "F32": 4, "U16": 2, "F16": 2, "U8": 1}
    for one in header.values():
        assert one["data_offsets"] == [at, at + sizes[one["dtype"]] * int(np.prod(one["shape"]))]
        assert at % sizes[one["dtype"]] == 0
        at = one["data_offsets"][1]


def test_what_is_changed_is_refused() -> None:
    prefix = pack(Content(Ledger(0, "", "{}", 65536, CodecChoice())), b"")
    for place in range(len(prefix)):
        changed = bytearray(prefix)
        changed[place] ^= 4
        with pytest.raises((IntegrityError, WorkspaceError, ValueError, KeyError, TypeError, struct.error, zlib.error)):
            unpack(io.BytesIO(changed))
