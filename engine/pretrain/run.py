"""A training run as a story: read the faces, build or restore the networks, update, look, save."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.coordinates import coordinates_of, coordinates_to_bytes
from everface.engine.latents.curvature import measure_curvature
from everface.engine.latents.encoder import encode, encoder_from_bytes, encoder_to_bytes
from everface.engine.latents.space import normal_z
from everface.engine.numerics import fast_numerics
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.draws import Draws
from everface.engine.pretrain.encoder_step import EncoderUpdater
from everface.engine.pretrain.evaluate import Evaluation, evaluate, sample_grid
from everface.engine.pretrain.faces import Faces, read_faces
from everface.engine.pretrain.networks import Networks, Optimisers, restore, tensors_of
from everface.engine.pretrain.saved import RunState, load_state, save_state
from everface.engine.pretrain.step import Updater
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["PretrainResult", "pretrain"]

_SMOOTHING = 0.98
_CURVATURE_CODES = 1024  # after 30 steps: losses 2 to 6 % lower than with 256, or with generated codes
# What may change from one call to the next: how long the run, how large its steps, how free the detail.
_FREE = (
    "images", "snapshot_seconds", "batch", "reconstruct_batch", "learning_rate", "discriminator_rate", "encoder_rate",
    "detail_weight",
)  # fmt: skip


@dataclass(frozen=True)
class PretrainResult:
    """What a run made.

    Attributes:
        generator: the averaged generator, safetensors.
        encoder: the averaged encoder, safetensors; that of the base where W stayed as it was; None without one.
        coordinates: of the generator's W, for searches in it, safetensors.
        grid: samples to look at, PNG.
        curve: losses and Frechet distances over the run, JSON.
        shown: generated pictures shown in all.
        seconds: of this call.
        evaluation: numbers of the generator, None where it kept its weights or there are too few held-out faces.
    """

    generator: Path
    encoder: Path | None
    coordinates: Path
    grid: Path
    curve: Path
    shown: int
    seconds: float
    evaluation: Evaluation | None


def pretrain(
    source: Path,
    out: Path,
    config: PretrainConfig,
    *,
    base: str = "base64",
    max_minutes: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PretrainResult | None:
    """Trains a base generator on a folder or zip file of aligned faces, going on where an earlier call ended.

    Args:
        source: the faces.
        out: the ``.safetensors`` file to write; the state, grids, the encoder and the curve lie beside it in
            ``<out>.run/``.
        config: settings; those of a begun run must stay the same, but for lengths, batches and learning rates.
        base: what to begin with: the name of an embedded base or a file, and the encoder beside it.
        max_minutes: end, with a saved state and the files so far, after about this long.
        on_progress: hears ``"read faces"``, ``"pretrain"`` and ``"measure curvature"``.

    Returns:
        The result; None in the processes of a team that do not report.

    Raises:
        UsageError: unusable faces or paths.
        CheckpointError: the state in ``<out>.run/`` belongs to another run.
        NumericalError: a loss left the finite numbers.
    """
    if out.suffix != ".safetensors":
        raise UsageError("--out", expected="a .safetensors file", found=str(out), remedy="name such a file")
    began = time.monotonic()
    team = Team.join()
    folder = out.with_name(out.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        faces = read_faces(source, config.resolution, folder, config.held_out, on_progress)
        run = _Run.begin(faces, folder, config, base, team)
        deadline = None if max_minutes is None else began + 60 * max_minutes
        with fast_numerics():
            run.train(deadline, on_progress)
        return run.finish(out, time.monotonic() - began, on_progress) if team.rank == 0 else None
    finally:
        team.leave()


class _Run:
    def __init__(self, faces: Faces, folder: Path, config: PretrainConfig, base: str, team: Team) -> None:
        loaded = load_base(base)
        self.faces, self.folder, self.config, self.team = faces, folder, config, team
        self.encoder = find_base(base).beside("encoder")
        start = None if self.encoder is None else encoder_from_bytes(self.encoder.read_bytes(), self.encoder.name)
        self.networks = Networks.build(loaded.generator, start, config, team.device)
        self.optimisers = Optimisers(self.networks, config)
        self.updates, self.shown = 0, 0
        self.losses: dict[str, float] = {}
        self.curve: list[dict[str, Any]] = []
        fixed = asdict(config) | {"base": loaded.sha256, "faces": len(faces.names)}
        for free in _FREE:
            del fixed[free]
        self.identity = json.dumps(fixed, sort_keys=True)

    @property
    def state(self) -> Path:
        return self.folder / "state.safetensors"

    @classmethod
    def begin(cls, faces: Faces, folder: Path, config: PretrainConfig, base: str, team: Team) -> _Run:
        run = cls(faces, folder, config, base, team)
        if run.state.exists():
            saved = load_state(run.state)
            if saved.run != run.identity:
                remedy = "use the same base, faces and settings, or another --out"
                raise CheckpointError(str(run.state), expected=run.identity, found=saved.run, remedy=remedy)
            try:
                restore(run.networks, run.optimisers, saved.tensors)
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(str(run.state), expected="a whole state", found=str(error)[:200]) from error
            run.updates, run.shown, run.curve = saved.updates, saved.shown, saved.curve
        return run

    def train(self, deadline: float | None, on_progress: OnProgress) -> None:
        config, team = self.config, self.team
        draws = Draws(np.random.default_rng([config.seed, team.rank, self.updates]))
        kind = EncoderUpdater if config.encoder_only else Updater
        updater = kind(self.networks, self.optimisers, self.faces, config, draws, team)
        reporter = ProgressReporter("pretrain", config.images, on_progress)
        reporter.resume_at(self.shown)
        saved = time.monotonic()
        while self.shown < config.images and not team.agree(deadline is not None and time.monotonic() > deadline):
            told = updater.update(self.updates)
            self.updates += 1
            self.shown += config.batch * team.size
            self.networks.average(self.shown, config.batch * team.size, config.ema_images)
            for name, value in told.items():
                self.losses[name] = _SMOOTHING * self.losses.get(name, value) + (1 - _SMOOTHING) * value
            reporter.advance(config.batch * team.size, told["generator"])
            if team.rank == 0 and time.monotonic() - saved > config.snapshot_seconds:
                self.save()
                saved = time.monotonic()
        if team.rank == 0:
            self.save()

    def save(self) -> None:
        rate = {"batch": self.config.batch, "learning_rate": self.config.learning_rate}
        self.curve.append({"shown": self.shown} | rate | {name: round(value, 5) for name, value in self.losses.items()})
        tensors = tensors_of(self.networks, self.optimisers)
        save_state(self.state, RunState(self.updates, self.shown, tensors, self.curve, self.identity))
        self.grid(self.folder / f"grid-{self.shown:08d}.png")

    @torch.no_grad()
    def typical_codes(self, generator: Generator) -> Tensor:
        """Where searches will be: codes of training photos where there is an encoder, generated ones otherwise."""
        if not self.config.reconstruct_batch and self.encoder is None:
            codes: Tensor = generator.mapping(normal_z(_CURVATURE_CODES, generator.config.z_dim, seed=5))
            return codes
        encoder = copy.deepcopy(self.networks.mean_encoder).cpu().eval()
        count = min(_CURVATURE_CODES, len(self.faces.train))
        chosen = np.random.default_rng(5).choice(self.faces.train, count, replace=False)
        return encode(encoder, self.faces.batch(chosen))

    def grid(self, path: Path) -> Path:
        encoder = self.networks.mean_encoder if self.config.reconstruct_batch else None
        Image.fromarray(sample_grid(self.networks.mean_generator, encoder, self.faces)).save(path)
        return path

    def write_encoder(self, path: Path, told: dict[str, str]) -> Path | None:
        """The trained one, or that of the base where the layers that W moves stayed as they were."""
        if self.config.reconstruct_batch:
            path.write_bytes(encoder_to_bytes(self.networks.mean_encoder, told))
        elif self.config.freeze_below and self.encoder is not None:
            path.write_bytes(self.encoder.read_bytes())
        else:
            return None
        return path

    def finish(self, out: Path, seconds: float, on_progress: OnProgress) -> PretrainResult:
        told = {
            "images_shown": str(self.shown),
            "pretrain": self.identity,
            "terms": "those of the faces it learned from",
        }
        generator = self.networks.mean_generator.cpu().eval()
        written = generator.to_bytes(told)
        out.write_bytes(written)
        coordinates = out.with_name(f"{out.stem}-coordinates.safetensors")
        loss, codes = ReconstructionLoss(PerceptualDistance.load()), self.typical_codes(generator)
        found = coordinates_of(measure_curvature(generator.synthesis, loss, codes, on_progress=on_progress))
        coordinates.write_bytes(coordinates_to_bytes(found, hashlib.sha256(written).hexdigest()))
        encoder = self.write_encoder(out.with_name(f"{out.stem}-encoder.safetensors"), told)
        enough = min(len(self.faces.held_out), len(self.faces.train)) >= 2
        evaluation = evaluate(generator, self.faces) if enough and not self.config.encoder_only else None
        if evaluation is not None:
            self.curve.append({"shown": self.shown} | asdict(evaluation))
        curve = out.with_name(f"{out.stem}-curve.json")
        curve.write_text(json.dumps(self.curve, indent=1))
        grid = self.grid(out.with_name(f"{out.stem}-grid.png"))
        return PretrainResult(out, encoder, coordinates, grid, curve, self.shown, seconds, evaluation)
