"""From one content to the next: an update, another budget, a forgotten photo, denser images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError, EverfaceError, UsageError
from everface.engine.replay.budget import bounded_seen, memory_costs, with_history, within_shares
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.content import ANCHOR_TYPE, SEEN_TYPE, SHA_BYTES, Content, row_type
from everface.engine.replay.latent_code import dequantize, halves, quantize
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.values import Commit, ForgetReport, Memory, NewMemory

__all__ = ["Choose", "committed", "evicted", "fingerprints", "forgotten", "listed", "new_rows", "pool_of", "recoded"]

Choose = Callable[[Pool, int], NDArray[np.int64]]
Encoded = tuple[bytes, int]  # an image's bytes and its stored side


def new_rows(new: Sequence[NewMemory], encoded: Sequence[Encoded], choice: CodecChoice) -> NDArray[np.void]:
    """[n] rows of new memories; reasons and sources are not set.

    Raises:
        UsageError: a value is out of range.
    """
    views = [halves(one.view, "view") for one in new]
    embeddings = [halves(one.embedding, "embedding") for one in new]
    if len({(len(a), len(b)) for a, b in zip(views, embeddings, strict=True)}) > 1:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    rows = np.zeros(len(new), row_type(len(views[0]), len(embeddings[0])) if new else row_type())
    if not new:
        return rows
    prints = fingerprints([(one.sha256, one.dhash) for one in new])
    for name in ("sha256", "dhash"):
        rows[name] = prints[name]
    for name, values in (("view", views), ("embedding", embeddings)):
        if name in (rows.dtype.names or ()):
            rows[name] = np.stack(values)
    rows["timestamp"], rows["spread"] = [one.timestamp for one in new], [one.spread for one in new]
    rows["loss"] = np.clip([one.loss for one in new], -6e4, 6e4)
    rows["length"], rows["resolution"] = [len(image) for image, _ in encoded], [side for _, side in encoded]
    rows["codec"] = codec(choice.name).number
    return rows


def fingerprints(photos: Sequence[tuple[str, int]]) -> NDArray[np.void]:
    """[n] of ``SEEN_TYPE`` from (SHA-256 in hexadecimal digits, dhash).

    Raises:
        UsageError: not such values.
    """
    prints = np.zeros(len(photos), SEEN_TYPE)
    for i, (sha256, dhash) in enumerate(photos):
        if not 0 <= dhash < 1 << 64:
            raise UsageError("dhash", expected="64 bits", found=str(dhash))
        try:
            raw = bytes.fromhex(sha256)[:SHA_BYTES].ljust(SHA_BYTES, b"\0")
        except ValueError:
            raise UsageError("sha256", expected="hexadecimal digits", found=repr(sha256)) from None
        prints[i] = (np.frombuffer(raw, np.uint8), dhash)
    return prints


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
    ledger = old.ledger
    if commit.timestamp != ledger.timestamps:
        raise UsageError("commit.timestamp", expected=str(ledger.timestamps), found=str(commit.timestamp))
    kept, gone, fresh = old.rows[list(keep)], np.delete(old.rows, list(keep)), []
    for i, row in enumerate(keep):
        kept["loss"][i] = np.clip(commit.losses.get(old.ids[row], kept["loss"][i]), -6e4, 6e4)
    added = new_rows(commit.add, encoded, ledger.choice)
    scale, levels = _codes([one.w for one in commit.add], old.dimension)
    added["scale"] = scale
    for i, (image, _) in enumerate(encoded):
        added["code"][i], added["image"][i] = ~(2 * i), ~(2 * i + 1)
        fresh += [levels[i].tobytes(), image]
    reasons = (*ledger.reasons, *(one.reason[:200] for one in commit.add))
    added["reason"] = len(ledger.reasons) + np.arange(len(added))
    rows = _joined(kept, added)
    held = {(a.tobytes(), b.tobytes()) for a, b in zip(scale, levels, strict=True)}
    anchors, fresh = _anchors(old, commit, gone, fresh, held)
    ledger = with_history(
        replace(
            ledger, timestamps=ledger.timestamps + 1, model=commit.model, reasons=reasons,
            owner=commit.owner if commit.owner is not None else ledger.owner,
            forgotten=() if commit.retuned else ledger.forgotten,
            days=ledger.days | {commit.timestamp: commit.day} if commit.day else ledger.days,
        ),
        commit.history,
    )  # fmt: skip
    seen = bounded_seen([old.seen, _prints(gone), fingerprints(commit.seen)], ledger.budget_bytes, _prints(added))
    dimension = old.dimension or levels.shape[1] or (0 if commit.anchors is None else int(commit.anchors.shape[1]))
    new = _tidy(Content(ledger, rows, anchors, seen, dimension, tuple(fresh)))
    if len(new.row_of) != len(rows):
        raise UsageError("commit", expected="each photo once", found="one twice", remedy="drop duplicates")
    return new


def _codes(ws: Sequence[NDArray[np.floating]], dimension: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    if not len(ws):
        return np.zeros((0, 2), np.float16), np.zeros((0, dimension), np.uint8)
    if len({np.shape(w) for w in ws} | ({(dimension,)} if dimension else set())) > 1:
        raise UsageError("w", expected=f"codes of {dimension or len(ws[0])} numbers", found="codes of other lengths")
    return quantize(np.stack([np.asarray(w, np.float32) for w in ws]))


def _joined(kept: NDArray[np.void], added: NDArray[np.void]) -> NDArray[np.void]:
    if not len(kept) or not len(added):
        return added if len(added) else kept
    if kept.dtype != added.dtype:
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    return np.concatenate([kept, added])


def _anchors(
    old: Content, commit: Commit, gone: NDArray[np.void], fresh: list[bytes], held: set[tuple[bytes, bytes]]
) -> tuple[NDArray[np.void], list[bytes]]:
    """Old anchors, those of evicted memories, and new ones; never a code ``held`` by a new memory."""
    scale, levels = _codes([] if commit.anchors is None else list(commit.anchors), old.dimension)
    distinct = {(a.tobytes(), b.tobytes()): i for i, (a, b) in enumerate(zip(scale, levels, strict=True))}
    chosen = sorted(i for code, i in distinct.items() if code not in held)
    new = np.zeros(len(chosen), ANCHOR_TYPE)
    new["timestamp"], new["scale"] = commit.timestamp, scale[chosen]
    new["code"] = [~(len(fresh) + i) for i in range(len(chosen))]
    return _with_anchors(old.anchors, gone, new), [*fresh, *(levels[i].tobytes() for i in chosen)]


def _with_anchors(*parts: NDArray[np.void]) -> NDArray[np.void]:
    """Anchors, and memories that become anchors, ordered by timestamp."""
    anchors = np.zeros(sum(map(len, parts)), ANCHOR_TYPE)
    for name in ANCHOR_TYPE.names or ():
        anchors[name] = np.concatenate([part[name] for part in parts])
    return anchors[np.argsort(anchors["timestamp"], kind="stable")]


def _prints(rows: NDArray[np.void]) -> NDArray[np.void]:
    prints = np.zeros(len(rows), SEEN_TYPE)
    prints["sha256"], prints["dhash"] = rows["sha256"], rows["dhash"]
    return prints


def _tidy(content: Content) -> Content:
    """Without reasons that no memory has, and each once."""
    texts = [content.ledger.reasons[i] for i in content.rows["reason"]]
    reasons = tuple(sorted(set(texts)))
    number, rows = {text: i for i, text in enumerate(reasons)}, content.rows.copy()
    rows["reason"] = [number[text] for text in texts]
    return replace(content, rows=rows, ledger=replace(content.ledger, reasons=reasons))


def pool_of(content: Content, levels: NDArray[np.uint8]) -> Pool:
    """Stored memories, whose codes are given, as a policy sees them."""
    rows = content.rows
    return Pool(
        latents=dequantize(rows["scale"], levels).astype(np.float64),
        groups=rows["timestamp"].astype(np.int64),
        bytes=memory_costs(rows, content.dimension),
        spread=rows["spread"].astype(np.float64),
        loss=rows["loss"].astype(np.float64),
    )


def recoded(content: Content, images: Mapping[int, bytes], choice: CodecChoice) -> Content:
    """The content with the images of some rows encoded anew, where that takes fewer bytes."""
    rows, fresh = content.rows.copy(), list(content.fresh)
    number = codec(choice.name).number
    for i, image in images.items():
        pixels = decode(image, int(rows["codec"][i]), int(rows["resolution"][i]))
        fewer, side = encode(pixels, choice)
        if len(fewer) < len(image):
            rows["image"][i], rows["length"][i], rows["codec"][i], rows["resolution"][i] = (
                ~len(fresh), len(fewer), number, side,
            )  # fmt: skip
            fresh.append(fewer)
    return replace(content, rows=rows, fresh=tuple(fresh))


def evicted(content: Content, budget_bytes: int, room: int, choose: Callable[[], NDArray[np.int64]]) -> Content:
    """The content under another budget, without the memories that no longer fit.

    Args:
        content: the content before.
        budget_bytes: the new budget.
        room: bytes that its memories may take.
        choose: rows of those to keep; asked where not all fit.

    Raises:
        BudgetError: more were chosen than fit.
    """
    new = within_shares(content, budget_bytes)
    costs = memory_costs(content.rows, content.dimension)
    if costs.sum() <= room:
        return new
    chosen = np.sort(np.asarray(choose(), np.int64))
    if costs[chosen].sum() > room:
        raise BudgetError("policy", expected=f"memories of at most {room} bytes", found=f"{costs[chosen].sum()}")
    gone = np.delete(content.rows, chosen)
    seen = bounded_seen([content.seen, _prints(gone)], budget_bytes)
    anchors = _with_anchors(content.anchors, gone)
    return _tidy(replace(new, rows=content.rows[chosen], anchors=anchors, seen=seen))


def forgotten(content: Content, row: int, copies: NDArray[np.bool_]) -> tuple[Content, ForgetReport]:
    """The content without a memory and all copies of it: image, W code, anchor, fingerprints and mentions.

    Args:
        content: the content before.
        row: of the memory.
        copies: [m] which anchors have its W code.
    """
    ledger, photo, id = content.ledger, content.rows[row], content.ids[row]
    sha = photo["sha256"].tobytes().hex()
    same = (content.seen["sha256"] == photo["sha256"]).all(axis=1) | (content.seen["dhash"] == photo["dhash"])
    history = tuple(_censored(entry, (id, sha)) for entry in ledger.history)
    removed = ["image", "W code", "fingerprint"]
    removed += ["anchor"] if copies.any() else []
    removed += ["mentions in the history"] if history != ledger.history else []
    still = []
    if ledger.model:
        still.append(
            f"model {ledger.model[:12]}: it was tuned with this photo; tune it anew from the base to be rid of that"
        )
    if ledger.owner is not None:
        still.append(f"owner: the mean of {ledger.owner.count} identity embeddings, this photo's among them")
    traces = (*ledger.forgotten, (id, ledger.model)) if ledger.model else ledger.forgotten
    new = replace(
        content, ledger=replace(ledger, history=history, forgotten=traces), rows=np.delete(content.rows, row),
        anchors=content.anchors[~copies], seen=content.seen[~same],
    )  # fmt: skip
    return _tidy(new), ForgetReport(id, tuple(removed), tuple(still))


def _censored(value: Any, traces: tuple[str, str]) -> Any:
    """A JSON value without the photo's id and hash."""
    if isinstance(value, str):
        return "forgotten" if any(trace in value for trace in traces) else value
    if isinstance(value, Mapping):
        return {_censored(name, traces): _censored(one, traces) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_censored(one, traces) for one in value]
    return value


def listed(content: Content, levels: NDArray[np.uint8]) -> tuple[Memory, ...]:
    """The memories with their codes, ordered by timestamp, then id."""
    rows, names = content.rows, content.rows.dtype.names or ()
    ws, costs = dequantize(rows["scale"], levels), memory_costs(rows, content.dimension)
    return tuple(
        Memory(
            id=content.ids[i], timestamp=int(row["timestamp"]), codec=codec_name(int(row["codec"])),
            resolution=int(row["resolution"]), bytes=int(costs[i]), w=ws[i], spread=float(row["spread"]),
            loss=float(row["loss"]), dhash=int(row["dhash"]), source_sha256=row["sha256"].tobytes().hex(),
            reason=content.ledger.reasons[row["reason"]],
            **{name: row[name].astype(np.float32) for name in ("view", "embedding") if name in names},
        )
        for i, row in sorted(enumerate(rows), key=lambda one: (int(one[1]["timestamp"]), content.ids[one[0]]))
    )  # fmt: skip


def codec_name(number: int) -> str:
    """Name of a stored codec number; one that is not installed here has its number."""
    try:
        return codec(number).name
    except EverfaceError:
        return f"codec {number}"
