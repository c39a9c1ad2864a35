"""The resume file: how far an interrupted update had come, sealed like the workspace."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import EverfaceError
from everface.engine.latents.invert import Inversion
from everface.engine.learn.tuning import TuningState
from everface.engine.learn.values import Checkpoint
from everface.engine.vault import Seal

_CODES, _LOSSES, _TRACE, _LEARNER = "anchors.codes", "anchors.losses", "tuning.losses", "learner."
_NAME, _DIGEST_BYTES = b"resume %d", 16


def fingerprint(*parts: str) -> str:
    """A hash of all that decides what an update does; a resume file of another update is not taken up."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class ResumeFile:
    """``<workspace>/resume.part``: weights, moments and W codes of the update under way; never photos.

    It is written beside and renamed, so that it is whole or absent. Losing it costs time, nothing else.

    Args:
        workspace: the folder.
        seal: of its bytes.
        key: fingerprint of the update under way.
    """

    def __init__(self, workspace: Path, seal: Seal, key: str) -> None:
        self._path, self._seal, self._key = workspace / "resume.part", seal, key

    def write(self, checkpoint: Checkpoint) -> None:
        """Replaces the file."""
        arrays: dict[str, NDArray[Any]] = {_CODES: checkpoint.anchors.codes, _LOSSES: checkpoint.anchors.losses}
        if checkpoint.tuning is not None:
            arrays |= {_LEARNER + name: value for name, value in checkpoint.tuning.learner.items()}
            arrays[_TRACE] = np.array(checkpoint.tuning.losses, np.float64)
        temporary = self._path.with_suffix(".writing")
        try:
            with open(temporary, "wb") as file:
                names = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
                self._append(file, 0, json.dumps([self._key, names]).encode())
                # One by one: together, sealed, they would take several times the memory of the model.
                for number, array in enumerate(arrays.values(), 1):
                    self._append(file, number, array.tobytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError:
            # A full disk must not end the update: it can still finish, or say so when it commits.
            temporary.unlink(missing_ok=True)

    def read(self) -> Checkpoint | None:
        """What an earlier run of the same update had reached, None where there is nothing usable."""
        try:
            with open(self._path, "rb") as file:
                key, names = json.loads(self._next(file, 0))
                if key != self._key:
                    return None
                arrays = {
                    name: np.frombuffer(self._next(file, number), np.dtype(dtype)).reshape(shape)
                    for number, (name, dtype, shape) in enumerate(names, 1)
                }
            anchors = Inversion(arrays[_CODES], arrays[_LOSSES])
        except (OSError, EverfaceError, KeyError, ValueError, TypeError):
            return None
        trace = arrays.get(_TRACE)
        if trace is None:
            return Checkpoint(anchors)
        state = {name.removeprefix(_LEARNER): value for name, value in arrays.items() if name.startswith(_LEARNER)}
        return Checkpoint(anchors, TuningState(state, tuple(trace.tolist())))

    def _append(self, file: BinaryIO, number: int, plain: bytes) -> None:
        sealed = self._seal.seal(plain, _NAME % number)
        file.write(len(sealed).to_bytes(8, "little") + _digest(sealed))
        file.write(sealed)

    def _next(self, file: BinaryIO, number: int) -> bytes:
        size, digest = int.from_bytes(file.read(8), "little"), file.read(_DIGEST_BYTES)
        sealed = file.read(min(size, self._path.stat().st_size))
        if len(sealed) != size or _digest(sealed) != digest:
            raise ValueError(size)
        return self._seal.unseal(sealed, _NAME % number)

    def remove(self) -> None:
        """Forgets the update under way."""
        for path in (self._path, self._path.with_suffix(".writing")):
            path.unlink(missing_ok=True)


def _digest(sealed: bytes) -> bytes:
    return hashlib.blake2b(sealed, digest_size=_DIGEST_BYTES).digest()
