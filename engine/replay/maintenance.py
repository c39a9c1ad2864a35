"""Content to content: another budget, a forgotten photo, denser codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError
from everface.engine.replay.chunk import Item
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.content import Content
from everface.engine.replay.latent_code import dequantize
from everface.engine.replay.ledger_share import bounded_seen, rebounded
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.values import ForgetReport
from everface.engine.vault import Seal

__all__ = ["Choose", "CompactReport", "evicted", "pool_of_items", "recoded", "without"]

Choose = Callable[[Pool, int], NDArray[np.int64]]


@dataclass(frozen=True)
class CompactReport:
    """What ``compact`` did.

    Attributes:
        transcoded: memories that got fewer bytes.
        examined: memories that were encoded to see.
        bytes_before: bytes of all memories before.
        bytes_after: bytes of all memories after.
        file_bytes: size of ``replay.db`` after.
    """

    transcoded: int
    examined: int
    bytes_before: int
    bytes_after: int
    file_bytes: int


def pool_of_items(items: Sequence[Item], seal: Seal) -> Pool:
    """Stored memories as a policy sees them."""
    width = len(items[0].code) - 4 if items else 0
    return Pool(
        latents=dequantize([item.code for item in items], width).astype(np.float64).reshape(len(items), width),
        groups=np.array([item.timestamp for item in items], np.int64),
        bytes=np.array([item.cost(seal) for item in items], np.int64),
        spread=np.array([item.spread for item in items], np.float64),
        loss=np.array([item.loss for item in items], np.float64),
    )


def recoded(item: Item, image: bytes, choice: CodecChoice) -> Item:
    """The item with its image encoded anew, where that takes fewer bytes; otherwise the item as it is."""
    pixels = decode(image, item.codec, item.resolution)
    fewer, resolution = encode(pixels, choice)
    if len(fewer) >= len(image):
        return item
    number = codec(choice.name).number
    return replace(
        item, image=fewer, image_bytes=len(fewer), place=None, codec=number, resolution=resolution, loss=item.loss
    )


def evicted(content: Content, budget_bytes: int, room_bytes: int, choose: Choose, seal: Seal) -> Content:
    """The content under another budget, without the memories that no longer fit.

    Raises:
        BudgetError: the policy kept more than fits.
    """
    ledger = rebounded(replace(content.ledger, budget_bytes=budget_bytes))
    items = content.items
    if items and sum(item.cost(seal) for item in items) > room_bytes:
        pool = pool_of_items(items, seal)
        chosen = choose(pool, room_bytes)
        if int(pool.bytes[chosen].sum()) > room_bytes:
            raise BudgetError("policy", expected=f"at most {room_bytes} bytes", found=str(pool.bytes[chosen].sum()))
        items = tuple(items[i] for i in chosen)
    held = {(item.sha, item.dhash) for item in items}
    ledger = bounded_seen(ledger, [(item.sha, item.dhash) for item in content.items], held)
    ledger = replace(ledger, losses={item.id: item.loss for item in items})
    return replace(content, ledger=ledger, items=items)


def without(content: Content, item: Item) -> tuple[Content, ForgetReport]:
    """The content without a photo and all copies of it: image, W code, anchor, fingerprints and mentions."""
    ledger = content.ledger
    anchors = {one: tuple(code for code in codes if code != item.code) for one, codes in content.anchors.items()}
    anchors = {one: codes for one, codes in anchors.items() if codes}
    seen = tuple(one for one in ledger.seen if one[0] != item.sha and one[1] != item.dhash)
    history = tuple(_censored(entry, item) for entry in ledger.history)
    removed = ["image", "W code", "fingerprint"]
    removed += ["anchor"] if anchors != content.anchors else []
    removed += ["mentions in the history"] if history != ledger.history else []
    still = []
    if ledger.model:
        still.append(
            f"model {ledger.model[:12]}: it was tuned with this photo; tune it anew from the base to be rid of that"
        )
    if ledger.owner is not None:
        still.append(f"owner: the mean of {ledger.owner.count} identity embeddings, this photo's among them")
    items = tuple(one for one in content.items if one.id != item.id)
    ledger = replace(
        ledger, seen=seen, history=history, losses={one.id: one.loss for one in items},
        forgotten=(*ledger.forgotten, (item.id, ledger.model)) if ledger.model else ledger.forgotten,
    )  # fmt: skip
    report = ForgetReport(item.id, tuple(removed), tuple(still))
    return replace(content, ledger=ledger, items=items, anchors=anchors), report


def _censored(value: Any, item: Item) -> Any:
    """A JSON value without the photo's id and hash."""
    if isinstance(value, str):
        mentioned = item.id in value or item.sha.hex() in value
        return "forgotten" if mentioned else value
    if isinstance(value, Mapping):
        return {_censored(name, item): _censored(one, item) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_censored(one, item) for one in value]
    return value
