"""What a trained generator is worth: distance to held-out faces, diversity, memorising, and a grid to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.encoder import Encoder, WEncoder
from everface.engine.latents.space import normal_z
from everface.engine.metrics.frechet import frechet_distance
from everface.engine.numerics import compute_dtype
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.perception.frechet_features import FrechetFeatures
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.perception.tensors import to_images
from everface.engine.pictures import grid_of
from everface.engine.pretrain.faces import Faces

_SEED = 1234
_BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """Numbers of a generator.

    Attributes:
        features: name of the network behind ``frechet``.
        frechet: Frechet distance of samples to held-out faces, both ``samples`` many; lower is better.
        frechet_real: the same of training faces to held-out faces: what a perfect generator would reach.
        samples: size of each set.
        identity_distance: mean of 1 - cosine of the identity embeddings of random pairs of samples.
        identity_distance_real: the same of held-out faces.
        nearest_train, nearest_held_out: median over samples of the best identity cosine to as many training and
            held-out faces; a generator that copies its training faces is nearer to these.
        reconstruction: mean MobileNetV2 distance plus squared error of judges' photos (held-out people's where nobody
            was set aside) against the pictures of their codes; None without an encoder.
    """

    features: str
    frechet: float
    frechet_real: float
    samples: int
    identity_distance: float
    identity_distance_real: float
    nearest_train: float
    nearest_held_out: float
    reconstruction: float | None


def evaluate(
    generator: Generator, encoder: WEncoder | None, faces: Faces, samples: int = 1900, identities: int = 300
) -> Evaluation:
    """Measures a generator against faces that it was not trained on.

    Args:
        generator: of the faces' resolution.
        encoder: to its W, None for none.
        faces: with a held-out part.
        samples: size of the sets for the Frechet distance, cut to the held-out faces there are.
        identities: size of the sets for the identity numbers.
    """
    rng = np.random.default_rng(_SEED)
    samples = min(samples, len(faces.held_out), len(faces.train))
    identities = min(identities, samples)
    held_out, train = (
        faces.batch(np.sort(rng.choice(x, samples, replace=False))) for x in (faces.held_out, faces.train)
    )
    made = sample(generator, samples, _SEED)
    features = FrechetFeatures.load()
    ours, theirs, seen = (features(x) for x in (made, held_out, train))
    embedder = IdentityEmbedder.load()
    a, b, c = (_embeddings(embedder, x[:identities]) for x in (made, held_out, train))
    return Evaluation(
        features=features.name,
        frechet=frechet_distance(ours, theirs),
        frechet_real=frechet_distance(seen, theirs),
        samples=samples,
        identity_distance=_pair_distance(a),
        identity_distance_real=_pair_distance(b),
        nearest_train=float(np.median((a @ c.T).max(axis=1))),
        nearest_held_out=float(np.median((a @ b.T).max(axis=1))),
        reconstruction=None if encoder is None else reconstruction_of(generator, encoder, faces),
    )


def judges_of(faces: Faces, photos: int) -> NDArray[np.int64]:
    """At most so many photos, evenly from all those of the judges; from the held-out ones where nobody judges."""
    index = faces.judges if len(faces.judges) else faces.held_out
    return np.asarray(index[np.linspace(0, len(index) - 1, min(photos, len(index))).astype(int)])


@torch.no_grad()
def reconstruction_of(generator: Generator, encoder: WEncoder, faces: Faces, photos: int = 96) -> float:
    """Loss of the encoder's codes alone on people that it was not trained on, evenly chosen from all their photos."""
    chosen = faces.batch(judges_of(faces, photos))
    loss = ReconstructionLoss(PerceptualDistance.load())
    parts = [loss(generator.synthesis(encoder(one)), loss.prepare(one)) for one in torch.split(chosen, _BATCH)]
    return float(torch.cat(parts).mean())


@torch.no_grad()
def sample(generator: Generator, n: int, seed: int, psi: float = 1.0, batch: int = 50) -> Tensor:
    """Pictures [n, 3, r, r] in [-1, 1] of random codes."""
    parts = torch.split(normal_z(n, generator.config.z_dim, seed), batch)
    made = [generator.synthesis(generator.mapping(z, psi=psi)) for z in parts]
    return torch.cat(made).clamp(-1, 1)


@torch.no_grad()
def sample_grid(generator: Generator, encoder: Encoder, faces: Faces, columns: int = 12) -> NDArray[np.uint8]:
    """Three rows of samples at psi 1, a row of photos that are not trained on, and one of their pictures."""
    device = next(generator.parameters()).device
    codes = generator.mapping(normal_z(3 * columns, generator.config.z_dim, _SEED).to(device))
    kept = [part for part in (faces.judges, faces.held_out, faces.train) if len(part) >= columns]
    index = kept[0] if kept else faces.train
    photos = faces.batch(index[:: max(1, len(index) // columns)][:columns]).to(device)
    dtype = compute_dtype() if device.type == "cpu" else None
    made = synthesize(generator.synthesis.weights(), torch.cat([codes, encoder(photos)]), dtype=dtype)
    images = torch.cat([made[: 3 * columns], photos, made[3 * columns :]])
    return grid_of(to_images(images), columns)


def _embeddings(embedder: IdentityEmbedder, images: Tensor) -> NDArray[np.float64]:
    found = np.concatenate([embedder(part).double().numpy() for part in torch.split(images, 20)])
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _pair_distance(embeddings: NDArray[np.float64]) -> float:
    half = len(embeddings) // 2
    return float(1 - np.einsum("nd,nd->n", embeddings[:half], embeddings[half : 2 * half]).mean())
