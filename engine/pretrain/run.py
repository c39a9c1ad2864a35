"""A 2D training run as a story: read the faces, begin or go on, train, write what was made, measure it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import load_base
from everface.engine.latents.coordinates import coordinates_of, coordinates_to_bytes
from everface.engine.latents.curvature import measure_curvature
from everface.engine.latents.encoder import encode, encoder_from_bytes, encoder_to_bytes
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.evaluate import Evaluation, evaluate
from everface.engine.pretrain.faces import Faces, TrainingFaces, read_faces
from everface.engine.pretrain.joint import JointTask
from everface.engine.pretrain.loop import Loop, Plan, run_folder
from everface.engine.pretrain.networks import Networks
from everface.engine.progress import OnProgress, ignore_progress

_CURVATURE_CODES = 1024  # after 30 steps: losses 2 to 6 % lower than with 256, or with generated codes
# What must stay the same from one call to the next; how long the run, how large its steps and weights may change.
_FIXED = ("resolution", "encoder_only", "held_out", "set_aside", "seed")


@dataclass(frozen=True)
class PretrainResult:
    """What a run made.

    Attributes:
        generator: the averaged generator, safetensors.
        encoder: the averaged encoder, safetensors.
        coordinates: of the generator's W, for searches in it, safetensors.
        grid: samples and reconstructions to look at, PNG.
        curve: losses and Frechet distances over the run, JSON.
        shown: photos shown in all.
        seconds: of this call.
        evaluation: numbers of the generator, None where it kept its weights or there are too few held-out faces.
    """

    generator: Path
    encoder: Path
    coordinates: Path
    grid: Path
    curve: Path
    shown: int
    seconds: float
    evaluation: Evaluation | None


def pretrain(
    sources: Sequence[Path],
    out: Path,
    config: PretrainConfig,
    *,
    base: str = "base64",
    max_minutes: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PretrainResult | None:
    """Trains a base generator and its encoder on aligned faces, going on where an earlier call ended.

    On several GPUs, or several machines, run it under ``torchrun``; gradients are averaged, and the first process
    writes.

    Args:
        sources: one or two folders or zip files of square faces. The base is to draw, and is measured on, the first's;
            ``config.more_share`` of what it sees is the second's.
        out: the ``.safetensors`` file to write; encoder, coordinates, curve and grid lie beside it, the run's state in
            ``<out>.run/``.
        config: settings; those of a begun run must stay the same, but for its length, rates, weights and batches.
        base: what to begin with, an embedded base by name or a file; an encoder beside it is begun with too.
        max_minutes: end, with a saved state and the files so far, after about this long.
        on_progress: hears ``"read faces"``, ``"pretrain"`` and ``"measure curvature"``.

    Returns:
        What was made; None in the processes that do not write.

    Raises:
        UsageError: unusable faces or paths.
        CheckpointError: the state in ``<out>.run/`` belongs to another run.
        NumericalError: a loss left the finite numbers.
    """
    if not 1 <= len(sources) <= 2:
        raise UsageError("DIR", expected="one or two collections of faces", found=str(len(sources)))
    began, team, folder = time.monotonic(), Team.join(), run_folder(out)
    try:
        read = [
            read_faces(collection, config.resolution, folder, config.held_out, on_progress, set_aside=config.set_aside)
            for collection in sources
        ]
        faces = TrainingFaces(read[0], read[1] if len(read) > 1 else None, config.more_share)
        run = _Run.begin(faces, folder, config, base, team)
        run.loop.train(None if max_minutes is None else began + 60 * max_minutes, on_progress)
        return None if team.rank else run.finish(out, time.monotonic() - began, on_progress)
    finally:
        team.leave()


@dataclass(frozen=True, eq=False)
class _Run:
    loop: Loop
    networks: Networks
    faces: TrainingFaces
    config: PretrainConfig

    @classmethod
    def begin(cls, faces: TrainingFaces, folder: Path, config: PretrainConfig, base: str, team: Team) -> _Run:
        loaded, beside = load_base(base), find_base(base).beside("encoder")
        start = None if beside is None else encoder_from_bytes(beside.read_bytes(), beside.name)
        networks = Networks.build(loaded.generator, start, config, team.device)
        counts = [len(collection.names) for collection in (faces.first, faces.more) if collection is not None]
        fixed = {name: getattr(config, name) for name in _FIXED} | {"base": loaded.sha256, "faces": counts}
        identity, step = json.dumps(fixed, sort_keys=True), config.batch * team.size
        plan = Plan("pretrain", folder, config.images, step, config.snapshot_seconds, identity)
        task = JointTask(networks, faces, config, team)
        return cls(Loop.begin(task, plan, team), networks, faces, config)

    def finish(self, out: Path, seconds: float, on_progress: OnProgress) -> PretrainResult:
        """Writes what was made, and measures it."""
        loop, faces = self.loop, self.faces.first
        metadata = {"images_shown": str(loop.shown), "pretrain": loop.plan.identity, "terms": "those of the faces"}
        generator, encoder = self.networks.mean_generator.cpu().eval(), self.networks.mean_encoder.cpu().eval()
        written = generator.to_bytes(metadata)
        out.write_bytes(written)
        beside = {name: out.with_name(f"{out.stem}-{name}.safetensors") for name in ("encoder", "coordinates")}
        beside["encoder"].write_bytes(encoder_to_bytes(encoder, metadata))
        loss, codes = ReconstructionLoss(PerceptualDistance.load()), encode(encoder, _typical(faces))
        found = coordinates_of(measure_curvature(generator.synthesis, loss, codes, on_progress=on_progress))
        beside["coordinates"].write_bytes(coordinates_to_bytes(found, hashlib.sha256(written).hexdigest()))
        enough = min(len(faces.held_out), len(faces.train)) >= 2
        measured = evaluate(generator, encoder, faces) if enough and not self.config.encoder_only else None
        if measured is not None:
            loop.curve.append({"shown": loop.shown} | asdict(measured))
        curve = out.with_name(f"{out.stem}-curve.json")
        curve.write_text(json.dumps(loop.curve, indent=1))
        grid = loop.picture(out.with_name(f"{out.stem}-grid.png"))
        return PretrainResult(out, beside["encoder"], beside["coordinates"], grid, curve, loop.shown, seconds, measured)


def _typical(faces: Faces) -> Tensor:
    """Training photos, whose codes lie where searches will be."""
    count = min(_CURVATURE_CODES, len(faces.train))
    return faces.batch(np.random.default_rng(5).choice(faces.train, count, replace=False))
