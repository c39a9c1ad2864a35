"""The byte budget: how much room memories have, and what makes way for them. All sizes are exact.

Memories come first. What is left goes to W codes without an image, oldest out first; history and the fingerprints of
photos without a memory have shares of their own, and give way before a commit fails.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import numpy as np

from everface.engine.errors import BudgetError, UsageError
from everface.engine.replay.body import DIGEST_BYTES, block_count
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR, SEEN, Content, moved, stored_bytes
from everface.engine.replay.memory_file import file_bytes
from everface.engine.replay.values import Ledger
from everface.engine.vault import VaultSeal

_GROWTH, _LEAST_ROOM = 1024, 4096
# Numbers in the header grow longer, the owner appears: what a commit may add beside memories, history and prints.
_SLACK, _OWNER = 320, 2048


def room_bytes(content: Content, budget: int) -> int:
    """Bytes that memories may take after the next commit under a budget: as many as surely fit."""
    ledger = replace(content.ledger, budget_bytes=budget, reasons=(*content.ledger.reasons, ""))
    one = np.zeros(1, content.rows.dtype)
    probe = _within_shares(replace(content, ledger=ledger, rows=one, anchors=content.anchors[:0]))
    history = _history_share(budget) - _history_bytes(probe.ledger)
    seen = _seen_share(budget) - len(probe.seen) * SEEN.itemsize
    reserve = max(0, min(history, _GROWTH)) + max(0, min(seen, _GROWTH)) + (0 if ledger.owner else _OWNER) + _SLACK
    blocks = block_count(budget) * (DIGEST_BYTES + (VaultSeal.overhead if content.sealed else 0))
    return max(0, budget - file_bytes(probe) - blocks - reserve)


def minimum_budget(config_json: str) -> int:
    """Least budget in bytes that holds what must be and one or two small photos."""
    content = Content(Ledger(0, "0" * 64, config_json, 0, CodecChoice()), sealed=True)
    for budget in range(4096, 1 << 24, 1024):
        if room_bytes(content, budget) >= _LEAST_ROOM:
            return budget
    raise UsageError("configuration", expected="a short JSON text", found=f"{len(config_json)} characters")


def new_content(config_json: str, budget: int, choice: CodecChoice, sealed: bool) -> Content:
    """What a store holds at first; BudgetError below ``minimum_budget``."""
    require_budget(budget, config_json)
    return Content(Ledger(0, "", config_json, budget, choice), sealed=sealed)


def require_budget(budget: int, config_json: str) -> None:
    """Raises BudgetError below ``minimum_budget``."""
    least = minimum_budget(config_json)
    if budget < least:
        expected, remedy = f"at least {least} bytes", f"use {least} or more"
        raise BudgetError("budget", expected=expected, found=f"{budget}", remedy=remedy)


def fitted(content: Content) -> Content:
    """The content within its shares and its budget: anchors go first, then fingerprints, then history, oldest first.

    Reasons and fingerprints come out once each, anchors in the order of time.

    Raises:
        UsageError: the newest summary alone is larger than the share of history.
        BudgetError: the memories alone are too many.
    """
    content = _within_shares(_tidy(content))
    budget = content.ledger.budget_bytes
    share, size = _history_share(budget), _history_bytes(content.ledger)
    if size > share:
        expected, remedy = f"at most {share} compressed bytes at this budget", "write a shorter summary"
        raise UsageError("commit.history", expected=expected, found=str(size), remedy=remedy)
    while (excess := file_bytes(content) - budget) > 0:
        if len(content.anchors):
            gone = -(-excess // (content.dimension + stored_bytes(ANCHOR)))
            content = replace(content, anchors=content.anchors[gone:])
        elif len(content.seen):
            content = replace(content, seen=content.seen[-(-excess // SEEN.itemsize) :])
        elif len(content.ledger.history) > 1:
            content = replace(content, ledger=_without_oldest(content.ledger))
        else:
            expected, remedy = f"a file within {budget} bytes", "keep fewer photos or raise the budget"
            raise BudgetError("memories", expected=expected, found=f"{excess} bytes more", remedy=remedy)
    return content


def _tidy(content: Content) -> Content:
    """With the reasons of its memories, anchors by timestamp, and fingerprints that no memory has."""
    used, numbers = np.unique(content.rows["reason"], return_inverse=True)
    reasons = tuple(sorted({content.ledger.reasons[i] for i in used}))
    rows = content.rows.copy()
    rows["reason"] = np.array([reasons.index(content.ledger.reasons[i]) for i in used], int)[numbers]
    held = {photo.tobytes() for photo in moved(rows, SEEN)}
    seen = [photo for photo in dict.fromkeys(photo.tobytes() for photo in content.seen) if photo not in held]
    anchors = content.anchors[np.argsort(content.anchors["timestamp"], kind="stable")]
    ledger = replace(content.ledger, reasons=reasons)
    return replace(content, ledger=ledger, rows=rows, anchors=anchors, seen=np.frombuffer(b"".join(seen), SEEN))


def _within_shares(content: Content) -> Content:
    """As much history, the newest entry at least, and as many fingerprints as the budget allows."""
    ledger = content.ledger
    while len(ledger.history) > 1 and _history_bytes(ledger) > _history_share(ledger.budget_bytes):
        ledger = _without_oldest(ledger)
    return replace(content, ledger=ledger, seen=content.seen[-(_seen_share(ledger.budget_bytes) // SEEN.itemsize) :])


def _without_oldest(ledger: Ledger) -> Ledger:
    return replace(ledger, history=ledger.history[1:], dropped=ledger.dropped + 1)


def _history_share(budget: int) -> int:
    """Most bytes of compressed history."""
    return min(max(budget // 128, 1024), 32 * 1024)


def _seen_share(budget: int) -> int:
    """Most bytes of fingerprints of photos without a memory."""
    return min(max(budget // 128, 512), 64 * 1024)


def _history_bytes(ledger: Ledger) -> int:
    return len(zlib.compress(json.dumps(ledger.history, separators=(",", ":")).encode(), 9)) if ledger.history else 0
