"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from everface.engine.errors import UsageError
from everface.engine.replay.policies.base import Policy
from everface.engine.replay.policies.budgeted import Budgeted
from everface.engine.replay.policies.er_hull import ErHull
from everface.engine.replay.policies.er_hull_exact import ErHullExact, HullSearch
from everface.engine.replay.policies.er_hull_volume import ErHullVolume
from everface.engine.replay.policies.er_rand import ErRand
from everface.engine.replay.policies.forgotten import Forgotten
from everface.engine.replay.policies.gdumb import GDumb
from everface.engine.replay.policies.herding import Herding
from everface.engine.replay.policies.k_center import KCenter
from everface.engine.replay.policies.kmeans import KMeans
from everface.engine.replay.policies.lower import Lower
from everface.engine.replay.policies.reservoir import Reservoir
from everface.engine.replay.policies.support import Support
from everface.engine.replay.policies.upper import Upper

__all__ = ["policy", "policy_names"]

_POLICIES: MappingProxyType[str, Callable[[], Policy]] = MappingProxyType(
    {
        "lower": Lower,
        "upper": Upper,
        "er-rand": ErRand,
        "er-hull": ErHull,
        "er-hull-exact": ErHullExact,
        "er-hull-volume": ErHullVolume,
        "hull-search": HullSearch,
        "support": Support,
        "kmeans": KMeans,
        "gdumb": GDumb,
        "reservoir": Reservoir,
        "herding": Herding,
        "k-center": KCenter,
        "budgeted": Budgeted,
        "forgotten": Forgotten,
    }
)


def policy_names() -> tuple[str, ...]:
    """The names of all policies, the paper's first."""
    return tuple(_POLICIES)


def policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        UsageError: no such policy; the message lists those there are.
    """
    make = _POLICIES.get(name)
    if make is None:
        raise UsageError("policy", expected=f"one of {', '.join(_POLICIES)}", found=repr(name), remedy="choose one")
    return make()
