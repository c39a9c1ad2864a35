"""What a base generator is worth: Frechet distance to held-out faces, diversity, smoothness, and inversion.

``everface bench base FACES --start START.safetensors --albums ALBUMS.zip --pictures FILE.png`` measures a base beside
the weights that it was trained from: samples at 64 pixels, at 128 pixels (the start's enlarged), and photos of people
that neither has seen, projected to W. Its encoder has ``everface bench encoder``.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cyclopts import Parameter
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from everface.bench.common import Listen, Row
from everface.bench.features import IndependentDistance, missing_packages
from everface.bench.replay_experiment.people import aligned, names_in
from everface.engine.config import EngineConfig, InvertConfig
from everface.engine.errors import UsageError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.encoder import encoder_from_bytes
from everface.engine.latents.invert import invert
from everface.engine.latents.smoothness import path_length
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.metrics.frechet import frechet_distance
from everface.engine.metrics.reconstruction import psnr
from everface.engine.perception.frechet_features import FrechetFeatures
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.perception.tensors import to_images
from everface.engine.pictures import grid_of, to_uint8
from everface.engine.pretrain.evaluate import Evaluation, evaluate, sample
from everface.engine.pretrain.faces import Faces, read_faces
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

HELD_OUT = 0.09
SEARCH = InvertConfig(300, 0.1, 10)
_COLUMNS = 12


@dataclass(frozen=True, eq=False)
class Subject:
    """A base and the one it is compared with; both by embedded name or file."""

    base: str
    start: str

    def at(self, name: str, resolution: int) -> Generator:
        """One of them, cut to a resolution."""
        generator = load_base(name).generator
        return generator if generator.config.resolution <= resolution else generator.cut(resolution)

    def measured(self, name: str, faces: Faces, samples: int) -> Evaluation:
        """What one of them is worth at 64 pixels, with the encoder beside it where there is one."""
        path = find_base(name).beside("encoder")
        encoder = None if path is None else encoder_from_bytes(path.read_bytes(), path.name)
        return evaluate(self.at(name, 64), encoder, faces, samples)


def measure_distributions(
    subject: Subject, faces: Path, cache: Path, samples: int = 1900, on_progress: OnProgress = ignore_progress
) -> list[Row]:
    """Samples against held-out faces: distance, diversity, memorising, smoothness.

    Args:
        subject: what is compared.
        faces: folder or zip file with at least a few held-out people, see ``everface pretrain``.
        cache: folder for the decoded faces.
        samples: pictures of each kind.
        on_progress: hears the stages.
    """
    rows: list[Row] = []
    held = read_faces(faces, 64, cache, HELD_OUT, on_progress)
    ours, theirs = (subject.measured(one, held, samples) for one in (subject.base, subject.start))
    unit = f"{ours.features}, {ours.samples} samples"
    rows.append(_smaller("64 px", "Frechet distance", ours.frechet, theirs.frechet, unit))
    rows.append(Row("64 px, training faces", "Frechet distance", ours.frechet_real, unit))
    note = "mean 1 - cosine of pairs, dlib"
    a, b = ours.identity_distance, theirs.identity_distance
    rows.append(Row("64 px", "diversity", a, note, "start", b, a / b))
    if ours.reconstruction is not None and theirs.reconstruction is not None:
        note = "of held-out people, from the encoder's codes alone"
        rows.append(_smaller("64 px", "reconstruction loss", ours.reconstruction, theirs.reconstruction, note))
    rows.append(Row("64 px, held-out faces", "diversity", ours.identity_distance_real, note))
    note = "median best cosine, dlib"
    for name, value in (("training", ours.nearest_train), ("held-out", ours.nearest_held_out)):
        rows.append(Row(f"64 px, nearest {name} face", "memorising", value, note))
    perceptual = PerceptualDistance.load()
    a, b = (path_length(subject.at(one, 64).eval(), perceptual) for one in (subject.base, subject.start))
    rows.append(_smaller("64 px", "perceptual path length", a, b, "MobileNetV2 distance / step^2"))
    large = subject.at(subject.base, 128)
    if large.config.resolution == 128:
        rows.append(_at_128(large, subject, faces, cache, samples, on_progress))
    return rows


def _at_128(
    large: Generator, subject: Subject, faces: Path, cache: Path, samples: int, on_progress: OnProgress
) -> Row:  # fmt: skip
    held = read_faces(faces, 128, cache, HELD_OUT, on_progress)
    rng, features = np.random.default_rng(1234), FrechetFeatures.load()
    count = min(samples, len(held.held_out))
    real = features(held.batch(np.sort(rng.choice(held.held_out, count, replace=False))))
    ours = frechet_distance(features(sample(large, count, 1234)), real)
    small = sample(subject.at(subject.base, 64), count, 1234)
    theirs = frechet_distance(features(enlarged(small)), real)
    unit = f"{features.name}, {count} samples"
    return Row("128 px", "Frechet distance", ours, unit, "own 64 px enlarged", theirs, theirs / ours)


def enlarged(images: Tensor, factor: int = 2) -> Tensor:
    """Bicubic enlargement, in [-1, 1]."""
    return F.interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False).clamp(-1, 1)


def measure_inversion(
    subject: Subject, albums: Path | None, cache: Path, photos: int = 4, on_progress: OnProgress = ignore_progress
) -> list[Row]:
    """Photos of unseen people, projected to W.

    Args:
        subject: what is compared, at 64 pixels.
        albums: zip of folders or folder of folders; the embedded album where it is None.
        cache: folder for the aligned photos.
        photos: of each person, spread over the album.
        on_progress: hears the stages.
    """
    images, photo = [], EngineConfig().photo
    for name in names_in(albums):
        of_person = aligned(albums, name, photo, 64, cache, on_progress).images
        images.append(of_person[:: max(1, len(of_person) // photos)][:photos])
    pictures = np.concatenate(images)
    reporter = ProgressReporter("inversions", 2, on_progress)
    independent = None if missing_packages() else IndependentDistance()
    errors: dict[str, dict[str, float]] = {}
    for key, base in (("start", subject.start), ("base", subject.base)):
        backend = _at_64(subject, base, cache)
        inversion = invert(backend.model(None), backend.prepare(pictures), backend.mean, SEARCH)
        shown = to_uint8(backend.model(None).render(inversion.codes))
        errors[key] = {"MobileNetV2 distance + MSE": float(inversion.losses.mean())}
        errors[key]["mean squared error"] = float(np.mean(10 ** (-psnr(shown, pictures) / 10)) * 4)
        if independent is not None:
            errors[key]["EfficientNet-lite0 distance"] = float(independent(shown, pictures).mean())
        reporter.advance()
    unit = f"{len(pictures)} photos"
    return [
        _smaller("W, 300 steps from the mean", metric, value, errors["start"][metric], unit)
        for metric, value in errors["base"].items()
    ]


def _at_64(subject: Subject, base: str, cache: Path) -> Backend:
    """A base, cut to 64 pixels where it is larger."""
    backend = open_backend(EngineConfig(base=base))
    if backend.shape.resolution <= 64:
        return backend
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{backend.base.sha256[:12]}-64.safetensors"
    path.write_bytes(subject.at(base, 64).to_bytes({}, np.float32))
    return open_backend(EngineConfig(base=str(path)))


def pictures_of(subject: Subject) -> NDArray[np.uint8]:
    """Samples of the start (two rows) and of the base at the same codes (two rows), 128 pixels each."""
    rows = []
    for one in (subject.start, subject.base):
        images = sample(subject.at(one, 128).eval(), 2 * _COLUMNS, 7, psi=0.8)
        rows.append(enlarged(images, 128 // images.shape[-1]) if images.shape[-1] < 128 else images)
    return grid_of(to_images(torch.cat(rows)), _COLUMNS)


def _smaller(case: str, metric: str, ours: float, theirs: float, unit: str) -> Row:
    return Row(case, metric, ours, unit, "start", theirs, theirs / ours)


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is compared, and how long.

    Attributes:
        start: the weights that training began with.
        base: what came of them.
        albums: people for the inversion; the embedded album where left out.
        cache: folder for decoded faces.
        samples: pictures of each kind.
        photos: of each person.
        pictures: file for samples of both.
    """

    start: str
    base: str = "base64"
    albums: Path | None = None
    cache: Path | None = None
    samples: int = 1900
    photos: int = 4
    pictures: Path | None = None


def run(faces: Path, *, options: Options, on_progress: Listen = ignore_progress) -> list[Row]:
    """Compares two bases.

    Args:
        faces: folder or zip file that the base was trained on.
        options: the rest.
        on_progress: hears the stages.

    Raises:
        UsageError: too few samples or photos.
    """
    if options.samples < 2 or options.photos < 1:
        found = f"{options.samples}, {options.photos}"
        raise UsageError("--samples, --photos", expected="at least 2 and 1", found=found)
    subject = Subject(options.base, options.start)
    with tempfile.TemporaryDirectory(prefix="everface-base-") as scratch:
        cache = options.cache or Path(scratch)
        rows = measure_distributions(subject, faces, cache, options.samples, on_progress)
        rows += measure_inversion(subject, options.albums, cache, options.photos, on_progress)
    if options.pictures is not None:
        Image.fromarray(pictures_of(subject)).save(options.pictures)
    return rows
