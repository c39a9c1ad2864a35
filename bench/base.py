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


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is compared, and how long.

    Attributes:
        start: the weights that training began with; an embedded name or a file.
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

    def at(self, name: str, resolution: int) -> Generator:
        """One of them, cut to a resolution."""
        generator = load_base(name).generator
        return generator if generator.config.resolution <= resolution else generator.cut(resolution)

    def measured(self, name: str, faces: Faces) -> Evaluation:
        """What one of them is worth at 64 pixels, with the encoder beside it where there is one."""
        path = find_base(name).beside("encoder")
        encoder = None if path is None else encoder_from_bytes(path.read_bytes(), path.name)
        return evaluate(self.at(name, 64), encoder, faces, self.samples)


def measure_distributions(options: Options, faces: Path, cache: Path, on_progress: OnProgress) -> list[Row]:
    """Samples against held-out faces: distance, diversity, memorising, smoothness.

    Args:
        options: what is compared.
        faces: folder or zip file with at least a few held-out people, see ``everface pretrain``.
        cache: folder for the decoded faces.
        on_progress: hears the stages.
    """
    held = read_faces(faces, 64, cache, HELD_OUT, on_progress)
    ours, theirs = (options.measured(one, held) for one in (options.base, options.start))
    unit, pairs = f"{ours.features}, {ours.samples} samples", "mean 1 - cosine of pairs, dlib"
    rows = [
        Row("64 px", "Frechet distance", ours.frechet, unit).beside("start", theirs.frechet),
        Row("64 px, training faces", "Frechet distance", ours.frechet_real, unit),
        Row("64 px", "diversity", ours.identity_distance, pairs).beside("start", theirs.identity_distance, higher=True),
        Row("64 px, held-out faces", "diversity", ours.identity_distance_real, pairs),
    ]
    if ours.reconstruction is not None and theirs.reconstruction is not None:
        note = "of held-out people, from the encoder's codes alone"
        row = Row("64 px", "reconstruction loss", ours.reconstruction, note)
        rows.append(row.beside("start", theirs.reconstruction))
    for name, value in (("training", ours.nearest_train), ("held-out", ours.nearest_held_out)):
        rows.append(Row(f"64 px, nearest {name} face", "memorising", value, "median best cosine, dlib"))
    perceptual = PerceptualDistance.load()
    a, b = (path_length(options.at(one, 64).eval(), perceptual) for one in (options.base, options.start))
    rows.append(Row("64 px", "perceptual path length", a, "MobileNetV2 distance / step^2").beside("start", b))
    large = options.at(options.base, 128)
    if large.config.resolution == 128:
        rows.append(_at_128(large, options, read_faces(faces, 128, cache, HELD_OUT, on_progress)))
    return rows


def _at_128(large: Generator, options: Options, held: Faces) -> Row:
    rng, features = np.random.default_rng(1234), FrechetFeatures.load()
    count = min(options.samples, len(held.held_out))
    real = features(held.batch(np.sort(rng.choice(held.held_out, count, replace=False))))
    ours = frechet_distance(features(sample(large, count, 1234)), real)
    small = sample(options.at(options.base, 64), count, 1234)
    theirs = frechet_distance(features(enlarged(small)), real)
    unit = f"{features.name}, {count} samples"
    return Row("128 px", "Frechet distance", ours, unit).beside("own 64 px enlarged", theirs)


def enlarged(images: Tensor, factor: int = 2) -> Tensor:
    """Bicubic enlargement, in [-1, 1]."""
    return F.interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False).clamp(-1, 1)


def measure_inversion(options: Options, cache: Path, on_progress: OnProgress) -> list[Row]:
    """Photos of unseen people, projected to W, at 64 pixels.

    Args:
        options: what is compared.
        cache: folder for the aligned photos.
        on_progress: hears the stages.
    """
    images, photo = [], EngineConfig().photo
    for name in names_in(options.albums):
        of_person = aligned(options.albums, name, photo, 64, cache, on_progress).images
        images.append(of_person[:: max(1, len(of_person) // options.photos)][: options.photos])
    pictures = np.concatenate(images)
    reporter = ProgressReporter("inversions", 2, on_progress)
    independent = None if missing_packages() else IndependentDistance()
    errors: dict[str, dict[str, float]] = {}
    for key, base in (("start", options.start), ("base", options.base)):
        backend = _at_64(options, base, cache)
        inversion = invert(backend.model(None), backend.prepare(pictures), backend.mean, SEARCH)
        shown = to_uint8(backend.model(None).render(inversion.codes))
        errors[key] = {"MobileNetV2 distance + MSE": float(inversion.losses.mean())}
        errors[key]["mean squared error"] = float(np.mean(10 ** (-psnr(shown, pictures) / 10)) * 4)
        if independent is not None:
            errors[key]["EfficientNet-lite0 distance"] = float(independent(shown, pictures).mean())
        reporter.advance()
    unit = f"{len(pictures)} photos"
    return [
        Row("W, 300 steps from the mean", metric, value, unit).beside("start", errors["start"][metric])
        for metric, value in errors["base"].items()
    ]


def _at_64(options: Options, base: str, cache: Path) -> Backend:
    """A base, cut to 64 pixels where it is larger."""
    backend = open_backend(EngineConfig(base=base))
    if backend.shape.resolution <= 64:
        return backend
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{backend.base.sha256[:12]}-64.safetensors"
    path.write_bytes(options.at(base, 64).to_bytes({}, np.float32))
    return open_backend(EngineConfig(base=str(path)))


def pictures_of(options: Options) -> NDArray[np.uint8]:
    """Samples of the start (two rows) and of the base at the same codes (two rows), 128 pixels each."""
    rows = []
    for one in (options.start, options.base):
        images = sample(options.at(one, 128).eval(), 2 * _COLUMNS, 7, psi=0.8)
        rows.append(enlarged(images, 128 // images.shape[-1]) if images.shape[-1] < 128 else images)
    return grid_of(to_images(torch.cat(rows)), _COLUMNS)


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
    with tempfile.TemporaryDirectory(prefix="everface-base-") as scratch:
        cache = options.cache or Path(scratch)
        rows = measure_distributions(options, faces, cache, on_progress)
        rows += measure_inversion(options, cache, on_progress)
    if options.pictures is not None:
        Image.fromarray(pictures_of(options)).save(options.pictures)
    return rows
