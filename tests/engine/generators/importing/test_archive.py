"""ZIP archives: those that torch.save writes, and all others refused."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

import pytest

from everface.bench.torture.pickling import Name, Persistent, pickled
from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.archive import Archive
from everface.engine.generators.importing.limits import Budget
from everface.engine.generators.importing.storages import read_zip

GOOD = pickled({}, 2)


def archive(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as file:
        warnings.simplefilter("ignore")  # it warns of duplicates
        for name, data in entries:
            file.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (archive(("a/data.pkl", bytes(10**6)), method=zipfile.ZIP_DEFLATED), "compressed"),
        (archive(("a/data.pkl", GOOD), ("a/data.pkl", GOOD)), "one name twice"),
        (archive(("a/data.pkl", GOOD), ("../evil", b"x")), "another name"),
        (archive(("a/data.pkl", GOOD), ("/evil", b"x")), "another name"),
        (archive(("a/data.pkl", GOOD), ("a/../../evil", b"x")), "another name"),
        (archive(("a/data.pkl", GOOD), ("a\\evil", b"x")), "another name"),
        (archive(("a/data.pkl", GOOD), ("b/x", b"x")), "one folder"),
        (archive(("a/data.pkl", GOOD), ("evil", b"x")), "another name"),
        (archive(("a/other", GOOD)), "none of its entries named data.pkl"),
        (archive(("a/data.pkl", GOOD), ("a/constants.pkl", b"x")), "TorchScript"),
        (archive(("a/data.pkl", GOOD), ("a/byteorder", b"big")), "big-endian"),
        (archive(("a/data.pkl", GOOD))[:-1], "directory at its end"),
        (archive(("a/data.pkl", GOOD)).replace(GOOD, b"\x80\x02N00."), "checksum"),
    ],
)
def test_archives_that_torch_does_not_write(data: bytes, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        read_zip(memoryview(data), Budget())


def local(name: bytes, content: bytes) -> bytes:
    crc, size = zlib.crc32(content), len(content)
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, crc, size, size, len(name), 0) + name + content


def test_overlapping_entries_cost_no_more_than_the_file() -> None:
    # Each entry lies within the content of the one before, so that the innermost bytes would be read 40 times.
    content, sizes = bytes(50_000), []
    for i in reversed(range(40)):
        sizes.append(len(content))
        content = local(b"a/data/%d" % i, content)
    sizes.reverse()
    kind = Name("torch", "ByteStorage")
    ids = [Persistent(("storage", kind, str(i), "cpu", size)) for i, size in enumerate(sizes)]
    directory, at, file = b"", 0, content + local(b"a/data.pkl", pickled(ids, 2))
    for i, size in enumerate([*sizes, len(pickled(ids, 2))]):
        name = b"a/data/%d" % i if i < 40 else b"a/data.pkl"
        start = at if i < 40 else len(content)
        crc = zlib.crc32(file[start + 30 + len(name) :][:size])
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, start
        ) + name  # fmt: skip
        at += 30 + len(name)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 41, 41, len(directory), len(file), 0)
    with pytest.raises(CheckpointError, match="overlap"):
        read_zip(memoryview(file + directory + end), Budget())


def test_entries_are_views_of_the_file() -> None:
    data = archive(("a/data.pkl", GOOD), ("a/data/0", b"numbers"))
    entries = Archive(memoryview(data), Budget())
    assert entries.has("data/0") and not entries.has("data/1")
    assert entries.read("data/0").obj is data
    assert bytes(entries.read("data/0")) == b"numbers"
    with pytest.raises(CheckpointError, match="none of its entries named data/1"):
        entries.read("data/1")


def test_archives_of_the_large_kind_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # As torch.save writes files beyond 4 GB: sizes and places in 64 bits.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 0)
    data = archive(("a/data.pkl", GOOD), ("a/data/0", b"1234"))
    data = data[:-6] + b"\xff" * 4 + data[-2:]  # the old end record's place of the directory, which no longer fits
    assert b"PK\6\6" in data and b"PK\6\7" in data
    whole = Archive(memoryview(data), Budget())
    assert bytes(whole.read("data.pkl")) == GOOD
    assert bytes(whole.read("data/0")) == b"1234"
    for spoilt in (data.replace(b"PK\6\7", b"PK\6\0"), data.replace(b"PK\6\6", b"PK\6\0")):
        with pytest.raises(CheckpointError, match="directory at its end"):
            Archive(memoryview(spoilt), Budget())


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (4, b"\1\0", "one folder"),  # the end record's disk
        (10, b"\1\0", "one folder|entries|damaged"),  # a count that the directory does not have
    ],
)
def test_an_end_record_that_lies_is_refused(place: int, value: bytes, match: str) -> None:
    data = bytearray(archive())
    data[place : place + 2] = value
    with pytest.raises(CheckpointError, match=match):
        Archive(memoryview(bytes(data)), Budget())


def test_an_encrypted_entry_and_a_foreign_one_are_refused() -> None:
    data = bytearray(archive(("a/data.pkl", GOOD)))
    at = data.rfind(b"PK\1\2")
    data[at + 8] |= 1
    with pytest.raises(CheckpointError, match="encrypted"):
        Archive(memoryview(bytes(data)), Budget())
    data = bytearray(archive(("a/data.pkl", GOOD)))
    data[data.rfind(b"PK\1\2") + 42] += 1  # where the entry is said to lie
    with pytest.raises(CheckpointError, match="another"):
        Archive(memoryview(bytes(data)), Budget()).read("data.pkl")
