"""A 3D training run as a story: read faces and cameras, begin or go on, train, write what was made."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import load_base
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.latents.directions import directions_from_bytes
from everface.engine.latents.space import w_statistics
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.faces import read_faces
from everface.engine.pretrain.loop import Loop, Plan, run_folder
from everface.engine.pretrain.posed.config import Pretrain3DConfig
from everface.engine.pretrain.posed.networks import Networks3D
from everface.engine.pretrain.posed.poses import read_cameras
from everface.engine.pretrain.posed.start import begin_3d, settle
from everface.engine.pretrain.posed.step import PosedFaces, PosedTask
from everface.engine.pretrain.posed.teacher import Teacher
from everface.engine.progress import OnProgress, ignore_progress

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
    began, worked, folder = time.monotonic(), time.process_time(), run_folder(out)
    side = load_base(base).generator.config.resolution
    faces = read_faces(source, side, folder, config.held_out, on_progress)
    loop, task = _begin(PosedFaces(faces, *read_cameras(source, faces.names)), folder, config, base)
    loop.train(None if max_minutes is None else began + 60 * max_minutes, on_progress)
    return _finish(loop, task, out, time.monotonic() - began, time.process_time() - worked)


def _begin(faces: PosedFaces, folder: Path, config: Pretrain3DConfig, base: str) -> tuple[Loop, PosedTask]:
    loaded, path = load_base(base), find_base(base).beside("directions")
    fixed = dataclasses.asdict(config) | {"base": loaded.sha256, "faces": len(faces.cameras)}
    for free in ("images", "rays", "snapshot_seconds"):
        del fixed[free]
    found = () if path is None else directions_from_bytes(path.read_bytes(), path.name, loaded.sha256)
    pose = [direction.step for name in _POSES for direction in found if direction.name == name]
    teacher = Teacher(loaded.generator, tuple(pose), w_statistics(loaded.generator))
    # The start takes a minute of its own, and is kept.
    start = folder / "start.safetensors"
    generator = (
        eg3d_from_bytes(start.read_bytes(), start.name)[0]
        if start.exists()
        else begin_3d(loaded.generator, pose, config.shape, config.seed)
    )
    start.write_bytes(generator.to_bytes({}, np.float32))
    task = PosedTask(Networks3D.build(generator, config), teacher, faces, config)
    identity = json.dumps(fixed, sort_keys=True)
    plan = Plan("pretrain 3d", folder, config.images, config.batch, config.snapshot_seconds, identity)
    return Loop.begin(task, plan, Team(0, 1, torch.device("cpu"))), task


def _finish(loop: Loop, task: PosedTask, out: Path, seconds: float, worked: float) -> Pretrain3DResult:
    metadata = {"images_shown": str(loop.shown), "pretrain3d": loop.plan.identity, "terms": "those of the faces"}
    generator = task.networks.mean_generator.eval()
    # Renderings are rewarded for nothing but their looks: where they pressed the head flat, it is raised again.
    settle(generator, task.config.seed + 1, all_channels=True)
    out.write_bytes(generator.to_bytes(metadata))
    curve = out.with_name(f"{out.stem}-curve.json")
    curve.write_text(json.dumps(loop.curve, indent=1))
    grid = loop.picture(out.with_name(f"{out.stem}-grid.png"))
    return Pretrain3DResult(out, grid, curve, loop.shown, seconds, worked)
