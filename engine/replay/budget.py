"""The byte budget: what a memory costs, how much room there is, and what makes way. All sizes are exact.

Memories come first. What is left goes to W codes without an image, oldest out first; history and the fingerprints of
photos without a memory have shares of their own, and give way before a commit fails.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError, UsageError
from everface.engine.replay.blocks import DIGEST_BYTES, block_count
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR, SEEN, Content, stored_bytes
from everface.engine.replay.memory_file import file_bytes
from everface.engine.replay.values import Ledger

Measure = Callable[[Content], int]
_GROWTH, _LEAST_ROOM = 1024, 4096
# Numbers in the header grow longer, the owner appears: what a commit may add beside memories, history and prints.
_SLACK, _OWNER = 320, 2048


def memory_costs(content: Content) -> NDArray[np.int64]:
    """[n] bytes that memories take: image, W code and columns."""
    return content.rows["length"].astype(np.int64) + (content.dimension + stored_bytes(content.rows.dtype))


def room_bytes(content: Content, budget: int, measure: Measure) -> int:
    """Bytes that memories may take after the next commit under a budget: as many as surely fit."""
    ledger, one = replace(content.ledger, budget_bytes=budget), replace(content, rows=np.zeros(1, content.rows.dtype))
    probe = _within_shares(replace(one, ledger=replace(ledger, reasons=(*ledger.reasons, "")), anchors=one.anchors[:0]))
    history = _history_share(budget) - _history_bytes(probe.ledger)
    seen = _seen_share(budget) - len(probe.seen) * SEEN.itemsize
    reserve = max(0, min(history, _GROWTH)) + max(0, min(seen, _GROWTH)) + (0 if ledger.owner else _OWNER) + _SLACK
    return max(0, budget - measure(probe) - DIGEST_BYTES * block_count(budget) - reserve)


def minimum_budget(config_json: str) -> int:
    """Least budget in bytes that holds what must be and one or two small photos."""
    content = Content(Ledger(0, "0" * 64, config_json, 0, CodecChoice()))
    for budget in range(4096, 1 << 24, 1024):
        if room_bytes(content, budget, lambda one: file_bytes(one, encrypted=True)) >= _LEAST_ROOM:
            return budget
    raise UsageError("configuration", expected="a short JSON text", found=f"{len(config_json)} characters")


def require_budget(budget: int, config_json: str) -> None:
    """Raises BudgetError below ``minimum_budget``."""
    least = minimum_budget(config_json)
    if budget < least:
        raise BudgetError(
            "budget", expected=f"at least {least} bytes", found=f"{budget}", remedy=f"use {least} or more"
        )


def fitted(content: Content, measure: Measure) -> Content:
    """The content within its shares and its budget: anchors go first, then fingerprints, then history, oldest first.

    Raises:
        UsageError: the newest summary alone is larger than the share of history.
        BudgetError: the memories alone are too many.
    """
    content = _tidy(_within_shares(content))
    share, size = _history_share(content.ledger.budget_bytes), _history_bytes(content.ledger)
    if size > share:
        expected, remedy = f"at most {share} compressed bytes at this budget", "write a shorter summary"
        raise UsageError("commit.history", expected=expected, found=str(size), remedy=remedy)
    while (excess := measure(content) - content.ledger.budget_bytes) > 0:
        if len(content.anchors):
            gone = -(-excess // (content.dimension + stored_bytes(ANCHOR)))
            content = replace(content, anchors=content.anchors[gone:])
        elif len(content.seen):
            content = replace(content, seen=content.seen[-(-excess // SEEN.itemsize) :])
        elif len(content.ledger.history) > 1:
            content = replace(content, ledger=_without_oldest(content.ledger))
        else:
            raise BudgetError(
                "memories", expected=f"a file within {content.ledger.budget_bytes} bytes", found=f"{excess} bytes more",
                remedy="keep fewer photos or raise the budget",
            )  # fmt: skip
    return content


def _tidy(content: Content) -> Content:
    """With the reasons of its memories, each once."""
    used, numbers = np.unique(content.rows["reason"], return_inverse=True)
    reasons = tuple(sorted({content.ledger.reasons[i] for i in used}))
    rows = content.rows.copy()
    rows["reason"] = np.array([reasons.index(content.ledger.reasons[i]) for i in used], int)[numbers]
    return replace(content, rows=rows, ledger=replace(content.ledger, reasons=reasons))


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
