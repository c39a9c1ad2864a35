"""A strict reader of ``replay.db`` that does not use SQLite: it accounts for every byte of the file.

SQLite itself reads past many changed bits (a key between two pages, a counter, a free byte). Here each byte is either
verified structure, or part of a record, whose seal the caller verifies, or unused, and then it is zero or reported.
Source: "Database File Format", sqlite.org/fileformat2.html; sections are named below.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["APPLICATION_ID", "SCHEMA", "SCHEMA_VERSION", "FileReading", "FormatError", "read_file", "unused_ranges"]

APPLICATION_ID = 0x45766661  # "Evfa"
SCHEMA_VERSION = 1
SCHEMA = "CREATE TABLE record(id INTEGER PRIMARY KEY, data BLOB NOT NULL)"

_ROOT = 3  # page 1 is the schema, page 2 the first pointer map
_LEAF, _INTERIOR = 0x0D, 0x05
_ROOT_PAGE, _FREE_PAGE, _FIRST_OVERFLOW, _NEXT_OVERFLOW, _TREE_PAGE = 1, 2, 3, 4, 5
_MOST_DEPTH = 12


Reader = Callable[[int, int], bytes]
OnRecord = Callable[[int, bytes], None]


class FormatError(ValueError):
    """A byte that is not what SQLite writes."""


@dataclass
class FileReading:
    """What a file holds.

    Attributes:
        unused: (offset, length) of every range that holds nothing.
        sqlite_version: number of the SQLite that wrote the file last.
        page_size: bytes of a page.
        free_pages: pages on the free list.
    """

    unused: list[tuple[int, int]] = field(default_factory=list)
    sqlite_version: int = 0
    page_size: int = 0
    free_pages: int = 0


def read_file(read: Reader, size: int, on_record: OnRecord) -> FileReading:
    """Reads a whole file and verifies its structure.

    Args:
        read: returns ``count`` bytes at ``offset``.
        size: bytes of the file.
        on_record: is given the number and data of every record, in ascending order.

    Raises:
        FormatError: the first thing that is wrong, with its page.
    """
    return _Reader(read, size, on_record).run()


def unused_ranges(read: Reader, size: int) -> list[tuple[int, int]]:
    """Unused ranges of the tree and free-list pages; of overflow chains only those whose last page is not full.

    Raises:
        FormatError: the structure is not sound.
    """
    return _Reader(read, size, None).run().unused


class _Reader:
    def __init__(self, read: Reader, size: int, on_record: OnRecord | None) -> None:
        self._read, self._size, self._on_record = read, size, on_record
        self._out = FileReading()
        self._pointers: dict[int, tuple[int, int]] = {}  # expected pointer map
        self._leaf_depth = 0

    def run(self) -> FileReading:
        try:
            return self._run()
        except (struct.error, IndexError) as error:
            raise FormatError(f"a field beyond its page ({error})") from error

    def _run(self) -> FileReading:
        free = self._header()
        self._tree(1, 0, 0, None, self._schema_cell)
        self._pointers[_ROOT] = (_ROOT_PAGE, 0)
        self._leaf_depth = 0
        self._tree(_ROOT, 0, 0, None, self._record_cell)
        self._free_list(*free)
        self._pointer_maps()
        return self._out

    # -- section 1.3, the database header

    def _header(self) -> tuple[int, int]:
        head = self._read(0, 100)
        _require(len(head) == 100 and head[:16] == b"SQLite format 3\0", "header: not an SQLite file")
        page = struct.unpack_from(">H", head, 16)[0]
        _require(page in (512, 1024, 2048, 4096, 8192, 16384, 32768), "header: page size")
        self._page_size = self._out.page_size = page
        _require(head[18:24] == bytes([1, 1, 0, 64, 32, 32]), "header: format versions and fractions")
        counter, pages, trunk, free, cookie, form, cache, root, text, version, vacuum, application = struct.unpack_from(
            ">12I", head, 24
        )
        _require(pages * page == self._size, f"header: {pages} pages in a file of {self._size} bytes")
        _require((cookie, form, cache, root, text, vacuum) == (1, 4, 0, _ROOT, 1, 1), "header: schema fields")
        _require((version, application) == (SCHEMA_VERSION, APPLICATION_ID), "header: version or application id")
        _require(struct.unpack_from(">I", head, 92)[0] == counter, "header: change counter")
        self._unused(1, 72, 92)
        self._out.sqlite_version = struct.unpack_from(">I", head, 96)[0]
        self._pages, self._out.free_pages = pages, free
        return trunk, free

    # -- section 1.6, b-tree pages

    def _tree(self, number: int, depth: int, parent: int, most: int | None, cell: _CellReader) -> int:
        """Reads a subtree, whose greatest key must be ``most`` where that is given; returns it."""
        _require(depth < _MOST_DEPTH, f"page {number}: tree too deep")
        if depth:
            self._claim(number, _TREE_PAGE, parent)
        page, start = self._page(number), 100 if number == 1 else 0
        kind, block, count, content, fragments = struct.unpack_from(">BHHHB", page, start)
        _require(kind in (_LEAF, _INTERIOR), f"page {number}: type {kind}")
        content = content or 65536
        array = start + (8 if kind == _LEAF else 12)
        spans, last = [], 0
        _require(array + 2 * count <= content <= self._page_size, f"page {number}: content start")
        for pointer in struct.unpack_from(f">{count}H", page, array):
            _require(content <= pointer < self._page_size - 3, f"page {number}: cell pointer")
            if kind == _LEAF:
                key, end = cell(number, page, pointer)
            else:
                (child,) = struct.unpack_from(">I", page, pointer)
                key, end = self._varint(page, pointer + 4)
                self._tree(child, depth + 1, number, key, cell)
            _require(key > last, f"page {number}: keys out of order")
            last = key
            spans.append((pointer, end))
        if kind == _INTERIOR:
            (right,) = struct.unpack_from(">I", page, start + 8)
            _require(count > 0, f"page {number}: an interior page without keys")
            key = self._tree(right, depth + 1, number, None, cell)
            _require(key > last, f"page {number}: keys out of order")
            last = key
        else:
            self._leaf_depth = self._leaf_depth or depth + 1
            _require(self._leaf_depth == depth + 1, f"page {number}: leaves at two depths")
        _require(most is None or last == most, f"page {number}: key {last}, its parent says {most}")
        self._blocks(number, page, block, spans, content, fragments)
        self._unused(number, array + 2 * count, content)
        return last

    def _blocks(
        self, number: int, page: bytes, block: int, spans: list[tuple[int, int]], content: int, fragments: int
    ) -> None:
        """Free blocks and fragments: together with the cells they fill the content area exactly."""
        while block:
            _require(content <= block <= self._page_size - 4, f"page {number}: free block")
            following, size = struct.unpack_from(">HH", page, block)
            _require(size >= 4 and (following == 0 or following > block), f"page {number}: free block")
            self._unused(number, block + 4, block + size)
            spans.append((block, block + size))
            block = following
        at, loose = content, 0
        for begin, end in sorted(spans):
            _require(at <= begin <= at + 3 and end <= self._page_size, f"page {number}: cells overlap or leave a hole")
            self._unused(number, at, begin)
            loose += begin - at
            at = end
        loose += self._page_size - at
        _require(self._page_size - at <= 3 and loose == fragments, f"page {number}: {fragments} fragment bytes")
        self._unused(number, at, self._page_size)

    def _record_cell(self, number: int, page: bytes, at: int) -> tuple[int, int]:
        length, at = self._varint(page, at)
        key, at = self._varint(page, at)
        local = self._local(length)
        end = at + local
        _require(end <= self._page_size, f"page {number}: cell beyond its page")
        payload = page[at:end]
        if local < length:
            (first,) = struct.unpack_from(">I", page, end)
            end += 4
            # Without records only a last page that is not full matters: its rest is unused.
            if self._on_record is not None or (length - local) % (self._page_size - 4):
                payload += self._chain(number, first, length - local)
        if self._on_record is not None:
            self._on_record(key, _blob(payload, number))
        return key, end

    def _schema_cell(self, number: int, page: bytes, at: int) -> tuple[int, int]:
        length, at = self._varint(page, at)
        key, at = self._varint(page, at)
        texts = [b"table", b"record", b"record", SCHEMA.encode()]
        types = [2 * len(text) + 13 for text in texts]
        head = bytes([*types[:3], 1]) + _varint(types[3])
        right = bytes([len(head) + 1]) + head + b"".join(texts[:3]) + bytes([_ROOT]) + texts[3]
        _require(key == 1 and length == len(right) and page[at : at + length] == right, "page 1: the schema")
        return key, at + length

    def _local(self, length: int) -> int:
        """Payload bytes in the leaf itself; the rest overflows."""
        usable: int = self._page_size
        if length <= usable - 35:
            return length
        least = (usable - 12) * 32 // 255 - 23
        local: int = least + (length - least) % (usable - 4)
        return local if local <= usable - 35 else least

    def _chain(self, parent: int, number: int, left: int) -> bytes:
        parts, kind = [], _FIRST_OVERFLOW
        while left > 0:
            self._claim(number, kind, parent)
            page = self._page(number)
            (following,) = struct.unpack_from(">I", page)
            part = page[4 : 4 + left]
            self._unused(number, 4 + len(part), self._page_size)
            parts.append(part)
            left -= len(part)
            parent, number, kind = number, following, _NEXT_OVERFLOW
        _require(number == 0, "overflow chain: goes on after its end")
        return b"".join(parts)

    # -- section 1.5, the free list; section 1.8, pointer maps

    def _free_list(self, trunk: int, count: int) -> None:
        left = count
        while trunk:
            self._claim(trunk, _FREE_PAGE, 0)
            page = self._page(trunk)
            following, leaves = struct.unpack_from(">II", page)
            _require(leaves <= self._page_size // 4 - 2 and leaves < left, f"page {trunk}: free list")
            for leaf in struct.unpack_from(f">{leaves}I", page, 8):
                self._claim(leaf, _FREE_PAGE, 0)
                self._unused(leaf, 0, self._page_size)
            self._unused(trunk, 8 + 4 * leaves, self._page_size)
            left -= leaves + 1
            trunk = following
        _require(left == 0, "free list: its length")

    def _pointer_maps(self) -> None:
        per_map = self._page_size // 5
        for number in range(2, self._pages + 1, per_map + 1):
            here = range(number + 1, min(number + per_map, self._pages) + 1)
            self._unused(number, 5 * len(here), self._page_size)
            if self._on_record is None:
                continue
            page = self._page(number)
            for index, one in enumerate(here):
                found = struct.unpack_from(">BI", page, 5 * index)
                _require(one in self._pointers, f"page {one}: used by nothing")
                _require(found == self._pointers[one], f"page {number}: pointer map of page {one}")

    # -- helpers

    def _claim(self, number: int, kind: int, parent: int) -> None:
        is_map = number >= 2 and (number - 2) % (self._page_size // 5 + 1) == 0
        _require(1 < number <= self._pages and not is_map, f"page {number}: no such page")
        _require(number not in self._pointers, f"page {number}: used twice")
        self._pointers[number] = (kind, parent)

    def _page(self, number: int) -> bytes:
        page = self._read((number - 1) * self._page_size, self._page_size)
        _require(len(page) == self._page_size, f"page {number}: beyond the file")
        return page

    def _unused(self, number: int, begin: int, end: int) -> None:
        if end > begin:
            self._out.unused.append(((number - 1) * self._page_size + begin, end - begin))

    def _varint(self, page: bytes, at: int) -> tuple[int, int]:
        value = 0
        for count in range(8):
            _require(at + count < len(page), "a number beyond its page")
            byte = page[at + count]
            _require(count == 0 or bool(byte or value), "a number longer than it need be")
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                _require(len(_varint(value)) == count + 1, "a number longer than it need be")
                return value, at + count + 1
        raise FormatError("a number out of range")


_CellReader = Callable[[int, bytes, int], tuple[int, int]]


def _varint(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def _blob(payload: bytes, number: int) -> bytes:
    """The data of a row (id, data): section 2.1, the record format."""
    for head in range(3, 9):
        data = len(payload) - head
        if data >= 0 and payload[:head] == bytes([head, 0]) + _varint(2 * data + 12):
            return payload[head:]
    raise FormatError(f"page {number}: a row of another form")


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise FormatError(what)
