"""Measures editing directions of a base generator: ``python tools/make_directions.py BASE OUT [--samples N]``.

BASE is an embedded base's name or a .safetensors file; OUT, by custom BASE-directions.safetensors beside it. Codes are
drawn, rendered and measured; then the directions are judged by moving fresh codes along them: the effect in their unit,
and how far the identity drifts. `everface pretrain --dimension 3d` takes the pose out of W by them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import EngineConfig
from everface.engine.latents.directions import Direction, directions_to_bytes, fit_direction
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.photos import FaceModels
from everface.engine.photos.attributes import UNITS, face_attributes
from everface.engine.pictures import to_uint8

SIZES = {"pose": 10.0, "pitch": 8.0, "smile": 1.0, "light": 1.0, "brightness": 25.0}


@dataclass(frozen=True, eq=False)
class Eye:
    """What draws and what looks."""

    backend: Backend
    faces: FaceModels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--check", type=int, default=100)
    chosen = parser.parse_args()
    eye = Eye(open_backend(EngineConfig(base=chosen.base)), FaceModels.load())
    codes = mapped(eye, chosen.samples, seed=11)
    values, seen = measure(eye, codes)
    codes = codes[seen]
    print(f"a face was found on {seen.sum()} of {len(seen)} samples")
    directions = []
    for name in SIZES:
        beside = np.column_stack([values[other] for other in SIZES if other != name])
        directions.append(fit_direction(name, UNITS[name], codes, values[name], beside=beside))
    for i, (one, size) in enumerate(zip(directions, SIZES.values(), strict=True)):
        # The picture follows less than the linear model says: lengthen the step by what is lacking.
        moved, _ = effect(eye, one, size, chosen.check, seed=13)
        directions[i] = replace(one, step=one.step * np.float32(np.clip(size / max(moved, 1e-6), 0.5, 3.0)))
        moved, same = effect(eye, directions[i], size, chosen.check, seed=12)
        print(
            f"{one.name:11s} prediction r = {one.correlation:.2f}; asked {size:+g} {one.unit}, got {moved:+.2f} "
            f"(median); identity cosine to the unedited picture {same:.3f}"
        )
    chosen.out.write_bytes(directions_to_bytes(directions, eye.backend.base.sha256))


def mapped(eye: Eye, n: int, seed: int) -> NDArray[np.float32]:
    """W codes [n, d], truncated by 0.8."""
    backend = eye.backend
    z = np.random.default_rng(seed).standard_normal((n, backend.shape.z_dim), np.float32)
    return backend.mean + np.float32(0.8) * (backend.model(None).map(z) - backend.mean)


def pictures(eye: Eye, codes: NDArray[np.float32]) -> NDArray[np.uint8]:
    return to_uint8(eye.backend.model(None).render(codes))


def measure(eye: Eye, codes: NDArray[np.float32]) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Quantities of each code's picture where a face is found."""
    rows, seen = [], []
    for image in pictures(eye, codes):
        found = face_attributes(eye.faces, image)
        seen.append(found is not None)
        if found is not None:
            rows.append(found.values)
    return {name: np.array([row[name] for row in rows]) for name in SIZES}, np.array(seen)


def effect(eye: Eye, direction: Direction, size: float, n: int, seed: int) -> tuple[float, float]:
    """Moves fresh codes by an amount: the median effect in the direction's unit, and the mean identity cosine."""
    codes = mapped(eye, n, seed)
    moved = codes + np.float32(size) * direction.step
    (before, seen), (after, still) = measure(eye, codes), measure(eye, moved)
    both = seen & still
    change = after[direction.name][both[still]] - before[direction.name][both[seen]]
    a, b = (eye.backend.embed(pictures(eye, one[both])) for one in (codes, moved))
    same = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.median(change)), float(same.mean())


if __name__ == "__main__":
    main()
