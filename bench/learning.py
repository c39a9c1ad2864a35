"""A whole tuning step, and a step of a search, in native code beside PyTorch: pictures, perceptual loss, Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from everface import _native
from everface.bench.baselines.synthesis import make_network
from everface.bench.common import Row, interleave
from everface.engine.config import EngineConfig
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.learn.backend import LossConfig
from everface.engine.learn.native_backend import NativeBackend
from everface.engine.numerics import fast_numerics
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance

CASES = ((64, 4096, 256), (128, 4096, 256), (256, 16384, 512))
_BATCH, _PEAK_SIDE = 4, 1024
Run = Callable[[], object]


def learning_rows(case: tuple[int, int, int], repeats: int) -> list[Row]:
    """Rows of one generator: times beside each peer, and what they come to in multiplications and additions of plain
    convolutions, beside the machine's large matrix products at the same time (minimal filtering needs fewer).

    Args:
        case: resolution, channel base, most channels; weights are random.
        repeats: timings of each run, in turn.
    """
    resolution, base, most = case
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_BATCH, resolution, resolution, 3), np.uint8)
    codes = random.standard_normal((_BATCH, 512)).astype(np.float32)
    label = f"learning {resolution}/{base} max {most} batch {_BATCH}"
    native = _native_runs(case, images, codes)
    rows = []
    for kind in ("tuning", "search"):
        # The peers: its operators under PyTorch, as before the learning core; and PyTorch alone.
        theirs: dict[str, Run] = {
            name: _torch_run(case, images, codes, (kind, synthesis, dtype))
            for name, synthesis, dtype in (
                ("pytorch-operators", "native", torch.bfloat16 if _native.fast_bf16() else torch.float32),
                ("pytorch-eager-f32", "eager", torch.float32),
                ("pytorch-eager-bf16", "eager", torch.bfloat16),
                ("pytorch-channels-last-f32", "channels-last", torch.float32),
                ("pytorch-channels-last-bf16", "channels-last", torch.bfloat16),
            )
        }
        peak = partial(torch.matmul, *_square_matrices())
        times = interleave({"native": native[kind], **theirs, "matrix product": peak}, repeats)
        mine = times["native"].row(label, "ms/step", metric=f"{kind} step")
        rows += [mine.beside(name, 1e3 * times[name].median) for name in theirs]
        with FlopCounterMode(display=False) as counter:
            theirs["pytorch-eager-f32"]()
        rate = 1e-9 * counter.get_total_flops() / times["native"].median
        reached = 2e-9 * _PEAK_SIDE**3 / times["matrix product"].median
        rows.append(
            Row(label, f"{kind} step, every tap counted", rate, "GFLOP/s").beside(
                "matrix-product", reached, higher=True
            )
        )
    return rows


def _square_matrices() -> tuple[torch.Tensor, torch.Tensor]:
    """What PyTorch multiplies fastest here: large square products, in bfloat16 where the processor has them."""
    dtype = torch.bfloat16 if _native.fast_bf16() else torch.float32
    a = torch.randn(_PEAK_SIDE, _PEAK_SIDE).to(dtype)
    return a, a


def _native_runs(case: tuple[int, int, int], images: np.ndarray, codes: np.ndarray) -> dict[str, Run]:
    network = make_network(*case)
    weights = {
        name: np.array(value.detach().numpy(), np.float32, order="C")
        for name, value in network.state_dict().items()
        if not name.endswith("resample_filter")
    }
    loss = NativeBackend(EngineConfig(), LossConfig()).loss
    targets = loss.prepare(images.astype(np.float32) / 127.5 - 1)
    learner, index = _native.Learner(weights, {}, 1.0, float("inf"), loss), np.arange(_BATCH)
    return {
        "tuning": lambda: learner.step(codes, targets, index, 1e-4),
        "search": lambda: learner.loss_and_gradient(codes, targets, index),
    }


def _torch_run(
    case: tuple[int, int, int], images: np.ndarray, codes: np.ndarray, how: tuple[str, str, torch.dtype]
) -> Run:
    """``how``: tuning or search; native synthesis, eager or channels-last; the type of its products."""
    kind, synthesis, dtype = how
    network = make_network(*case)
    if synthesis == "channels-last":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(kind == "tuning")
    loss = ReconstructionLoss(PerceptualDistance.load())
    targets = loss.prepare(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1)
    w = torch.from_numpy(codes).requires_grad_(kind == "search")
    adam = torch.optim.Adam(network.parameters() if kind == "tuning" else [w], lr=1e-4, fused=True)

    def step() -> object:
        adam.zero_grad(set_to_none=True)
        with fast_numerics():
            pictures = _pictures(network, w, synthesis, dtype)
            value = loss(pictures, targets).mean()
            torch.autograd.backward(value)
            adam.step()
        return value

    return step


def _pictures(network: SynthesisNetwork, w: torch.Tensor, synthesis: str, dtype: torch.dtype) -> torch.Tensor:
    pictures: torch.Tensor = (
        synthesize(network.weights(), w, dtype=dtype) if synthesis == "native" else network(w, dtype=dtype)
    )
    return pictures
