"""The threads of the native operators: PyTorch's own where it has some, and what a fork leaves of them."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch

from everface import _native
from everface.engine.ops.modulated_conv import modulated_conv2d


def _result() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    x, weight, styles = (torch.randn(*size, generator=rng) for size in ((2, 24, 19, 21), (40, 24, 3, 3), (2, 24)))
    leaves = [x.requires_grad_(), weight.requires_grad_(), styles.requires_grad_()]
    y = modulated_conv2d(*leaves, impl="cpu")
    return torch.cat([y.flatten()] + [g.flatten() for g in torch.autograd.grad(y.square().mean(), leaves)])


@pytest.mark.parametrize("threads", [2, 5])
def test_results_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    before = _native.get_threads()
    alone = _result().detach()
    try:
        _native.set_threads(threads)
        found = [_result().detach() for _ in range(3)]
    finally:
        _native.set_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert torch.allclose(found[0], alone, rtol=1e-5, atol=1e-6)


_FORK = """
    import os, sys, threading
    import torch
    from everface import _native
    from tests.engine.ops.test_threads import _result

    torch.set_num_threads(2)
    _native.set_threads(2)
    (torch.ones(1 << 20) * 2).sum()          # PyTorch's threads exist now
    before = _result()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)             # PyTorch itself hangs in a child that shares its work
        os._exit(0 if torch.equal(_result(), before) else 3)
    threading.Timer(60, lambda: os.kill(child, 9)).start()
    status = os.waitpid(child, 0)[1]
    os._exit(0 if status == 0 and torch.equal(_result(), before) else 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_the_child_of_a_fork_has_threads_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(_FORK)], timeout=120, check=False)
    assert done.returncode == 0
