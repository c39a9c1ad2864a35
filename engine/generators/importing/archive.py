"""The zip archives of ``torch.save``: stored entries only, so that nothing grows, and no name ever becomes a path."""

from __future__ import annotations

import struct
import zlib

from everface.engine.generators.importing.limits import Budget, refuse

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_ENTRIES = 20_000
_MAX_NAME = 256
_FULL = 0xFFFFFFFF
_ENCRYPTED = 1


class Archive:
    """The entries of an archive, by their names below its one folder.

    Args:
        data: the whole file.
        budget: an entry costs a few steps.

    Raises:
        CheckpointError: the directory is damaged, or has duplicates, compressed or encrypted entries, or names that
            are not of PyTorch's making.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._data = data
        self._entries: dict[str, tuple[int, int, int, bytes]] = {}
        self._verified: set[str] = set()
        self._unread = len(data)
        count, size, at = _directory(data)
        if count > _MAX_ENTRIES or at + size > len(data):
            raise refuse(f"a zip archive of at most {_MAX_ENTRIES} entries", f"{count} entries")
        budget.spend(count)
        folders = set()
        for _ in range(count):
            at, name, entry = _entry(data, at)
            folder, _, rest = name.partition("/")
            folders.add(folder)
            if rest in self._entries:
                raise refuse("each name once in the archive", "one name twice")
            self._entries[rest] = entry
        if len(folders) != 1:
            raise refuse("one folder in the archive", f"{len(folders)}")

    def has(self, name: str) -> bool:
        """Whether there is such an entry."""
        return name in self._entries

    def read(self, name: str) -> memoryview:
        """An entry's bytes, a view of the file; its checksum is verified.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        if name not in self._entries:
            raise refuse("a zip archive written by torch.save", f"none of its entries named {name[:60]}")
        at, size, crc, full_name = self._entries[name]
        data = self._data
        if at + _LOCAL.size > len(data):
            raise refuse("a whole archive", "an entry beyond its end")
        signature, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack_from(data, at)
        start = at + _LOCAL.size
        if signature != b"PK\3\4" or method or flags & _ENCRYPTED or data[start : start + name_size] != full_name:
            raise refuse("the entry that the archive's directory names", "another")
        start += name_size + extra_size
        if start + size > len(data):
            raise refuse("a whole archive", "an entry beyond its end")
        content = data[start : start + size]
        if name not in self._verified:
            # Entries that overlap could make every byte be read many times.
            self._unread -= size
            if self._unread < 0:
                raise refuse("entries beside each other", "entries that overlap")
            if zlib.crc32(content) != crc:
                raise refuse("the bytes that were written", f"others in {name[:60]} (checksum)")
            self._verified.add(name)
        return content


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Entries, bytes and position of the central directory."""
    # The end record is last, before a comment, which torch.save does not write.
    at = len(data) - _END.size
    if at < 0 or bytes(data[at : at + 4]) != b"PK\5\6":
        raise refuse("a whole zip archive", "no directory at its end")
    _, disk, start_disk, _, count, size, offset, _ = _END.unpack_from(data, at)
    if disk or start_disk:
        raise refuse("an archive in one file", "one of several")
    if count == 0xFFFF or _FULL in (size, offset):
        locator = at - _END64_LOCATOR.size
        if locator < 0 or bytes(data[locator : locator + 4]) != b"PK\6\7":
            raise refuse("a whole zip archive", "no directory at its end")
        _, _, at, _ = _END64_LOCATOR.unpack_from(data, locator)
        if at + _END64.size > len(data) or bytes(data[at : at + 4]) != b"PK\6\6":
            raise refuse("a whole zip archive", "no directory at its end")
        count, size, offset = _END64.unpack_from(data, at)[7:10]
    return count, size, offset


def _entry(data: memoryview, at: int) -> tuple[int, str, tuple[int, int, int, bytes]]:
    if at + _CENTRAL.size > len(data) or bytes(data[at : at + 4]) != b"PK\1\2":
        raise refuse("a whole zip archive", "a damaged directory")
    fields = _CENTRAL.unpack_from(data, at)
    flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    name_size, extra_size, comment_size, offset = fields[10], fields[11], fields[12], fields[16]
    at += _CENTRAL.size
    name, extra = bytes(data[at : at + name_size]), data[at + name_size : at + name_size + extra_size]
    packed, size, offset = _zip64(extra, packed, size, offset)
    if method or packed != size:
        raise refuse("stored entries, as torch.save writes them", "a compressed one")
    if flags & _ENCRYPTED:
        raise refuse("plain entries", "an encrypted one")
    return at + name_size + extra_size + comment_size, _checked_name(name), (offset, size, crc, name)


def _zip64(extra: memoryview, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    values = [size, packed, offset]
    if _FULL not in values:
        return packed, size, offset
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            place = at + 4
            for index, value in enumerate(values):
                if value == _FULL:
                    if place + 8 > min(len(extra), at + 4 + length):
                        break
                    values[index] = int.from_bytes(extra[place : place + 8], "little")
                    place += 8
            return values[1], values[0], values[2]
        at += 4 + length
    raise refuse("a whole zip archive", "a damaged directory")


def _checked_name(name: bytes) -> str:
    parts = name.split(b"/")
    odd = b"\\" in name or b"\0" in name or any(part in (b"", b".", b"..") for part in parts)
    if odd or len(parts) < 2 or len(name) > _MAX_NAME:
        remedy = "no file was written; do not trust this one"
        raise refuse("names below one folder in the archive", "another name", remedy)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse("names in UTF-8 in the archive", "other bytes") from None
