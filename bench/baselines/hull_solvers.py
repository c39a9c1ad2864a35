"""Solvers that a user could pick for projecting onto a hull, each as ``solve(queries, vertices) -> weights``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Solver:
    """A peer.

    Attributes:
        packages: distributions that must be installed.
        solve: (queries [n, d], vertices [m, d]) to weights [n, m].
        types: the floating types that it works in.
        batched: takes all queries in one call, so that it needs many to show its speed.
    """

    packages: tuple[str, ...]
    solve: Callable[[Array, Array], Array]
    types: tuple[str, ...] = ("float64",)
    batched: bool = False


def _spams(queries: Array, vertices: Array) -> Array:
    spams = importlib.import_module("spams")
    found = spams.decompSimplex(np.asfortranarray(queries.T), np.asfortranarray(vertices.T), numThreads=2)
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found).T


def _gram(vertices: Array) -> tuple[Array, Array]:
    """The Gram matrix of the centred vertices, barely regularised where it must be factored, and the centre."""
    centre = vertices.mean(axis=0)
    shifted = vertices - centre
    gram = shifted @ shifted.T
    # A constant on every entry changes nothing on sum w = 1 and takes the zero eigenvalue of centring away.
    return gram + np.trace(gram) / len(gram), centre


def _quadprog(queries: Array, vertices: Array) -> Array:
    quadprog = importlib.import_module("quadprog")
    gram, centre = _gram(vertices)
    m = len(vertices)
    equal = np.hstack([np.ones((m, 1)), np.eye(m)])
    right = np.r_[1.0, np.zeros(m)]
    linear = (queries - centre) @ (vertices - centre).T
    return np.stack([quadprog.solve_qp(gram, row, equal, right, 1)[0] for row in linear])


def _daqp(queries: Array, vertices: Array) -> Array:
    daqp = importlib.import_module("daqp")
    gram, centre = _gram(vertices)
    m = len(vertices)
    upper, lower = np.r_[np.full(m, 1e30), 1.0], np.r_[np.zeros(m), 1.0]
    sense = np.r_[np.zeros(m), 5].astype(np.int32)
    linear = (queries - centre) @ (vertices - centre).T
    return np.stack([daqp.solve(gram, -row, np.ones((1, m)), upper, lower, sense)[0] for row in linear])


SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "spams": Solver(("spams-bin",), _spams, ("float64", "float32"), batched=True),
        "daqp": Solver(("daqp",), _daqp),
        "quadprog": Solver(("quadprog",), _quadprog),
    }
)
