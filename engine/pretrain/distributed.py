"""One process or many (``torchrun``): gradients are averaged over all of them by torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        rank: number of this process; 0 saves and reports.
        size: how many there are.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> Team:
        """The team that ``torchrun`` started, or a team of one; GPUs where there are any."""
        cuda = torch.cuda.is_available()
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(rank, size, device)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the team; a missing one counts as zero."""
        if self.size == 1:
            return
        kept = list(parameters)
        flat = torch.cat([_gradient(p).flatten() for p in kept])
        dist.all_reduce(flat)
        flat /= self.size
        for parameter, part in zip(kept, torch.split(flat, [p.numel() for p in kept]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop; all get the same answer."""
        if self.size == 1:
            return stop
        wish = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(wish, dist.ReduceOp.MAX)
        return bool(wish)

    def leave(self) -> None:
        """Ends the team."""
        if self.size > 1:
            dist.destroy_process_group()


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
