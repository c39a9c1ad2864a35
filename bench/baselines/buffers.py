"""Another project's buffer and the paper's folder of PNG files, for `bench store`. Each runs in its own process.

``python -m everface.bench.baselines.buffers NAME ARRAYS.npz FOLDER`` prints one line of JSON: bytes on disk,
milliseconds to append a batch of 20 and make it durable, and to read 8 random images. Neither is crash-safe or has a
budget of bytes; reads of Avalanche come from memory, which favours it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.common import joined, timed

BATCH, READ, REPEATS = 20, 8, 30
Peer = dict[str, Any]
"""``{"bytes", "append_ms", "read_ms"}`` or ``{"missing": why}``."""
Buffer = tuple[Callable[[int], None], Callable[[NDArray[np.int64]], object]]


def measure_peer(name: str, images: NDArray[np.uint8], w: NDArray[np.float32]) -> Peer:
    """Runs a peer in its own process on images [n, R, R, 3] and W codes [n, d]."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        np.savez(arrays, images=images, w=w)
        command = [sys.executable, "-m", "everface.bench.baselines.buffers", name, str(arrays), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        measured: Peer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        measured = {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}
    return measured


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _png(images: NDArray[np.uint8], w: NDArray[np.float32], folder: Path) -> Buffer:
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


def _avalanche(images: NDArray[np.uint8], w: NDArray[np.float32], folder: Path) -> Buffer:
    import torch
    from torch.utils.data import TensorDataset

    data = importlib.import_module("avalanche.benchmarks.utils.data")
    buffer = importlib.import_module("avalanche.training.storage_policy").ReservoirSamplingBuffer(max_size=len(images))

    def append(start: int) -> None:
        part = slice(start, start + BATCH)
        new = TensorDataset(torch.from_numpy(images[part].copy()), torch.from_numpy(w[part].copy()))
        buffer.update_from_dataset(data.AvalancheDataset([new]))
        torch.save(buffer, folder / "buffer.pt")
        _sync(folder / "buffer.pt")

    def read(indices: NDArray[np.int64]) -> object:
        return torch.stack([buffer.buffer[int(i)][0] for i in indices])

    return append, read


PEERS = {"png-folder": _png, "avalanche-torch-save": _avalanche}


def main(name: str, arrays: str, folder: str) -> Peer:
    """Measures one peer."""
    loaded = np.load(arrays)
    images, w = loaded["images"], loaded["w"]
    target = Path(folder) / "peer"
    target.mkdir()
    try:
        append, read = PEERS[name](images, w, target)
    except ImportError as error:
        return {"missing": str(error)}
    rng = np.random.default_rng(0)
    appends = joined([timed(partial(append, start))[1] for start in range(0, len(images), BATCH)])
    chosen = [rng.choice(len(images), READ, replace=False) for _ in range(REPEATS)]
    reads = joined([timed(partial(read, indices))[1] for indices in chosen])
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return {"bytes": size, "append_ms": 1e3 * appends.median, "read_ms": 1e3 * reads.median}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:4])) + "\n")
