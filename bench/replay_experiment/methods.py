"""Methods and buffers by name.

A method is a replay policy of the engine and what is done beside it: ``er-hull``, ``er-hull-exact/distil``,
``budgeted/distil/by-loss``. A buffer is a count of photos (``b=3``), or bytes: ``64KiB``, or ``3png``, the bytes of
three lossless PNG files of that person's photos at the training resolution.

Two references keep every photo and are tuned from the base, with as many updates as a sequence has had by then:
``upper`` on all timestamps, and ``cumulative`` at every timestamp on all until then (cumulative training of the
continual-learning literature). A sequence's average over time has models that have seen little yet, and so has
``cumulative``'s; ``upper``'s has none. ``base`` is the base that nobody tuned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from everface.bench.keeping import Keeping
from everface.bench.sequence import CUMULATIVE, REFERENCES
from everface.engine.config import parse_bytes
from everface.engine.errors import UsageError
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.codec.latent import code_bytes
from everface.engine.replay.policies.registry import policy

LOWER, BASE = "lower", "base"
CODEC = CodecChoice("avif", 60, 6)
"""Of all methods where bytes are counted; about 0.6 KB a photo of 64 pixels."""
EXTRAS = {
    "distil": "also replays the previous model's own pictures at anchors of earlier timestamps",
    "by-loss": "replays photos in proportion to their loss under the previous model",
}
_ALL_CODES = 10_000
_CODE_SHARE = 0.4  # of the bytes go to codes without a photo, where a method uses them


@dataclass(frozen=True)
class Method:
    """A policy and its extras.

    Attributes:
        name: all of it.
        policy: the engine's policy; a reference's own name.
        extras: see ``EXTRAS``.
    """

    name: str
    policy: str
    extras: frozenset[str]

    @classmethod
    def of(cls, name: str) -> Method:
        """Reads a name.

        Raises:
            UsageError: no such policy or extra.
        """
        first, *rest = name.split("/")
        if name not in (CUMULATIVE, BASE):
            policy(first)
        for extra in rest:
            if extra not in EXTRAS:
                raise UsageError("method", expected=f"/{', /'.join(EXTRAS)}", found=f"/{extra}", remedy="choose these")
        return cls(name, first, frozenset(rest))

    @property
    def distils(self) -> bool:
        """Whether it replays its own pictures."""
        return "distil" in self.extras


def needs_no_buffer(method: str) -> bool:
    """Whether the buffer's size makes no difference to it."""
    return method in (LOWER, BASE, *REFERENCES)


@dataclass(frozen=True)
class Allowance:
    """What a method may keep.

    Attributes:
        keeping: photos.
        codes: codes without a photo, of all timestamps together, at which it replays its own pictures.
    """

    keeping: Keeping
    codes: int


def allowance(method: Method, buffer: str, png_bytes: float, w_dim: int) -> Allowance:
    """How a buffer is divided.

    Where bytes are counted, a photo's own W code counts too, as do the codes that distillation uses. Where photos are
    counted, codes of all anchors are at hand: every method keeps them to generate from.

    Args:
        method: codes take a share of the bytes where it distils.
        buffer: its name.
        png_bytes: mean bytes of one of the person's photos as PNG.
        w_dim: of the codes.

    Raises:
        UsageError: not such a name.
    """
    code = code_bytes(w_dim)
    if (counted := re.fullmatch(r"b=([0-9]{1,6})", buffer)) is not None:
        return Allowance(Keeping(int(counted[1])), _ALL_CODES if method.distils else 0)
    room = int(int(pngs[1]) * png_bytes) if (pngs := re.fullmatch(r"([0-9]{1,4})png", buffer)) else parse_bytes(buffer)
    for_codes = 0 if not method.distils else room if method.policy == LOWER else int(_CODE_SHARE * room)
    codes = for_codes // code
    return Allowance(Keeping(None, room - codes * code, CODEC, code), codes)
