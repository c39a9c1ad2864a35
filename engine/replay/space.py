"""Page arithmetic: how many bytes of ``replay.db`` records take (SQLite file format, section 1.6).

A record of P payload bytes leaves a stub in a leaf page and the rest in overflow pages of U - 4 bytes each. Chunks
are padded so that their last overflow page is full and their stub is as small as the format allows.
"""

from __future__ import annotations

import math

__all__ = ["Pages", "page_size_for"]

_SMALL_FILE = 256 * 1024
_LARGE_FILE = 64 * 1024 * 1024
# Cell header, record header and pointer of one row: 3 + 4 + 9 + 2 + 4 bytes at the most.
_ROW_BYTES = 22


def page_size_for(budget_bytes: int) -> int:
    """Small pages for small files: an ordinary page of 4 KiB would take a quarter of the least budget."""
    if budget_bytes < _SMALL_FILE:
        return 512
    return 1024 if budget_bytes < _LARGE_FILE else 4096


class Pages:
    """The arithmetic for one page size.

    Args:
        page_size: bytes of a page, U in the file format (no bytes are reserved).
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.overflow_bytes = page_size - 4
        self.most_local = page_size - 35
        self.stub = (page_size - 12) * 32 // 255 - 23
        self.chunk_target = 48 * page_size

    @staticmethod
    def payload(data_bytes: int) -> int:
        """Payload of a row (id, data): a header of one size byte and two serial types, then the data."""
        serial = 2 * data_bytes + 12
        return 2 + max(1, math.ceil(serial.bit_length() / 7)) + data_bytes

    def overflow(self, data_bytes: int) -> int:
        """Overflow pages of a record."""
        payload = self.payload(data_bytes)
        if payload <= self.most_local:
            return 0
        local = self.stub + (payload - self.stub) % self.overflow_bytes
        local = local if local <= self.most_local else self.stub
        return math.ceil((payload - local) / self.overflow_bytes)

    def padding(self, data_bytes: int) -> int:
        """Zero bytes to add so that the stub is minimal and every overflow page is full."""
        if self.payload(data_bytes) <= self.stub:
            return self._fill(data_bytes, self.stub)
        rest = (self.payload(data_bytes) - self.stub) % self.overflow_bytes
        return self._fill(data_bytes, self.payload(data_bytes) + (-rest) % self.overflow_bytes) if rest else 0

    def _fill(self, data_bytes: int, payload: int) -> int:
        # Padding can lengthen the header by a byte, so aim, look, and correct.
        pad = payload - self.payload(data_bytes)
        while pad > 0 and self.payload(data_bytes + pad) > payload:
            pad -= 1
        return pad

    def table(self, stubs: int, loose: int) -> int:
        """B-tree pages for rows with minimal stubs and for rows with stubs of any size; an upper estimate."""
        per_leaf = (self.page_size - 8) // (self.stub + _ROW_BYTES)
        leaves = math.ceil(stubs / max(1, per_leaf // 2)) + loose
        return leaves + math.ceil(leaves / ((self.page_size - 12) // 16)) + 1

    def fixed(self, pages: int) -> int:
        """The schema page and the pointer maps of a file of so many pages."""
        return 1 + math.ceil(max(0, pages - 1) / (self.page_size // 5 + 1))
