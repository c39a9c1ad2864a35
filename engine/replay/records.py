"""The records of ``replay.db``: their numbers, the clear envelope, and the ledger that names all others."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everface.engine.errors import IntegrityError, KeyMismatchError, UsageError
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.values import Owner
from everface.engine.vault import CheckSeal, Key, ScryptCost, Seal, VaultSeal

__all__ = [
    "ENVELOPE", "FIRST_RECORD", "LEDGER", "MARK_BYTES", "Ledger", "is_chunk", "new_envelope", "open_envelope",
    "pack_ledger", "read_ledger",
]  # fmt: skip

ENVELOPE, LEDGER = 1, 2
MARK_BYTES = 8
SEEN_BYTES = 16
FIRST_RECORD = 16
_ENVELOPE_NAME, _LEDGER_NAME = b"envelope", b"ledger"
_MOST_LEDGER = 1 << 26


def is_chunk(record: int) -> bool:
    """Whether a record is a chunk of memories; anchors without images have odd numbers."""
    return record >= FIRST_RECORD and record % 2 == 0


@dataclass(frozen=True)
class Ledger:
    """What a commit changes as a whole.

    Attributes:
        timestamps: updates committed.
        model: SHA-256 of the model file.
        config_json: the EngineConfig.
        budget_bytes: cap of the file.
        choice: how new memories are encoded.
        marks: record number to the last bytes of its seal: a record lost or replaced by an older one is noticed.
        empty: numbers of rows without data, kept for reuse. Rows are never deleted, so that every key in the B-tree
            is that of a row and a changed key is noticed.
        sqlite_version: number of the SQLite that wrote the file, which its header repeats.
        history: summaries of updates, oldest first.
        dropped: how many older summaries were dropped.
        seen: (first 8 bytes of the SHA-256, dhash) of photos, oldest first.
        owner: the enrolled person.
        losses: memory id to loss.
        forgotten: (memory id, model).
    """

    timestamps: int
    model: str
    config_json: str
    budget_bytes: int
    choice: CodecChoice
    marks: Mapping[int, bytes] = field(default_factory=dict)
    empty: tuple[int, ...] = ()
    sqlite_version: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    dropped: int = 0
    seen: tuple[tuple[bytes, int], ...] = ()
    owner: Owner | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    forgotten: tuple[tuple[str, str], ...] = ()


def new_envelope(key: Key | None, cost: ScryptCost) -> tuple[bytes, Seal]:
    """The clear record that says how all others are sealed, and that seal."""
    body: dict[str, Any] = {"everface": 1}
    seal: Seal = CheckSeal()
    if key is not None:
        salt = os.urandom(16)
        seal = VaultSeal(key.derive(salt, cost), salt)
        body |= {"salt": salt.hex(), "scrypt": [cost.n, cost.r, cost.p], "verifier": seal.verifier.hex()}
    text = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    return CheckSeal().seal(text, _ENVELOPE_NAME), seal


def open_envelope(stored: bytes, key: Key | None) -> Seal:
    """The seal of an existing file.

    Raises:
        KeyMismatchError: encrypted and no key or a wrong one.
        IntegrityError: the envelope is damaged.
    """
    body = json.loads(CheckSeal().unseal(stored, _ENVELOPE_NAME))
    if "salt" not in body:
        return CheckSeal()
    if key is None:
        raise KeyMismatchError("workspace", expected="its passphrase", found="none", remedy="pass --passphrase-file")
    salt = bytes.fromhex(body["salt"])
    try:
        cost = ScryptCost(*body["scrypt"])
    except UsageError as error:
        raise IntegrityError("envelope", expected="scrypt factors in range", found=str(error)) from error
    seal = VaultSeal(key.derive(salt, cost), salt)
    seal.require(bytes.fromhex(body["verifier"]))
    return seal


def pack_ledger(ledger: Ledger, order: tuple[str, ...], seal: Seal) -> bytes:
    """Seals a ledger; losses are written in the order of the memories ``order``."""
    owner = ledger.owner
    text = {
        "timestamps": ledger.timestamps, "model": ledger.model, "config": ledger.config_json,
        "budget": ledger.budget_bytes, "sqlite": ledger.sqlite_version, "empty": list(ledger.empty),
        "dropped": ledger.dropped,
        "choice": [ledger.choice.name, ledger.choice.quality, ledger.choice.effort, ledger.choice.resolution],
        "history": list(ledger.history), "forgotten": list(ledger.forgotten),
        "owner": None if owner is None else owner.count, "records": sorted(ledger.marks),
    }  # fmt: skip
    parts = [
        zlib.compress(json.dumps(text, separators=(",", ":"), sort_keys=True).encode(), 9),
        b"".join(ledger.marks[record] for record in sorted(ledger.marks)),
        b"".join(sha + struct.pack("<Q", dhash) for sha, dhash in ledger.seen),
        b"" if owner is None else owner.total.astype("<f4").tobytes(),
        np.array([ledger.losses.get(one, np.nan) for one in order], np.float64).clip(-6e4, 6e4).astype("<f2").tobytes(),
    ]
    lengths = struct.pack("<5I", *(len(part) for part in parts))
    return seal.seal(lengths + b"".join(parts), _LEDGER_NAME)


def read_ledger(stored: bytes, seal: Seal) -> tuple[Ledger, tuple[float, ...]]:
    """Opens a ledger; its losses come apart, in the order of the memories.

    Raises:
        IntegrityError: it is not what was written.
        ValueError, KeyError, TypeError, struct.error, zlib.error: sealed by something else.
    """
    plain = seal.unseal(stored, _LEDGER_NAME)
    lengths = struct.unpack_from("<5I", plain)
    parts, at = [], 20
    for length in lengths:
        parts.append(plain[at : at + length])
        at += length
    if at != len(plain):
        raise ValueError("parts of another length")
    text = json.loads(zlib.decompressobj().decompress(parts[0], _MOST_LEDGER))
    records, marks, seen = [int(one) for one in text["records"]], parts[1], parts[2]
    if len(marks) != MARK_BYTES * len(records) or len(seen) % SEEN_BYTES:
        raise ValueError("marks or fingerprints of another length")
    name, quality, effort, resolution = text["choice"]
    ledger = Ledger(
        timestamps=int(text["timestamps"]), model=str(text["model"]), config_json=str(text["config"]),
        budget_bytes=int(text["budget"]), choice=CodecChoice(name, quality, effort, resolution),
        sqlite_version=int(text["sqlite"]), empty=tuple(int(one) for one in text["empty"]),
        dropped=int(text["dropped"]), history=tuple(text["history"]),
        marks={one: marks[i * MARK_BYTES : (i + 1) * MARK_BYTES] for i, one in enumerate(records)},
        seen=tuple((seen[i : i + 8], struct.unpack_from("<Q", seen, i + 8)[0]) for i in range(0, len(seen), 16)),
        forgotten=tuple((str(one), str(model)) for one, model in text["forgotten"]),
    )  # fmt: skip
    if text["owner"] is not None:
        total = np.frombuffer(parts[3], "<f4").astype(np.float32)
        ledger = replace(ledger, owner=Owner(total, int(text["owner"])))
    return ledger, tuple(np.frombuffer(parts[4], "<f2").astype(float).tolist())
