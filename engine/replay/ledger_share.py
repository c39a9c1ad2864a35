"""The ledger's share of the budget: history and fingerprints are bounded, the oldest go first."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from everface.engine.errors import UsageError
from everface.engine.replay.records import SEEN_BYTES, Ledger

__all__ = ["bounded_history", "bounded_seen", "ledger_reserve", "rebounded"]

_GROWTH = 1024


def history_share(budget_bytes: int) -> int:
    """Most bytes of compressed history."""
    return min(max(budget_bytes // 128, 1024), 32 * 1024)


def seen_share(budget_bytes: int) -> int:
    """Most bytes of fingerprints of photos without a memory."""
    return min(max(budget_bytes // 128, 512), 64 * 1024)


def bounded_history(ledger: Ledger, entry: Mapping[str, Any]) -> Ledger:
    """Appends an entry (none if empty) and drops the oldest until all fit the share; the newest always stays.

    Raises:
        UsageError: the entry is not JSON.
    """
    try:
        history = (*ledger.history, *([json.loads(json.dumps(entry))] if entry else []))
    except (TypeError, ValueError) as error:
        raise UsageError("commit.history", expected="a JSON-able mapping", found=str(error)) from error
    share, dropped = history_share(ledger.budget_bytes), ledger.dropped
    while len(history) > 1 and _compressed(history) > share:
        history, dropped = history[1:], dropped + 1
    if _compressed(history) > share:
        raise UsageError(
            "commit.history", expected=f"at most {share} compressed bytes at this budget",
            found=str(_compressed(history)), remedy="write a shorter summary",
        )  # fmt: skip
    return replace(ledger, history=tuple(history), dropped=dropped)


def rebounded(ledger: Ledger) -> Ledger:
    """The ledger within the shares of its own budget, which may have changed: the oldest go."""
    history, dropped = ledger.history, ledger.dropped
    while history and _compressed(history) > history_share(ledger.budget_bytes):
        history, dropped = history[1:], dropped + 1
    return bounded_seen(replace(ledger, history=history, dropped=dropped), ())


def bounded_seen(ledger: Ledger, new: Iterable[tuple[bytes, int]], held: Collection[tuple[bytes, int]] = ()) -> Ledger:
    """Appends fingerprints, drops doubles, those ``held`` with a memory, and then the oldest beyond the share."""
    merged = tuple(one for one in dict.fromkeys((*ledger.seen, *new)) if one not in held)
    return replace(ledger, seen=merged[-(seen_share(ledger.budget_bytes) // SEEN_BYTES) :])


def ledger_reserve(budget_bytes: int, ledger: Ledger) -> int:
    """Bytes by which the ledger may grow in the next commit."""
    history = history_share(budget_bytes) - _compressed(ledger.history)
    seen = seen_share(budget_bytes) - SEEN_BYTES * len(ledger.seen)
    owner = 0 if ledger.owner is not None else 2048
    return max(0, min(history, _GROWTH)) + max(0, min(seen, _GROWTH)) + owner + 64


def _compressed(history: tuple[Mapping[str, Any], ...]) -> int:
    return len(zlib.compress(json.dumps(history, separators=(",", ":")).encode(), 9)) if history else 0
