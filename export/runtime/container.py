"""The file of a bundle: a ZIP archive of uncompressed members, or a folder of the same files.

Written so that any tool unpacks it, and read by rules that leave nothing to interpretation: members lie one after the
other and fill the file, none is compressed, encrypted or named twice, names have no folders. So nothing unpacks to more
than its own size, and no path leads anywhere else.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from everface.engine.errors import IntegrityError

MAX_BUNDLE_BYTES = 2 * 1024**3 - 1
MAX_MEMBERS = 16
_MAX_DIRECTORY = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}(\.[a-z0-9]{1,8}){1,2}")
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_UTF8 = 0x800
# 1980-01-01, ZIP's first day: equal content makes equal bytes.
_TIME, _DATE = 0, 0x21


def wrong(subject: str, expected: str, found: str) -> IntegrityError:
    """What every check of a bundle raises."""
    remedy = "do not use this bundle; export it again, or get it from its owner"
    return IntegrityError(f"bundle {subject}", expected=expected, found=found, remedy=remedy)


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of some members, in the order given; the same bytes for the same members."""
    parts, directory, at = [], [], 0
    for name, data in members.items():
        if not _NAME.fullmatch(name):
            raise wrong(f"member {name[:60]!r}", "a plain file name", "another")
        encoded, crc, size = name.encode(), zlib.crc32(data), len(data)
        parts += [_LOCAL.pack(b"PK\3\4", 10, 0, 0, _TIME, _DATE, crc, size, size, len(encoded), 0), encoded, data]
        mode = (stat.S_IFREG | 0o600) << 16
        head = (b"PK\1\2", 0x31E, 10, 0, 0, _TIME, _DATE, crc, size, size, len(encoded), 0, 0, 0, 0, mode, at)
        directory += [_CENTRAL.pack(*head), encoded]
        at += _LOCAL.size + len(encoded) + size
    index = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(index), at, 0)
    if at + len(index) + len(end) > MAX_BUNDLE_BYTES:
        raise wrong("file", "at most 2 GiB", f"{at} bytes")
    return b"".join([*parts, index, end])


class Container:
    """Members of a bundle by name, each readable once it is known how large it may be.

    Args:
        path: the archive, or the folder.

    Raises:
        IntegrityError: no such file, or not one that ``pack`` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            folder = path.is_dir()
            self._places = {} if folder else _directory(path)
            self._sizes = _folder(path) if folder else {name: size for name, (_, size, _) in self._places.items()}
        except OSError as error:
            raise wrong(path.name, "a file or folder that can be read", error.strerror or str(error)) from error

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes a member."""
        return dict(self._sizes)

    def read(self, name: str, limit: int) -> bytes:
        """A member of at most ``limit`` bytes; IntegrityError otherwise."""
        size = self._sizes.get(name)
        if size is None or size > limit:
            found = "none" if size is None else f"{size} bytes"
            raise wrong(name, f"a member of at most {limit} bytes", found)
        try:
            with self._open(name) as file:
                data = file.read(size)
        except OSError as error:
            raise wrong(name, "a member that can be read", error.strerror or str(error)) from error
        if len(data) != size:
            raise wrong(name, f"{size} bytes", f"{len(data)}")
        # The manifest vouches for all other members and only this for the manifest, in the parts that nothing reads.
        if self._places and zlib.crc32(data) != self._places[name][2]:
            raise wrong(name, "the bytes that were packed", "a checksum that does not hold")
        return data

    def _open(self, name: str) -> io.FileIO:
        if self._places:
            file = io.FileIO(self.path, "rb")
            file.seek(self._places[name][0])
            return file
        # A link, or a pipe put in a file's place since, is not followed or waited for.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return io.FileIO(os.open(self.path / name, flags), "rb")


def _folder(path: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if len(sizes) == MAX_MEMBERS:
                raise wrong(path.name, f"at most {MAX_MEMBERS} files", "more")
            status = entry.stat(follow_symlinks=False)
            if not _NAME.fullmatch(entry.name) or not stat.S_ISREG(status.st_mode):
                raise wrong(f"member {entry.name[:60]!r}", "a plain file with a plain name", "another")
            sizes[entry.name] = status.st_size
    _check_total(sum(sizes.values()))
    return sizes


def _check_total(size: int) -> None:
    if size > MAX_BUNDLE_BYTES:
        raise wrong("file", "at most 2 GiB", f"{size} bytes")


def _directory(path: Path) -> dict[str, tuple[int, int, int]]:
    """Offset, size and checksum of each member of an archive."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise wrong(path.name, "a file or a folder", "something else")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_total(size)
        if size < _END.size:
            raise wrong(path.name, "a ZIP archive", f"{size} bytes")
        file.seek(size - _END.size)
        mark, disk, first, here, count, length, start, comment = _END.unpack(file.read(_END.size))
        if mark != b"PK\5\6" or disk or first or comment or here != count:
            raise wrong(path.name, "a whole ZIP archive without a comment", "other bytes, or a truncated file")
        if not 1 <= count <= MAX_MEMBERS or length > _MAX_DIRECTORY or start + length + _END.size != size:
            raise wrong(path.name, f"a directory of 1 to {MAX_MEMBERS} members at its end", f"{count}, {length} bytes")
        file.seek(start)
        index = file.read(length)
        places: dict[str, tuple[int, int, int]] = {}
        at = offset = 0
        for _ in range(count):
            name, stored, crc, at = _entry(index, at)
            if name in places:
                raise wrong(f"member {name}", "one of that name", "two")
            offset = _local(file, name, stored, crc, offset)
            places[name] = (offset - stored, stored, crc)
        if at != length or offset != start:
            raise wrong(path.name, "members that fill the archive", "gaps or overlaps")
    return places


def _entry(index: bytes, at: int) -> tuple[str, int, int, int]:
    """Name, size and checksum of the directory's next entry, and where the one after it begins."""
    if at + _CENTRAL.size > len(index):
        raise wrong("directory", "a whole one", "a truncated one")
    fields = _CENTRAL.unpack_from(index, at)
    flags, method, crc, packed, size, name_length, extra, comment = fields[3], fields[4], *fields[7:13]
    start = at + _CENTRAL.size
    raw = index[start : start + name_length]
    name = raw.decode("ascii", "replace")
    if fields[0] != b"PK\1\2" or len(raw) != name_length or not _NAME.fullmatch(name):
        raise wrong(f"member {name[:60]!r}", "a plain file name, without folders", "another")
    if method or flags & ~_UTF8 or packed != size or extra or comment:
        raise wrong(f"member {name}", "stored as it is: neither compressed nor encrypted", f"method {method}")
    return name, size, crc, start + name_length


def _local(file: BinaryIO, name: str, size: int, crc: int, offset: int) -> int:
    """Checks the header before a member's bytes at ``offset``; returns where they end."""
    file.seek(offset)
    raw = file.read(_LOCAL.size + len(name))
    if len(raw) == _LOCAL.size + len(name):
        fields = _LOCAL.unpack_from(raw)
        same = (b"PK\3\4", 0, crc, size, size, len(name), 0) == (fields[0], fields[3], *fields[6:11])
        if same and not fields[2] & ~_UTF8 and raw[_LOCAL.size :] == name.encode():
            return offset + len(raw) + size
    raise wrong(f"member {name}", "the header that the directory tells of", "another, or a truncated file")
