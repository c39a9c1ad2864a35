"""The resume file: how far an interrupted update had come, sealed like the workspace."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_bytes
from torch import Tensor

from everface.engine.errors import EverfaceError
from everface.engine.generators.tensors import pack_tensors
from everface.engine.tune.loop import TuneState
from everface.engine.vault import Seal

__all__ = ["ResumeFile", "Resumed", "fingerprint"]

_CODES = "captured.codes"
_LOSSES = "captured.losses"
_TRACE = "tune.losses"
_NAME = b"resume"


def fingerprint(*parts: str) -> str:
    """A hash of all that decides what an update does; a resume file of another update is not taken up."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Resumed:
    """What was found: the inverted codes and losses of the photos, and the tuning state if it had begun."""

    codes: Tensor
    losses: Tensor
    tune: TuneState | None


class ResumeFile:
    """``<workspace>/resume.part``: weights, moments and W codes of the update under way; never photos.

    It is written beside and renamed, so that it is whole or absent. Losing it costs time, nothing else.
    """

    def __init__(self, workspace: Path, seal: Seal) -> None:
        self._path, self._seal = workspace / "resume.part", seal

    def write(self, key: str, codes: Tensor, losses: Tensor, state: TuneState | None) -> None:
        """Replaces the file."""
        tensors = {_CODES: codes, _LOSSES: losses}
        if state is not None:
            tensors |= state.tensors
            tensors[_TRACE] = torch.tensor(state.losses, dtype=torch.float64)
        content = self._seal.seal(pack_tensors(tensors, {"key": key}), _NAME)
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

    def read(self, key: str) -> Resumed | None:
        """What an earlier run of the same update had reached, None where there is nothing usable."""
        try:
            content = self._seal.unseal(self._path.read_bytes(), _NAME)
            size = int.from_bytes(content[:8], "little")
            if json.loads(content[8 : 8 + size])["__metadata__"]["key"] != key:
                return None
            tensors = load_bytes(content)
            codes, losses = tensors.pop(_CODES), tensors.pop(_LOSSES)
        except (OSError, EverfaceError, ValueError, KeyError, TypeError):
            return None
        trace = tensors.pop(_TRACE, None)
        if trace is None:
            return Resumed(codes, losses, None)
        steps: NDArray[np.float64] = trace.numpy()
        return Resumed(codes, losses, TuneState(len(steps), tensors, steps.tolist()))

    def remove(self) -> None:
        """Forgets the update under way."""
        for path in (self._path, self._path.with_suffix(".writing")):
            path.unlink(missing_ok=True)
