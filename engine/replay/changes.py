"""From one content to the next: an update, another budget, a forgotten photo, denser images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.codec.latent import halves, quantize
from everface.engine.replay.content import ANCHOR, SEEN, Content, Table, moved, row_type
from everface.engine.replay.values import Commit, ForgetReport, NewMemory

Encoded = tuple[bytes, int]  # an image's bytes and its stored side


def new_content(new: Sequence[NewMemory], encoded: Sequence[Encoded], like: Content) -> Content:
    """New memories as a content of their own, with the ledger of another one and codes of its dimension.

    Raises:
        UsageError: a value is out of range.
    """
    views, embeddings = ([halves(getattr(one, name), name) for one in new] for name in ("view", "embedding"))
    if len({(len(a), len(b)) for a, b in zip(views, embeddings, strict=True)}) > 1:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    rows = np.zeros(len(new), row_type(len(views[0]), len(embeddings[0])) if new else like.rows.dtype)
    for name, values in (("view", views), ("embedding", embeddings)):
        if new and len(values[0]):
            rows[name] = np.stack(values)
    prints = _prints([(one.sha256, one.dhash) for one in new])
    rows["sha256"], rows["dhash"] = prints["sha256"], prints["dhash"]
    rows["timestamp"], rows["spread"] = [one.timestamp for one in new], [one.spread for one in new]
    rows["loss"] = np.clip([one.loss for one in new], -6e4, 6e4)
    rows["length"], rows["resolution"] = [len(image) for image, _ in encoded], [side for _, side in encoded]
    rows["codec"], rows["reason"] = codec(like.ledger.choice.name).number, np.arange(len(new))
    scale, levels = _codes([one.w for one in new], like.dimension)
    rows["scale"], rows["code"], rows["image"] = scale, ~np.arange(len(new)), ~(len(new) + np.arange(len(new)))
    ledger = replace(like.ledger, reasons=tuple(one.reason[:200] for one in new))
    fresh = (*(row.tobytes() for row in levels), *(image for image, _ in encoded))
    return Content(ledger, rows, dimension=levels.shape[1], fresh=fresh)


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


def _codes(ws: Sequence[NDArray[np.floating]], dimension: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    if not len(ws):
        return np.zeros((0, 2), np.float16), np.zeros((0, dimension), np.uint8)
    if len({np.shape(w) for w in ws} | ({(dimension,)} if dimension else set())) > 1:
        raise UsageError("w", expected=f"codes of {dimension or len(ws[0])} numbers", found="codes of other lengths")
    return quantize(np.stack([np.asarray(w, np.float32) for w in ws]))


def committed(old: Content, commit: Commit, keep: Sequence[int], encoded: Sequence[Encoded]) -> Content:
    """The content after an update.

    Args:
        old: the content before.
        commit: the update.
        keep: rows of the memories that stay.
        encoded: the images of the new memories.

    Raises:
        UsageError: a wrong timestamp, a photo twice, or values out of range.
    """
    ledger, added = old.ledger, new_content(commit.add, encoded, old)
    if commit.timestamp != ledger.timestamps:
        raise UsageError("commit.timestamp", expected=str(ledger.timestamps), found=str(commit.timestamp))
    kept, gone = old.rows[list(keep)], np.delete(old.rows, list(keep))
    losses = {old.row_of.get(id): loss for id, loss in commit.losses.items()}
    kept["loss"] = np.clip([losses.get(row, kept["loss"][i]) for i, row in enumerate(keep)], -6e4, 6e4)
    if len(kept) and len(added.rows) and kept.dtype != added.rows.dtype:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    added.rows["reason"] += len(ledger.reasons)
    rows = np.concatenate([kept, added.rows]) if len(kept) and len(added.rows) else (kept if len(kept) else added.rows)
    try:
        history = (*ledger.history, *([json.loads(json.dumps(dict(commit.history)))] if commit.history else []))
    except (TypeError, ValueError) as error:
        raise UsageError("commit.history", expected="a JSON-able mapping", found=str(error)) from error
    ledger = replace(
        ledger, timestamps=ledger.timestamps + 1, model=commit.model, history=history,
        reasons=(*ledger.reasons, *added.ledger.reasons), owner=commit.owner or ledger.owner,
        forgotten=() if commit.retuned else ledger.forgotten,
        days={**ledger.days, **({commit.timestamp: commit.day} if commit.day else {})},
    )  # fmt: skip
    anchors, fresh = _new_anchors(commit, added, old.dimension)
    seen = _distinct([old.seen, moved(gone, SEEN), _prints(commit.seen)], moved(added.rows, SEEN))
    dimension = old.dimension or added.dimension or len(fresh[-1] if fresh else b"")
    new = Content(ledger, rows, _by_time(old.anchors, gone, anchors), seen, dimension, fresh)
    if len(new.row_of) != len(rows):
        raise UsageError("commit", expected="each photo once", found="one twice", remedy="drop duplicates")
    return new


def _new_anchors(commit: Commit, added: Content, dimension: int) -> tuple[Table, tuple[bytes, ...]]:
    """The anchors of a commit, each once, but those that a new memory has; and all fresh bytes."""
    scale, levels = _codes([] if commit.anchors is None else list(commit.anchors), dimension)
    codes = {(a.tobytes(), b.tobytes()): i for i, (a, b) in enumerate(zip(scale, levels, strict=True))}
    held = {(a.tobytes(), code) for a, code in zip(added.rows["scale"], added.fresh, strict=False)}
    chosen = sorted(i for code, i in codes.items() if code not in held)
    anchors = np.zeros(len(chosen), ANCHOR)
    anchors["timestamp"], anchors["scale"] = commit.timestamp, scale[chosen]
    anchors["code"] = ~(len(added.fresh) + np.arange(len(chosen)))
    return anchors, (*added.fresh, *(levels[i].tobytes() for i in chosen))


def _by_time(*parts: Table) -> Table:
    """Anchors, and memories that become anchors, ordered by timestamp."""
    anchors = np.concatenate([moved(part, ANCHOR) for part in parts])
    return anchors[np.argsort(anchors["timestamp"], kind="stable")]


def _distinct(parts: Sequence[Table], held: Table) -> Table:
    """Fingerprints joined, each once, without those held with a memory."""
    merged = dict.fromkeys(one.tobytes() for part in parts for one in part)
    known = {one.tobytes() for one in held}
    return np.frombuffer(b"".join(one for one in merged if one not in known), SEEN)


def recoded(content: Content, images: Mapping[int, bytes], choice: CodecChoice) -> Content:
    """The content with the images of some rows encoded anew, where that takes fewer bytes."""
    rows, fresh, number = content.rows.copy(), list(content.fresh), codec(choice.name).number
    for row, image in images.items():
        pixels = decode(image, int(rows["codec"][row]), int(rows["resolution"][row]))
        fewer, side = encode(pixels, choice)
        if len(fewer) < len(image):
            rows["image"][row], rows["length"][row], rows["codec"][row] = ~len(fresh), len(fewer), number
            rows["resolution"][row] = side
            fresh.append(fewer)
    return replace(content, rows=rows, fresh=tuple(fresh))


def evicted(content: Content, budget: int, chosen: NDArray[np.int64]) -> Content:
    """The content under another budget, with the chosen rows alone."""
    rows, gone = content.rows[chosen], np.delete(content.rows, chosen)
    seen = _distinct([content.seen, moved(gone, SEEN)], moved(rows, SEEN))
    ledger = replace(content.ledger, budget_bytes=budget)
    return replace(content, ledger=ledger, rows=rows, anchors=_by_time(content.anchors, gone), seen=seen)


def forgotten(content: Content, id: str, copies: NDArray[np.bool_]) -> tuple[Content, ForgetReport]:
    """The content without a memory and all copies of it: image, W code, fingerprints, mentions, and ``copies`` [m]:
    the anchors that have its W code.
    """
    ledger, row = content.ledger, content.row_of[id]
    sha, dhash = content.rows["sha256"][row], content.rows["dhash"][row]
    same = (content.seen["sha256"] == sha).all(axis=1) | (content.seen["dhash"] == dhash)
    history = tuple(_censored(entry, (id, sha.tobytes().hex())) for entry in ledger.history)
    removed = ["image", "W code", "fingerprint", *(["anchor"] if copies.any() else [])]
    removed += ["mentions in the history"] if history != ledger.history else []
    still = []
    if ledger.model:
        still = [
            f"model {ledger.model[:12]}: it was tuned with this photo; tune it anew from the base to be rid of that"
        ]
    if ledger.owner is not None:
        still += [f"owner: the mean of {ledger.owner.count} identity embeddings, this photo's among them"]
    traces = (*ledger.forgotten, (id, ledger.model)) if ledger.model else ledger.forgotten
    rows, ledger = np.delete(content.rows, row), replace(ledger, history=history, forgotten=traces)
    new = replace(content, ledger=ledger, rows=rows, anchors=content.anchors[~copies], seen=content.seen[~same])
    return new, ForgetReport(id, tuple(removed), tuple(still))


def _censored(value: Any, traces: tuple[str, str]) -> Any:
    """A JSON value without the photo's id and hash."""
    if isinstance(value, str):
        return "forgotten" if any(trace in value for trace in traces) else value
    if isinstance(value, Mapping):
        return {_censored(name, traces): _censored(one, traces) for name, one in value.items()}
    return [_censored(one, traces) for one in value] if isinstance(value, list | tuple) else value
