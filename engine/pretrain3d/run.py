"""A 3D training run as a story: read faces and cameras, begin or go on, update, look, save."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import load_base
from everface.engine.generators.eg3d import eg3d_from_bytes
from everface.engine.latents.directions import directions_from_bytes
from everface.engine.latents.space import w_statistics
from everface.engine.numerics import fast_numerics
from everface.engine.pretrain.faces import read_faces
from everface.engine.pretrain.saved import RunState, load_state, save_state
from everface.engine.pretrain3d.config import Pretrain3DConfig
from everface.engine.pretrain3d.look import look_at
from everface.engine.pretrain3d.networks import Networks3D, restore_3d, tensors_of_3d
from everface.engine.pretrain3d.poses import read_cameras
from everface.engine.pretrain3d.start import begin_3d, settle
from everface.engine.pretrain3d.step import PosedFaces, Updater3D
from everface.engine.pretrain3d.teacher import Teacher
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["Pretrain3DResult", "pretrain_3d"]

_SMOOTHING = 0.98
_POSES = ("pose", "pitch")


@dataclass(frozen=True)
class Pretrain3DResult:
    """What a run made.

    Attributes:
        generator: the averaged generator, safetensors.
        grid: renderings to look at, PNG.
        curve: losses over the run, JSON.
        shown: renderings compared in all.
        seconds: of this call, by the clock; ``processor_seconds`` of the processor.
    """

    generator: Path
    grid: Path
    curve: Path
    shown: int
    seconds: float
    processor_seconds: float


def pretrain_3d(
    source: Path,
    out: Path,
    config: Pretrain3DConfig,
    *,
    base: str = "base64",
    max_minutes: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Pretrain3DResult:
    """Trains a small 3D base on aligned faces with known yaw and pitch, going on where an earlier call ended.

    Args:
        source: folder or zip file of faces with a ``meta.csv`` (``file,yaw,pitch``).
        out: the ``.safetensors`` file to write; state and grids lie in ``<out>.run/``.
        config: settings; those of a begun run must stay the same, but for images, rays and snapshot_seconds.
        base: the 2D generator to begin with, an embedded one by name or a file; where directions ``pose`` and
            ``pitch`` lie beside it, they are taken out of W.
        max_minutes: end, with a saved state and the files so far, after about this long.
        on_progress: hears ``"read faces"`` and ``"pretrain 3d"``.

    Raises:
        UsageError: unusable faces, table or paths.
        CheckpointError: the state in ``<out>.run/`` belongs to another run.
        NumericalError: a loss left the finite numbers.
    """
    if out.suffix != ".safetensors":
        raise UsageError("--out", expected="a .safetensors file", found=str(out), remedy="name such a file")
    began, worked = time.monotonic(), time.process_time()
    folder = out.with_name(out.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_base(base)
    faces = read_faces(source, loaded.generator.config.resolution, folder, config.held_out, on_progress)
    posed = PosedFaces(faces, *read_cameras(source, faces.names))
    with fast_numerics():
        run = _Run.begin(posed, folder, config, base)
        run.train(None if max_minutes is None else began + 60 * max_minutes, on_progress)
    return run.finish(out, time.monotonic() - began, time.process_time() - worked)


class _Run:
    def __init__(self, faces: PosedFaces, folder: Path, config: Pretrain3DConfig, base: str) -> None:
        self.faces, self.folder, self.config = faces, folder, config
        self.updates, self.shown = 0, 0
        self.losses: dict[str, float] = {}
        self.curve: list[dict[str, Any]] = []
        loaded = load_base(base)
        self.state = folder / "state.safetensors"
        fixed = dataclasses.asdict(config) | {"base": loaded.sha256, "faces": len(faces.cameras)}
        for free in ("images", "rays", "snapshot_seconds"):
            del fixed[free]
        self.identity = json.dumps(fixed, sort_keys=True)
        start = folder / "start.safetensors"
        path = find_base(base).beside("directions")
        found = () if path is None else directions_from_bytes(path.read_bytes(), path.name, loaded.sha256)
        pose = [one.step for name in _POSES for one in found if one.name == name]
        self.teacher = Teacher(loaded.generator, tuple(pose), w_statistics(loaded.generator))
        # The start takes a minute of its own, and is kept.
        generator = (
            eg3d_from_bytes(start.read_bytes(), start.name)[0]
            if start.exists()
            else begin_3d(loaded.generator, pose, config.shape, config.seed)
        )
        start.write_bytes(generator.to_bytes({}, np.float32))
        self.networks = Networks3D.build(generator, config)

    @classmethod
    def begin(cls, faces: PosedFaces, folder: Path, config: Pretrain3DConfig, base: str) -> _Run:
        run = cls(faces, folder, config, base)
        if run.state.exists():
            saved = load_state(run.state)
            if saved.run != run.identity:
                remedy = "use the same base, faces and settings, or another --out"
                raise CheckpointError(str(run.state), expected=run.identity, found=saved.run, remedy=remedy)
            try:
                restore_3d(run.networks, saved.tensors)
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(str(run.state), expected="a whole state", found=str(error)[:200]) from error
            run.updates, run.shown, run.curve = saved.updates, saved.shown, saved.curve
        return run

    def train(self, deadline: float | None, on_progress: OnProgress) -> None:
        config = self.config
        rng = np.random.default_rng([config.seed, 3, self.updates])
        updater = Updater3D(
            self.networks,
            self.teacher,
            self.faces,
            config,
            rng,
            torch.Generator().manual_seed(int(rng.integers(2**31))),
        )
        reporter = ProgressReporter("pretrain 3d", config.images, on_progress)
        reporter.resume_at(self.shown)
        saved = time.monotonic()
        while self.shown < config.images and not (deadline is not None and time.monotonic() > deadline):
            told = updater.update(self.updates)
            self.updates += 1
            self.shown += config.batch
            self.networks.average(self.shown, config.batch, config.ema_images)
            for name, value in told.items():
                self.losses[name] = _SMOOTHING * self.losses.get(name, value) + (1 - _SMOOTHING) * value
            reporter.advance(config.batch, told["distance"])
            if time.monotonic() - saved > config.snapshot_seconds:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        told = {name: round(value, 5) for name, value in self.losses.items()}
        self.curve.append({"shown": self.shown, "processor": round(time.process_time(), 1)} | told)
        save_state(
            self.state, RunState(self.updates, self.shown, tensors_of_3d(self.networks), self.curve, self.identity)
        )
        self.grid(self.folder / f"grid-{self.shown:08d}.png")

    def grid(self, path: Path) -> Path:
        Image.fromarray(look_at(self.networks.mean_generator, self.faces.pitch)).save(path)
        return path

    def finish(self, out: Path, seconds: float, worked: float) -> Pretrain3DResult:
        told = {"images_shown": str(self.shown), "pretrain3d": self.identity, "terms": "those of the faces"}
        generator = self.networks.mean_generator.eval()
        # Renderings are rewarded for nothing but their looks: where they pressed the head flat, it is raised again.
        settle(generator, self.config.seed + 1, all_channels=True)
        out.write_bytes(generator.to_bytes(told))
        curve = out.with_name(f"{out.stem}-curve.json")
        curve.write_text(json.dumps(self.curve, indent=1))
        grid = self.grid(out.with_name(f"{out.stem}-grid.png"))
        return Pretrain3DResult(out, grid, curve, self.shown, seconds, worked)
