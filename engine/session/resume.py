"""The resume file: how far an interrupted update had come, sealed like the workspace."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import EverfaceError
from everface.engine.generators.weights import pack_arrays, read_arrays, read_metadata
from everface.engine.latents.invert import Inversion
from everface.engine.learn.tuning import TuningState
from everface.engine.learn.values import Checkpoint
from everface.engine.vault import Seal

_CODES, _LOSSES, _TRACE, _LEARNER = "anchors.codes", "anchors.losses", "tuning.losses", "learner."
_NAME = b"resume"


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
        content = self._seal.seal(pack_arrays(arrays, {"key": self._key}), _NAME)
        temporary = self._path.with_suffix(".writing")
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError:
            # A full disk must not end the update: it can still finish, or say so when it commits.
            temporary.unlink(missing_ok=True)

    def read(self) -> Checkpoint | None:
        """What an earlier run of the same update had reached, None where there is nothing usable."""
        try:
            content = self._seal.unseal(self._path.read_bytes(), _NAME)
            if read_metadata(content, "resume file").get("key") != self._key:
                return None
            arrays = read_arrays(content, "resume file")
            anchors = Inversion(arrays[_CODES], arrays[_LOSSES])
        except (OSError, EverfaceError, KeyError):
            return None
        trace = arrays.get(_TRACE)
        if trace is None:
            return Checkpoint(anchors)
        state = {name.removeprefix(_LEARNER): value for name, value in arrays.items() if name.startswith(_LEARNER)}
        return Checkpoint(anchors, TuningState(state, tuple(trace.tolist())))

    def remove(self) -> None:
        """Forgets the update under way."""
        for path in (self._path, self._path.with_suffix(".writing")):
            path.unlink(missing_ok=True)
