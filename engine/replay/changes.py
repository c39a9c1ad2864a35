"""From one content to the next: an update, another budget, a forgotten photo, denser images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError, UsageError
from everface.engine.replay.budget import require_budget, room_bytes
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.codec.latent import halves, quantize
from everface.engine.replay.content import ANCHOR, SEEN, Content, Table, moved, row_type
from everface.engine.replay.values import Commit, ForgetReport, Ledger, Memory, NewMemory

Choose = Callable[[Sequence[Memory], int], NDArray[np.int64]]
Encoded = tuple[bytes, int]  # an image's bytes and its stored side


def committed(old: Content, commit: Commit, encoded: Sequence[Encoded]) -> Content:
    """The content after an update, with the images of its new memories.

    Raises:
        UsageError: unknown ids, a wrong timestamp, a photo twice, or values out of range.
    """
    if commit.timestamp != old.ledger.timestamps:
        raise UsageError("commit.timestamp", expected=str(old.ledger.timestamps), found=str(commit.timestamp))
    base, added = _with_rows(old, sorted(old.rows_of(commit.keep))), _rows(commit.add, encoded, old)
    if len(base.rows) and base.rows.dtype != added.dtype:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    measured = sorted(commit.losses.keys() & set(commit.keep))
    base.rows["loss"][base.rows_of(measured)] = _losses([commit.losses[id] for id in measured])
    scale, levels = _codes([*(one.w for one in commit.add), *(() if commit.anchors is None else commit.anchors)], old)
    first = dict[tuple[bytes, bytes], int]()  # no code twice, and none that a memory has
    for i, pair in enumerate(zip(scale, levels, strict=True)):
        first.setdefault((pair[0].tobytes(), pair[1].tobytes()), i)
    added["scale"], added["code"] = scale[: len(added)], ~np.arange(len(added))
    added["image"] = ~np.arange(len(levels), len(levels) + len(added))
    chosen = [i for i in first.values() if i >= len(added)]
    anchors = np.zeros(len(chosen), ANCHOR)
    anchors["timestamp"], anchors["scale"], anchors["code"] = commit.timestamp, scale[chosen], ~np.array(chosen, int)
    new = replace(
        base, ledger=_next(old.ledger, commit), dimension=levels.shape[1],
        rows=np.concatenate([base.rows, added]) if len(base.rows) else added,
        anchors=np.concatenate([base.anchors, anchors]), seen=np.concatenate([base.seen, _prints(commit.seen)]),
        fresh=(*(row.tobytes() for row in levels), *(image for image, _ in encoded)),
    )  # fmt: skip
    if len(set(new.ids)) != len(new.ids):
        raise UsageError("commit", expected="each photo once", found="one twice", remedy="drop duplicates")
    return new


def _with_rows(old: Content, rows: Sequence[int]) -> Content:
    """The content with some memories alone; of the others, W codes and fingerprints stay."""
    gone = np.delete(old.rows, rows)
    anchors, seen = (np.concatenate([a, moved(gone, a.dtype)]) for a in (old.anchors, old.seen))
    return replace(old, rows=old.rows[list(rows)], anchors=anchors, seen=seen)


def _rows(new: Sequence[NewMemory], encoded: Sequence[Encoded], old: Content) -> Table:
    """Rows of new memories, but for their codes."""
    vectors = {name: [halves(getattr(one, name), name) for one in new] for name in ("view", "embedding")}
    if len({tuple(map(len, pair)) for pair in zip(*vectors.values(), strict=True)}) > 1:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    rows = np.zeros(len(new), row_type(*(len(halved[0]) for halved in vectors.values())) if new else old.rows.dtype)
    for name, halved in vectors.items() if new else ():
        rows[name] = halved
    prints = _prints([(one.sha256, one.dhash) for one in new])
    rows["sha256"], rows["dhash"] = prints["sha256"], prints["dhash"]
    rows["timestamp"], rows["spread"] = [one.timestamp for one in new], [one.spread for one in new]
    rows["length"], rows["resolution"] = [len(image) for image, _ in encoded], [side for _, side in encoded]
    rows["codec"], rows["loss"] = codec(old.ledger.choice.name).number, _losses([one.loss for one in new])
    rows["reason"] = len(old.ledger.reasons) + np.arange(len(new))
    return rows


def _losses(losses: Sequence[float]) -> NDArray[np.float64]:
    return np.clip(losses, -6e4, 6e4)


def _prints(photos: Sequence[tuple[str, int]]) -> Table:
    """[n] of ``SEEN`` from (SHA-256 in hexadecimal digits, dhash)."""
    prints = np.zeros(len(photos), SEEN)
    for i, (sha256, dhash) in enumerate(photos):
        try:
            prints[i] = (np.frombuffer(bytes.fromhex(sha256)[:8].ljust(8, b"\0"), np.uint8), dhash)
        except (ValueError, OverflowError):
            expected, found = "hexadecimal digits and 64 bits", f"{sha256!r}, {dhash}"
            raise UsageError("sha256, dhash", expected=expected, found=found) from None
    return prints


def _codes(ws: Sequence[NDArray[np.floating]], old: Content) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    if not ws:
        return np.zeros((0, 2), np.float16), np.zeros((0, old.dimension), np.uint8)
    dimension = old.dimension or len(ws[0])
    if {np.shape(w) for w in ws} != {(dimension,)}:
        raise UsageError("w", expected=f"codes of {dimension} numbers", found="codes of other lengths")
    return quantize(np.stack([np.asarray(w, np.float32) for w in ws]))


def _next(ledger: Ledger, commit: Commit) -> Ledger:
    try:
        history = (*ledger.history, *([json.loads(json.dumps(dict(commit.history)))] if commit.history else []))
    except (TypeError, ValueError) as error:
        raise UsageError("commit.history", expected="a JSON-able mapping", found=str(error)) from error
    return replace(
        ledger, timestamps=ledger.timestamps + 1, model=commit.model, history=history,
        reasons=(*ledger.reasons, *(one.reason[:200] for one in commit.add)), owner=commit.owner or ledger.owner,
        forgotten=() if commit.retuned else ledger.forgotten,
        days={**ledger.days, **({commit.timestamp: commit.day} if commit.day else {})},
    )  # fmt: skip


def recoded(old: Content, ids: Sequence[str], choice: CodecChoice) -> Content:
    """The content with the images of some memories encoded anew, where that takes fewer bytes."""
    rows, fresh, chosen = old.rows.copy(), list(old.fresh), old.rows_of(ids)
    for row, image in zip(chosen, old.images(chosen), strict=True):
        pixels = decode(image, int(rows["codec"][row]), int(rows["resolution"][row]))
        fewer, side = encode(pixels, choice)
        if len(fewer) < len(image):
            rows["image"][row], rows["length"][row], rows["resolution"][row] = ~len(fresh), len(fewer), side
            rows["codec"][row] = codec(choice.name).number
            fresh.append(fewer)
    return replace(old, rows=rows, fresh=tuple(fresh))


def evicted(old: Content, budget: int, choose: Choose) -> Content:
    """The content under another budget, with the memories that ``choose`` picks of those that are too many.

    Raises:
        BudgetError: below the minimum, or more were chosen than fit.
    """
    require_budget(budget, old.ledger.config_json)
    room, costs, chosen = room_bytes(old, budget), old.costs, list(range(len(old.rows)))
    if costs.sum() > room:
        memories = old.memories()
        chosen = sorted(old.rows_of(memories[i].id for i in choose(memories, room)))
        if (taken := costs[chosen].sum()) > room:
            raise BudgetError("policy", expected=f"memories of at most {room} bytes", found=str(taken))
    return replace(_with_rows(old, chosen), ledger=replace(old.ledger, budget_bytes=budget))


def forgotten(old: Content, id: str) -> Content:
    """The content without a memory and all copies of it: image, W code, anchors alike, fingerprints, mentions."""
    ledger, codes, (row,) = old.ledger, old.codes(), old.rows_of([id])
    memory, copies = old.rows[row], (codes[len(old.rows) :] == codes[row]).all(axis=1)
    same = (old.seen["sha256"] == memory["sha256"]).all(axis=1) | (old.seen["dhash"] == memory["dhash"])
    history = tuple(_censored(entry, (id, memory["sha256"].tobytes().hex())) for entry in ledger.history)
    traces = (*ledger.forgotten, (id, ledger.model)) if ledger.model else ledger.forgotten
    ledger = replace(ledger, history=history, forgotten=traces)
    return replace(
        old, ledger=ledger, rows=np.delete(old.rows, row), anchors=old.anchors[~copies], seen=old.seen[~same]
    )


def forget_report(id: str, old: Content, new: Content) -> ForgetReport:
    """What went with a memory, and what was computed with its photo and remains."""
    removed = ["image", "W code", "fingerprint", *(["anchor"] if len(new.anchors) < len(old.anchors) else [])]
    removed += ["mentions in the history"] if new.ledger.history != old.ledger.history else []
    model, owner, still = new.ledger.model[:12], new.ledger.owner, list[str]()
    if model:
        still += [f"model {model}: it was tuned with this photo; tune it anew from the base to be rid of that"]
    if owner is not None:
        still += [f"owner: the mean of {owner.count} identity embeddings, this photo's among them"]
    return ForgetReport(id, tuple(removed), tuple(still))


def _censored(value: Any, traces: tuple[str, str]) -> Any:
    """A JSON value without the photo's id and hash."""
    if isinstance(value, str):
        return "forgotten" if any(trace in value for trace in traces) else value
    if isinstance(value, Mapping):
        return {_censored(name, traces): _censored(one, traces) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_censored(one, traces) for one in value]
    return value
