"""Two processes of one team: means of gradients, one wish to stop."""

from __future__ import annotations

import os
import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn

from everface.engine.pretrain.distributed import Team


def test_alone_nothing_changes() -> None:
    team = Team.join()
    assert (team.rank, team.size) == (0, 1)
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    team.average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1]
    assert team.agree(True)
    assert not team.agree(False)
    team.leave()


def test_a_team_averages_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # This process is both ranks' group of one: what it sums is its own, what it divides by is two.
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setitem(os.environ, name, str(value))
    dist.init_process_group("gloo")
    team = Team(0, 2, torch.device("cpu"))
    try:
        given, missing = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
        given.grad = torch.tensor([2.0, 4.0])
        team.average_gradients([given, missing])
        assert given.grad.tolist() == [1, 2]
        assert missing.grad is not None and missing.grad.tolist() == [0, 0, 0]
        assert team.agree(True)
        assert not team.agree(False)
    finally:
        team.leave()
    assert not dist.is_initialized()
