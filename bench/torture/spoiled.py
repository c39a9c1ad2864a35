"""Checkpoints spoiled: good ones cut, changed, mixed; odd archives; noise that begins like one."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from everface.bench.torture.lookalikes import FORMATS, tiny_generator, zipped
from everface.bench.torture.malformed import mutate
from everface.bench.torture.pickling import pickled

STREAM_HEADER = pickled(0x1950A86A20F9469CFC6C, 2) + pickled(1001, 2)


class Spoiled:
    """Draws spoiled files.

    Args:
        rng: of all choices.

    Attributes:
        good: a file of each format.
        makers: what makes a file of each kind.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.good = {name: make(tiny_generator()) for name, make in FORMATS.items()}
        self.makers: dict[str, Callable[[], bytes]] = {
            "truncated": self._truncated, "mutated": self._mutated, "rezipped": self._rezipped,
            "spliced": self._spliced, "zip": self._zip, "noise": self._noise,
        }  # fmt: skip

    def _good(self) -> bytes:
        return bytes(self.good[str(self._rng.choice(list(self.good)))])

    def _truncated(self) -> bytes:
        good = self._good()
        return good[: int(self._rng.integers(len(good)))]

    def _mutated(self) -> bytes:
        return mutate(self._good(), self._rng)[1]

    def _rezipped(self) -> bytes:
        # Past the checksums of the archive.
        with zipfile.ZipFile(io.BytesIO(self.good[one_of(self._rng, "mystyle", "rosinality zip")])) as archive:
            entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        name = one_of(self._rng, "data.pkl", "data.pkl", *entries)
        entries[name] = mutate(entries[name], self._rng)[1] if entries[name] else b"?"
        return zipped(entries)

    def _spliced(self) -> bytes:
        one, two = self._good(), self._good()
        at, other = int(self._rng.integers(len(one))), int(self._rng.integers(len(two)))
        return (
            one[:at] + two[other : other + int(self._rng.integers(1, 4000))] + one[at + int(self._rng.integers(64)) :]
        )

    def _zip(self) -> bytes:
        data = pickled({"g_ema": {}}, 2)
        out = io.BytesIO()
        how = int(self._rng.integers(7))
        names = ("archive/data.pkl", "archive/data/0")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if how == 0 else zipfile.ZIP_STORED) as archive:
            archive.writestr(names[0], data if how else bytes(300_000))
            if how in (1, 2):
                bad = ("../../executed", "/executed", "archive/../executed", "C:\\executed", "archive\\x", "archive//x",
                       "archive/./x", "other/x", "x" * 400, "archive/" + "d/" * 100)  # fmt: skip
                archive.writestr(one_of(self._rng, *bad), b"x")
            if how == 3:
                info = zipfile.ZipInfo(names[0])
                archive.fp.write(b"")  # type: ignore[union-attr]
                archive.filelist.append(archive.getinfo(names[0]))
                archive.writestr(info.filename + "x", data)
            if how == 4:
                for i in range(int(self._rng.integers(100, 2000))):
                    archive.writestr(f"archive/data/{i}", b"")
        made = bytearray(out.getvalue())
        if how >= 5:
            directory = made.rfind(b"PK\1\2") if how == 5 else made.rfind(b"PK\5\6")
            for _ in range(int(self._rng.integers(1, 6))):
                made[directory + int(self._rng.integers(min(46, len(made) - directory)))] = int(self._rng.integers(256))
        return bytes(made)

    def _noise(self) -> bytes:
        start: bytes = one_of(
            self._rng, b"\x80\x02", b"\x80\x04", STREAM_HEADER, b"PK\3\4", struct.pack("<Q", 40) + b"{", b""
        )
        codes = np.frombuffer(b".(0212NJKMGXCBtae}]su\x85\x86\x87\x88\x89\x8c\x8f\x90\x93\x94qrhjcRb\x81Q", np.uint8)
        body = self._rng.choice(codes, int(self._rng.integers(400))).tobytes()
        more: bytes = one_of(self._rng, body, self._rng.bytes(int(self._rng.integers(400))))
        return start + more


def one_of(rng: np.random.Generator, *choices: Any) -> Any:
    """One of the choices."""
    return choices[int(rng.integers(len(choices)))]
