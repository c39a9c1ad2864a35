"""The byte budget: what a memory costs, how much room there is, and what makes way. All sizes are exact.

Memories come first. What is left goes to W codes without an image, oldest out first; history and the fingerprints of
photos without a memory have shares of their own, and give way before a commit fails.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError, UsageError
from everface.engine.replay.blocks import DIGEST_BYTES, block_count
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR_TYPE, SEEN_TYPE, Content, Ledger, stored_bytes
from everface.engine.replay.layout import pack

__all__ = [
    "Measure", "bounded_seen", "fitted", "memory_costs", "minimum_budget", "plain_bytes", "room_bytes", "with_history",
    "within_shares",
]  # fmt: skip

Measure = Callable[[Content], int]
_GROWTH, _LEAST_ROOM = 1024, 4096
# Numbers in the header grow longer, the owner appears: what a commit may add beside memories, history and prints.
_SLACK, _OWNER = 320, 2048


def plain_bytes(content: Content) -> int:
    """Bytes of an unencrypted file."""
    digests = bytes(DIGEST_BYTES * block_count(content.body_bytes))
    return len(pack(content, digests)) + content.body_bytes


def memory_costs(rows: NDArray[np.void], dimension: int) -> NDArray[np.int64]:
    """[n] bytes that memories take: image, W code and columns."""
    return rows["length"].astype(np.int64) + (dimension + stored_bytes(rows.dtype))


def room_bytes(content: Content, budget_bytes: int, measure: Measure) -> int:
    """Bytes that memories may take after the next commit under a budget: as many as surely fit."""
    probe = within_shares(content, budget_bytes)
    ledger = probe.ledger
    rows, anchors = np.zeros(1, probe.rows.dtype), np.zeros(1, ANCHOR_TYPE)
    probe = replace(probe, rows=rows, anchors=anchors, ledger=replace(ledger, reasons=(*ledger.reasons, "")))
    history = _history_share(budget_bytes) - _compressed(ledger.history)
    seen = _seen_share(budget_bytes) - len(probe.seen) * SEEN_TYPE.itemsize
    reserve = max(0, min(history, _GROWTH)) + max(0, min(seen, _GROWTH)) + (0 if ledger.owner else _OWNER) + _SLACK
    fixed = measure(probe) + DIGEST_BYTES * block_count(budget_bytes)
    return max(0, budget_bytes - fixed - reserve)


def minimum_budget(config_json: str) -> int:
    """Least budget in bytes that holds what must be and one or two small photos."""
    content = Content(Ledger(0, "0" * 64, config_json, 0, CodecChoice()))
    for budget in range(4096, 1 << 24, 1024):
        if room_bytes(content, budget, plain_bytes) >= _LEAST_ROOM:
            return budget
    raise UsageError("configuration", expected="a short JSON text", found=f"{len(config_json)} characters")


def fitted(content: Content, measure: Measure) -> Content:
    """The content within its budget: anchors go first, then fingerprints, then history, the oldest of each.

    Raises:
        BudgetError: the memories alone are too many.
    """
    budget = content.ledger.budget_bytes
    while (excess := measure(content) - budget) > 0:
        ledger = content.ledger
        if len(content.anchors):
            gone = -(-excess // (content.dimension + stored_bytes(ANCHOR_TYPE)))
            content = replace(content, anchors=content.anchors[gone:])
        elif len(content.seen):
            content = replace(content, seen=content.seen[-(-excess // SEEN_TYPE.itemsize) :])
        elif len(ledger.history) > 1:
            ledger = replace(ledger, history=ledger.history[1:], dropped=ledger.dropped + 1)
            content = replace(content, ledger=ledger)
        else:
            raise BudgetError(
                "memories", expected=f"a file within {budget} bytes",
                found=f"{len(content.rows)} memories that need {excess} more",
                remedy="keep fewer photos or raise the budget",
            )  # fmt: skip
    return content


def _history_share(budget_bytes: int) -> int:
    """Most bytes of compressed history."""
    return min(max(budget_bytes // 128, 1024), 32 * 1024)


def _seen_share(budget_bytes: int) -> int:
    """Most bytes of fingerprints of photos without a memory."""
    return min(max(budget_bytes // 128, 512), 64 * 1024)


def with_history(ledger: Ledger, entry: Mapping[str, Any]) -> Ledger:
    """Appends an entry (none if empty) and drops the oldest until all fit the share; the newest always stays.

    Raises:
        UsageError: the entry is not JSON, or too long for the share.
    """
    try:
        history = (*ledger.history, *([json.loads(json.dumps(entry))] if entry else []))
    except (TypeError, ValueError) as error:
        raise UsageError("commit.history", expected="a JSON-able mapping", found=str(error)) from error
    share, dropped = _history_share(ledger.budget_bytes), ledger.dropped
    while len(history) > 1 and _compressed(history) > share:
        history, dropped = history[1:], dropped + 1
    if _compressed(history) > share:
        raise UsageError(
            "commit.history", expected=f"at most {share} compressed bytes at this budget",
            found=str(_compressed(history)), remedy="write a shorter summary",
        )  # fmt: skip
    return replace(ledger, history=history, dropped=dropped)


def within_shares(content: Content, budget_bytes: int) -> Content:
    """The content under another budget, with as much history and as many fingerprints as it allows."""
    ledger = replace(content.ledger, budget_bytes=budget_bytes)
    history, dropped = ledger.history, ledger.dropped
    while history and _compressed(history) > _history_share(budget_bytes):
        history, dropped = history[1:], dropped + 1
    seen = bounded_seen([content.seen], budget_bytes)
    return replace(content, ledger=replace(ledger, history=history, dropped=dropped), seen=seen)


def bounded_seen(
    parts: Iterable[NDArray[np.void]], budget_bytes: int, held: NDArray[np.void] | None = None
) -> NDArray[np.void]:
    """Fingerprints joined, without doubles and those ``held`` with a memory; the oldest go beyond the share."""
    known = set() if held is None else {one.tobytes() for one in held}
    merged = dict.fromkeys(one.tobytes() for part in parts for one in part)
    left = [one for one in merged if one not in known][-(_seen_share(budget_bytes) // SEEN_TYPE.itemsize) :]
    return np.frombuffer(b"".join(left), SEEN_TYPE)


def _compressed(history: tuple[Mapping[str, Any], ...]) -> int:
    return len(zlib.compress(json.dumps(history, separators=(",", ":")).encode(), 9)) if history else 0
