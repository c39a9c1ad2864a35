"""Buffers of other projects and the paper's folder of PNG files, for `bench store`. Each runs in its own process.

``python -m everface.bench.baselines.buffers NAME ARRAYS.npz FOLDER`` prints one line of JSON: bytes on disk,
milliseconds to append a batch of 20 and make it durable, and to read 8 random images. None is crash-safe or has a
budget of bytes; reads of Avalanche come from memory, which favours it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH, READ, REPEATS = 20, 8, 30


def measure_peer(
    name: str, images: NDArray[np.uint8], w: NDArray[np.float32]
) -> dict[str, Any]:  # {"bytes", "append_ms", "read_ms"} or {"missing": why}
    """Runs a peer in its own process on images [n, R, R, 3] and W codes [n, d]."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        np.savez(arrays, images=images, w=w)
        command = [sys.executable, "-m", "everface.bench.baselines.buffers", name, str(arrays), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        measured = {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}
    return measured


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _png(images: NDArray[np.uint8], w: NDArray[np.float32], folder: Path) -> Peer:
    from PIL import Image

    def append(start: int) -> None:
        for i in range(start, min(start + BATCH, len(images))):
            Image.fromarray(images[i]).save(folder / f"{i}.png")
            np.save(folder / f"{i}.npy", w[i])
            _sync(folder / f"{i}.png")
            _sync(folder / f"{i}.npy")
        _sync(folder)

    def read(indices: NDArray[np.int64]) -> object:
        return np.stack([np.asarray(Image.open(folder / f"{i}.png").convert("RGB")) for i in indices])

    return append, read


def _torchrl(images: NDArray[np.uint8], w: NDArray[np.float32], folder: Path) -> Peer:
    import torch
    from tensordict import TensorDict
    from torchrl.data import ReplayBuffer
    from torchrl.data.replay_buffers.storages import CompressedListStorage

    buffer = ReplayBuffer(storage=CompressedListStorage(max_size=len(images)), batch_size=READ)

    def append(start: int) -> None:
        part = slice(start, start + BATCH)
        data = {"image": torch.from_numpy(images[part]), "w": torch.from_numpy(w[part])}
        buffer.extend(TensorDict(data, batch_size=[len(images[part])]))
        buffer.dumps(folder / "buffer")
        for file in (folder / "buffer").rglob("*"):
            _sync(file)

    def read(indices: NDArray[np.int64]) -> object:
        return buffer[torch.from_numpy(indices)]["image"]

    return append, read


def _avalanche(images: NDArray[np.uint8], w: NDArray[np.float32], folder: Path) -> Peer:
    _without_loggers()
    import torch
    from avalanche.benchmarks.utils.data import AvalancheDataset
    from avalanche.training.storage_policy import ReservoirSamplingBuffer
    from torch.utils.data import TensorDataset

    buffer = ReservoirSamplingBuffer(max_size=len(images))

    def append(start: int) -> None:
        part = slice(start, start + BATCH)
        new = TensorDataset(torch.from_numpy(images[part].copy()), torch.from_numpy(w[part].copy()))
        buffer.update_from_dataset(AvalancheDataset([new]))
        torch.save(buffer, folder / "buffer.pt")
        _sync(folder / "buffer.pt")

    def read(indices: NDArray[np.int64]) -> object:
        return torch.stack([buffer.buffer[int(i)][0] for i in indices])

    return append, read


Peer = tuple[Callable[[int], None], Callable[[NDArray[np.int64]], object]]
PEERS: dict[str, Callable[[NDArray[np.uint8], NDArray[np.float32], Path], Peer]] = {
    "png-folder": _png, "torchrl-compressed": _torchrl, "avalanche-torch-save": _avalanche,
}  # fmt: skip


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the loggers and downloaders that Avalanche imports and its buffer does not use."""

    names = ("wandb", "gdown", "GPUtil", "torchmetrics", "pytorchcv", "dill", "psutil", "qpsolvers", "quadprog",
             "sklearn", "tqdm")  # fmt: skip

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".", maxsplit=1)[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        class Stub(types.ModuleType):
            __path__: list[str] = []  # noqa: RUF012

            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return None


def _without_loggers() -> None:
    import torch

    sys.meta_path.insert(0, _Absent())
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = object  # type: ignore[attr-defined]
    sys.modules["torch.utils.tensorboard"] = board
    # A torchvision made for another torch cannot load its operators, but wants to describe them.
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    kinds = ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
    for name in ("nms", "qnms", *kinds, *(f"_{kind}_backward" for kind in kinds)):
        library.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
    sys.modules["everface_torchvision_operators"] = library  # type: ignore[assignment]  # must outlive this call


def main(name: str, arrays: str, folder: str) -> dict[str, Any]:
    """Measures one peer."""
    loaded = np.load(arrays)
    images, w = loaded["images"], loaded["w"]
    target = Path(folder) / "peer"
    target.mkdir()
    try:
        append, read = PEERS[name](images, w, target)
    except ImportError as error:
        return {"missing": str(error)}
    appends, reads = [], []
    for start in range(0, len(images), BATCH):
        began = time.perf_counter()
        append(start)
        appends.append((time.perf_counter() - began) * 1e3)
    rng = np.random.default_rng(0)
    for _ in range(REPEATS):
        indices = rng.choice(len(images), READ, replace=False)
        began = time.perf_counter()
        read(indices)
        reads.append((time.perf_counter() - began) * 1e3)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return {"bytes": size, "append_ms": statistics.median(appends), "read_ms": statistics.median(reads)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:4])) + "\n")
