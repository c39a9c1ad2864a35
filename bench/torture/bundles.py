"""Mutations of a good bundle, half of them with hashes that hold: each must give a clear error or pictures."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from everface.bench.torture.album import told_by_child
from everface.bench.torture.malformed import MalformedResult, mutate
from everface.engine.errors import EverfaceError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.export.model2d import Model2D
from everface.export.recipe import ExportRecipe, Tolerance
from everface.export.runtime import Runtime
from everface.export.runtime.container import Container, pack
from everface.export.runtime.manifest import MANIFEST
from everface.export.stages import export_model

# What a reader may take beyond what the process has when it starts, and the seconds for one file.
_EXTRA_BYTES, _SECONDS = 1 << 30, 20


def malformed_bundles(
    folder: Path, files: int, seed: int = 0, on_progress: OnProgress = ignore_progress, group: int = 200, *,
    variant: str = "portable",
) -> MalformedResult:  # fmt: skip
    """Mutates, opens and renders; a forked process reads each group under a limit of memory, so a crash is counted.

    A bundle whose mutated graph passes all checks may show other pictures: it is whoever made it that signs for it.
    """
    good = _bundle(folder / "good.bundle", variant)
    reporter = ProgressReporter("malformed", files, on_progress)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for start in range(0, files, group):
        count = min(group, files - start)
        told, status = told_by_child(partial(_read_group, folder / f"bad-{start}.bundle", good, (seed, start), count))
        for line in told:
            counts[line.split(" ", 1)[0]] += 1
            wrong += [line] if line.startswith("wrong") else []
        if len(told) < count:
            name = signal.Signals(-status).name if status < 0 else f"exit {status}"
            wrong.append(f"crash {name} at file {start + len(told)} of seed {seed}")
        reporter.advance(count)
    return MalformedResult(files, counts["refused"], counts["correct"], tuple(wrong))


def _bundle(path: Path, variant: str) -> dict[str, bytes]:
    """Members of a tiny bundle."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = StyleGAN2Config(16, z_dim=16, w_dim=16, mapping_layers=1, channel_base=64, channel_max=8)
        generator = Generator(shape).eval().requires_grad_(False)
        anchors = torch.randn(5, 16).numpy()
    recipe = ExportRecipe("bundle", samples=1, variant=variant, tolerance=Tolerance(max_error=1e3))
    export_model(Model2D(generator.weights(), [anchors]), path, recipe, judge=lambda *_: (0.0, 0.0))
    container = Container(path)
    return {name: container.read(name, size) for name, size in container.sizes.items()}


def _read_group(
    path: Path, good: dict[str, bytes], seed: tuple[int, int], count: int, tell: Callable[[str], object]
) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    rng = np.random.default_rng(seed)
    archive = pack(good)
    for i in range(count):
        kind, data = mutate(archive, rng) if i % 2 else _forged(good, rng)
        path.write_bytes(data)
        signal.alarm(_SECONDS)
        try:
            shape = Runtime.open(path, threads=1).generate(1).shape
            tell("correct\n" if shape == (1, 16, 16, 3) else f"wrong {kind}: pictures of shape {shape}\n")
        except EverfaceError:
            tell("refused\n")
        except Exception as error:  # noqa: BLE001  # any other exception is what is being looked for
            tell(f"wrong {kind}: {type(error).__name__} {error}\n".replace("\n", " ") + "\n")
        signal.alarm(0)
    path.unlink()


def _forged(good: dict[str, bytes], rng: np.random.Generator) -> tuple[str, bytes]:
    """The graph mutated, and the manifest's hashes made to hold."""
    files = dict(good)
    told = json.loads(files.pop(MANIFEST))
    kind, files["personal.onnx"] = mutate(files["personal.onnx"], rng)
    told["files"] = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()}
    return kind, pack({MANIFEST: json.dumps(told).encode(), **files})
