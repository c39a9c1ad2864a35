"""The zip archives of ``torch.save``: stored entries only, so that nothing grows, and no name ever becomes a path."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from everface.engine.generators.importing.limits import Budget, refuse

_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_DIRECTORY = 1 << 21  # bytes, at the end of the file
_MAX_ENTRIES = 20_000
_MAX_NAME = 256
_ENCRYPTED, _UTF8 = 1, 1 << 11


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
        self._entries: dict[str, tuple[int, zipfile.ZipInfo]] = {}
        self._verified: set[str] = set()
        self._unread = len(data)
        entries, folders = _directory(data), set()
        if len(entries) > _MAX_ENTRIES:
            raise refuse(f"a zip archive of at most {_MAX_ENTRIES} entries", f"{len(entries)} entries")
        budget.spend(len(entries))
        for info, at in entries:
            if info.compress_type or info.compress_size != info.file_size:
                raise refuse("stored entries, as torch.save writes them", "a compressed one")
            if info.flag_bits & _ENCRYPTED:
                raise refuse("plain entries", "an encrypted one")
            folder, _, rest = _checked_name(info.orig_filename).partition("/")
            folders.add(folder)
            if rest in self._entries:
                raise refuse("each name once in the archive", "one name twice")
            self._entries[rest] = at, info
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
        at, info = self._entries[name]
        data, size = self._data, info.file_size
        if at < 0 or at + _LOCAL.size > len(data):
            raise refuse("a whole archive", "an entry beyond its end")
        signature, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack_from(data, at)
        start, encoded = at + _LOCAL.size, info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        if signature != b"PK\3\4" or method or flags & _ENCRYPTED or data[start : start + name_size] != encoded:
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
            if zlib.crc32(content) != info.CRC:
                raise refuse("the bytes that were written", f"others in {name[:60]} (checksum)")
            self._verified.add(name)
        return content


def _directory(data: memoryview) -> list[tuple[zipfile.ZipInfo, int]]:
    """The directory's entries, and where each lies in the file."""
    end = data[-_MAX_DIRECTORY:]
    try:
        with zipfile.ZipFile(io.BytesIO(end)) as file:
            return [(info, info.header_offset + len(data) - len(end)) for info in file.infolist()]
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, EOFError, OverflowError):
        raise refuse("a whole zip archive", "no directory at its end") from None


def _checked_name(name: str) -> str:
    parts = name.split("/")
    odd = "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts)
    if odd or len(parts) < 2 or len(name) > _MAX_NAME:
        remedy = "no file was written; do not trust this one"
        raise refuse("names below one folder in the archive", "another name", remedy)
    return name
