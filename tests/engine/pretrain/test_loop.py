"""The loop of all runs, on a task that only counts."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.loop import Loop, Plan, run_folder
from everface.engine.pretrain.state import Trained, load_state, move_average
from everface.engine.progress import Progress, ignore_progress

ALONE = Team(0, 1, torch.device("cpu"))


class Counting:
    """Its only weight is the number of updates."""

    def __init__(self) -> None:
        self.weight, self.begun, self.averaged = torch.zeros(1), [], []

    def begin(self, updates: int) -> None:
        self.begun.append(updates)

    def update(self, number: int) -> dict[str, float]:
        self.weight += 1
        return {"loss": float(number)}

    def average(self, shown: int) -> None:
        self.averaged.append(shown)

    def tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.weight = tensors["weight"]

    def look(self) -> NDArray[np.uint8]:
        return np.zeros((4, 4, 3), np.uint8)


def plan(folder: Path, images: int, identity: str = "one") -> Plan:
    return Plan("count", folder, images, 3, 1e6, identity)


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    heard: list[Progress] = []
    Loop.begin(Counting(), plan(tmp_path, 7), ALONE).train(None, heard.append)
    assert [one.done for one in heard] == [3, 6, 9]
    task = Counting()
    loop = Loop.begin(task, plan(tmp_path, 15), ALONE)
    loop.train(None, ignore_progress)
    assert task.begun == [3]
    assert task.averaged == [12, 15]
    assert float(task.weight) == 5
    assert [entry["shown"] for entry in load_state(tmp_path / "state.safetensors").curve] == [9, 15]
    assert (tmp_path / "grid-00000015.png").exists()


def test_time_ends_a_run_with_a_state(tmp_path: Path) -> None:
    Loop.begin(Counting(), plan(tmp_path, 10**9), ALONE).train(time.monotonic() - 1, ignore_progress)
    assert load_state(tmp_path / "state.safetensors").updates == 0


def test_another_runs_state_is_refused(tmp_path: Path) -> None:
    Loop.begin(Counting(), plan(tmp_path, 3), ALONE).train(None, ignore_progress)
    with pytest.raises(CheckpointError, match="another --out"):
        Loop.begin(Counting(), plan(tmp_path, 3, "two"), ALONE)


def test_only_the_first_process_saves(tmp_path: Path) -> None:
    Loop(Counting(), plan(tmp_path, 3), Team(1, 1, torch.device("cpu"))).save()
    assert not list(tmp_path.iterdir())


def test_weights_and_moments_come_back() -> None:
    def trained() -> tuple[nn.Linear, Trained]:
        torch.manual_seed(0)
        layer = nn.Linear(2, 2)
        return layer, Trained({"layer": layer}, {"layer": torch.optim.Adam(layer.parameters(), 0.1)})

    first, state = trained()
    first(torch.ones(1, 2)).sum().backward()
    state.optimisers["layer"].step()
    second, again = trained()
    again.restore(state.tensors())
    assert torch.equal(first.weight, second.weight)
    moments = [one.optimisers["layer"].state_dict()["state"][0]["exp_avg"] for one in (state, again)]
    assert torch.equal(*moments)
    with pytest.raises(RuntimeError):
        again.restore({})
    move_average(second, nn.Linear(2, 2).requires_grad_(False), 0.0)
    assert not torch.equal(first.weight, second.weight)


def test_the_folder_lies_beside_the_file(tmp_path: Path) -> None:
    assert run_folder(tmp_path / "deep" / "b.safetensors") == tmp_path / "deep" / "b.safetensors.run"
    with pytest.raises(UsageError, match="safetensors"):
        run_folder(tmp_path / "b.pt")
