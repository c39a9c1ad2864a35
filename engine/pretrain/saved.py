"""The state of a run on disk: one safetensors file, replaced as a whole."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from everface.engine.errors import CheckpointError
from everface.engine.generators.tensors import pack_tensors

__all__ = ["RunState", "load_state", "save_state"]


@dataclass(frozen=True, eq=False)
class RunState:
    """How far a run has come.

    Attributes:
        updates: made so far.
        shown: generated pictures shown so far.
        tensors: weights, averages and moments by name.
        curve: one entry a measurement: pictures shown, losses, Frechet distance where it was taken.
        run: what must stay the same from start to end (base, data, settings), as JSON.
    """

    updates: int
    shown: int
    tensors: dict[str, Tensor]
    curve: list[dict[str, Any]]
    run: str


def save_state(path: Path, state: RunState) -> None:
    """Writes beside the file, syncs and renames: a killed run leaves the previous state."""
    told = {
        "updates": str(state.updates),
        "shown": str(state.shown),
        "curve": json.dumps(state.curve),
        "run": state.run,
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(pack_tensors(state.tensors, told))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_state(path: Path) -> RunState:
    """Reads a state.

    Raises:
        CheckpointError: not such a file.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return RunState(int(told["updates"]), int(told["shown"]), tensors, json.loads(told["curve"]), told["run"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        remedy = "delete it to begin anew"
        raise CheckpointError(path.name, expected="the state of a run", found=str(error), remedy=remedy) from error
