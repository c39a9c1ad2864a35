"""The page of the demo: both methods side by side, as data for ``everface.engine.report``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from everface.bench.demo_album import PreparedAlbum
from everface.bench.protocol import IDENTITY, LOSS, MethodResult, ProtocolConfig, ProtocolResult
from everface.bench.sequence import samples_of
from everface.engine.latents.model import FaceModel
from everface.engine.learn.backend import Backend
from everface.engine.pictures import to_uint8
from everface.engine.report.data import (
    ForgettingMatrix,
    Memory,
    Number,
    Reconstruction,
    RejectedPhoto,
    ReportData,
    SampleGrid,
    Timestamp,
)

SHOWN_SAMPLES = 16
_COSINE = "dlib identity, best cosine"
_POLICY_REASON = (
    "ER-Hull keeps the photos whose convex hull in W lies nearest to all the others of their timestamps, at most one "
    "of each timestamp while there are enough of them."
)


def demo_report(
    backend: Backend, album: PreparedAlbum, result: ProtocolResult, config: ProtocolConfig, seconds: float
) -> ReportData:
    """Everything on the page.

    Args:
        backend: of the base.
        album: what the photo room made of the photos.
        result: of the methods ``lower`` and ``er-hull``.
        config: how they were run.
        seconds: since the start.
    """
    lower, hull = result.methods["lower"], result.methods["er-hull"]
    held_out = sum(len(one.batch.held_out) for one in result.encoded)
    return ReportData(
        title="everface demo: four outings of a synthetic person",
        subtitle=(
            f"{len(result.encoded)} batches learned one after the other, without memory (lower) and with "
            f"{config.keeping.count} kept photos (er-hull), from the same start; judged on {held_out} held-out photos"
        ),
        summary=_summary(result, lower, hull, seconds),
        timeline=tuple(_timeline(album, result, hull)),
        policy="er-hull",
        policy_reason=_POLICY_REASON,
        memories=tuple(_memories(result, hull)),
        used_bytes=int(hull.steps[-1].memory.bytes.sum()),
        reconstructions=tuple(_reconstructions(backend, result, hull)),
        reconstruction_metric=f"{LOSS}, lower is better",
        samples=tuple(_samples(backend, result, config, (lower, hull))),
        matrices=(
            *(
                ForgettingMatrix(f"{one.name}, held-out photos", LOSS, False, one.matrices[LOSS])
                for one in (lower, hull)
            ),
            *(
                ForgettingMatrix(f"{one.name}, new pictures", _COSINE, True, one.matrices[IDENTITY])
                for one in (lower, hull)
            ),
        ),
        settings=_settings(config),
        footer=f"base {backend.base.name}, {backend.base.sha256[:12]}; the person is synthetic",
    )


def _summary(result: ProtocolResult, lower: MethodResult, hull: MethodResult, seconds: float) -> tuple[Number, ...]:
    forgot, kept = lower.summary(LOSS), hull.summary(LOSS)
    base, before, last = (float(one.means[IDENTITY].mean()) for one in (result.base, lower.last, hull.last))
    return (
        Number("Forgetting", f"{kept.forgetting:.3f}", f"er-hull; lower bound {forgot.forgetting:.3f}"),
        Number(
            "Reconstruction loss",
            f"{kept.incremental_performance:.3f}",
            f"er-hull, all times (AIP); lower bound {forgot.incremental_performance:.3f}; "
            f"base {float(result.base.means[LOSS].mean()):.3f}",
        ),
        Number("Identity", f"{last:.3f}", f"new pictures, {_COSINE}; base {base:.3f}"),
        Number("Identity at the end", f"{before:.3f} / {last:.3f}", "lower / er-hull, all batches"),
        Number("Time", f"{seconds:.0f} s", "everything"),
    )


def _timeline(album: PreparedAlbum, result: ProtocolResult, hull: MethodResult) -> Iterator[Timestamp]:
    for t, (one, rejected) in enumerate(zip(result.encoded, album.rejected, strict=True)):
        yield Timestamp(
            index=t,
            accepted=len(one.batch.train),
            rejected=tuple(RejectedPhoto(gone.name, gone.reason, gone.detail) for gone in rejected),
            minutes=hull.steps[t].seconds / 60 if t else None,
            loss_before=float(hull.steps[t].before.mean()),
            loss_after=float(hull.steps[t].step.after.mean()),
            note=f"{len(one.batch.held_out)} more held out; er-hull keeps {_counted(result, hull.steps[t].origins)}",
            title=one.batch.title,
        )


def _counted(result: ProtocolResult, kept: tuple[tuple[int, int], ...]) -> str:
    names = [result.encoded[t].batch.title for t, _ in kept]
    counted = [f"{names.count(name)} of {name}" for name in dict.fromkeys(names)]
    return ", ".join(counted) or "nothing"


def _memories(result: ProtocolResult, hull: MethodResult) -> Iterator[Memory]:
    for (timestamp, index), image, size in zip(
        hull.steps[-1].origins, hull.steps[-1].memory.images, hull.steps[-1].memory.bytes.tolist(), strict=True
    ):
        title = result.encoded[timestamp].batch.title
        yield Memory(
            image, timestamp, size, f"spans the hull with the other kept photos; from {title}", id=f"{title} {index}"
        )


def _reconstructions(backend: Backend, result: ProtocolResult, hull: MethodResult) -> Iterator[Reconstruction]:
    base = to_uint8(backend.model(None).render(result.base.codes))
    now = to_uint8(backend.model(hull.model).render(hull.last.codes))
    row = 0
    for encoded in result.encoded:
        for i, photo in enumerate(encoded.batch.held_out):
            if i < 2:
                values = float(result.base.losses[row + i]), float(hull.last.losses[row + i])
                yield Reconstruction(photo, base[row + i], now[row + i], f"{encoded.batch.title}, held out", *values)
        row += len(encoded.batch.held_out)


def _samples(
    backend: Backend, result: ProtocolResult, config: ProtocolConfig, methods: tuple[MethodResult, ...]
) -> Iterator[SampleGrid]:
    first = result.encoded[0].batch
    count = len(first.held_out)
    yield SampleGrid(f"Held-out photos of the first batch, {first.title}", tuple(first.held_out))
    for method in methods:
        images = to_uint8(backend.model(method.model).render(method.last.codes[:count]))
        yield SampleGrid(f"The same, as the last model of {method.name} reconstructs them", tuple(images))
    share = max(1, SHOWN_SAMPLES // len(result.encoded))
    models = (("the base", None), *((method.name, method.model) for method in methods))
    for name, content in models:
        images = new_pictures(backend.model(content), result, config, share)
        yield SampleGrid(f"New pictures by {name}, {share} a batch, the same codes", tuple(images))


def new_pictures(model: FaceModel, result: ProtocolResult, config: ProtocolConfig, share: int) -> NDArray[np.uint8]:
    """The first few of a model's samples for each batch, uint8 [batches * share, R, R, 3]."""
    return np.concatenate(
        [samples_of(model, one, config.samples, config.seed, t)[:share] for t, one in enumerate(result.encoded)]
    )


def _settings(config: ProtocolConfig) -> tuple[tuple[str, str], ...]:
    keeping, tune = config.keeping, config.tune
    return (
        ("buffer (b)", f"{keeping.count} photos" if keeping.count is not None else f"{keeping.room_bytes} bytes"),
        ("stored as", "PNG of the aligned crop" if keeping.codec is None else keeping.codec.name),
        ("inversion", f"{config.invert.steps} steps in W from the mean, learning rate {config.invert.learning_rate:g}"),
        ("tuning", f"{tune.max_steps} updates a batch, learning rate {tune.learning_rate:g}"),
        ("an update sees", f"{tune.new_per_step} new and {tune.replay_per_step} kept photos"),
        ("evaluation", f"{config.evaluate.steps} steps in W+, learning rate {config.evaluate.learning_rate:g}"),
        ("samples", f"{config.samples} a batch, P0 over its own anchors"),
        ("seed", str(config.seed)),
    )
