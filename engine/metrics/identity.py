"""How like a person samples are, from embeddings of any face embedder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

Embeddings = NDArray[np.floating]


def best_cosines(samples: Embeddings, references: Embeddings) -> NDArray[np.float64]:
    """Each sample's best cosine to any reference (paper, evaluation of synthesis: ID).

    Args:
        samples: [n, d] embeddings of generated images; any length above 0.
        references: [m, d] embeddings of real photos of the person.

    Returns:
        [n] in [-1, 1].

    Raises:
        UsageError: not such arrays, or an embedding is zero or not finite.
    """
    a, b = _normalised("samples", samples), _normalised("references", references)
    if a.shape[1] != b.shape[1]:
        found = f"{a.shape[1]} and {b.shape[1]}"
        remedy = "use one embedder for both"
        raise UsageError("samples and references", expected="embeddings of one length", found=found, remedy=remedy)
    return np.asarray(np.clip(a @ b.T, -1, 1).max(axis=1))


def mean_best_cosine(samples: Embeddings, references: Embeddings) -> float:
    """Mean over samples of ``best_cosines``: the paper's ID of a set of samples. Arguments and errors as there."""
    return float(best_cosines(samples, references).mean())


def _normalised(name: str, embeddings: Embeddings) -> NDArray[np.float64]:
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise UsageError(name, expected="shape [n, d], not empty", found=f"shape {embeddings.shape}")
    x = embeddings.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        remedy = "drop images in which no face could be embedded"
        raise UsageError(name, expected="finite embeddings that are not zero", found="others", remedy=remedy)
    return np.asarray(x / length)
