"""The state of a run: networks and their optimisers as named tensors, in one safetensors file replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from everface.engine.atomic import write_whole
from everface.engine.errors import CheckpointError
from everface.engine.generators.tensors import pack_tensors


@dataclass(frozen=True, eq=False)
class Trained:
    """Networks and optimisers of a run, by name.

    Attributes:
        parts: trained networks and their averages.
        optimisers: Adam for some of them.
    """

    parts: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Adam]

    def tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and moments on the CPU, by name."""
        found = {
            f"{part}.{k}": value for part, module in self.parts.items() for k, value in module.state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            for i, parameter in enumerate(parameters_of(optimiser)):
                for key, value in optimiser.state.get(parameter, {}).items():
                    found[f"adam.{name}.{i}.{key}"] = value
        return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse of ``tensors``; raises KeyError or RuntimeError for those of another run."""
        for part, module in self.parts.items():
            module.load_state_dict(_under(tensors, f"{part}."))
        for name, optimiser in self.optimisers.items():
            for i, parameter in enumerate(parameters_of(optimiser)):
                if state := _under(tensors, f"adam.{name}.{i}."):
                    moments = {key: state[key].to(parameter.device, copy=True) for key in ("exp_avg", "exp_avg_sq")}
                    optimiser.state[parameter] = {"step": state["step"].clone(), **moments}


def parameters_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """What an optimiser trains, in order."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def move_average(mean: nn.Module, now: nn.Module, kept: float) -> None:
    """Moves averaged parameters towards the trained ones, of which they keep their share; buffers are copied."""
    torch._foreach_lerp_(list(mean.parameters()), [p.detach() for p in now.parameters()], 1 - kept)
    for target, source in zip(mean.buffers(), now.buffers(), strict=True):
        target.copy_(source)


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
    entries = {
        "updates": str(state.updates),
        "shown": str(state.shown),
        "curve": json.dumps(state.curve),
        "run": state.run,
    }
    write_whole(path, pack_tensors(state.tensors, entries))


def load_state(path: Path) -> RunState:
    """Reads a state.

    Raises:
        CheckpointError: not such a file.
    """
    try:
        with safe_open(path, "pt") as file:
            entries = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return RunState(
            int(entries["updates"]), int(entries["shown"]), tensors, json.loads(entries["curve"]), entries["run"]
        )
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        remedy = "delete it to begin anew"
        raise CheckpointError(path.name, expected="the state of a run", found=str(error), remedy=remedy) from error
