"""The page of the demo: both methods side by side, as data for ``everface.engine.report``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.bench.demo_album import PreparedAlbum
from everface.bench.protocol import IDENTITY, LOSS, MethodResult, ProtocolConfig, ProtocolResult
from everface.bench.sequence import samples_of
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


Pictures = Mapping[str, NDArray[np.uint8]]


def new_pictures(backend: Backend, result: ProtocolResult, config: ProtocolConfig) -> Pictures:
    """The first few samples for each batch of the base and of each method's last model, uint8 [n, R, R, 3]."""
    share = max(1, SHOWN_SAMPLES // len(result.encoded))
    models = {"base": None} | {name: method.model for name, method in result.methods.items()}
    return {
        name: np.concatenate(
            [
                samples_of(backend.model(content), one, config.samples, config.seed, t)[:share]
                for t, one in enumerate(result.encoded)
            ]
        )
        for name, content in models.items()
    }


@dataclass(frozen=True, eq=False)
class DemoPage:
    """What the page shows.

    Attributes:
        backend: of the base.
        album: what the photo room made of the photos.
        result: of the methods ``lower`` and ``er-hull``.
        config: how they were run.
        pictures: see ``new_pictures``.
    """

    backend: Backend
    album: PreparedAlbum
    result: ProtocolResult
    config: ProtocolConfig
    pictures: Pictures

    @property
    def hull(self) -> MethodResult:
        """What er-hull reached."""
        return self.result.methods["er-hull"]

    def report(self, seconds: float) -> ReportData:
        """Everything on the page, so many seconds after the start."""
        batches, methods, base = self.result.encoded, self.result.methods.values(), self.backend.base
        held_out = sum(len(one.batch.held_out) for one in batches)
        shown = ((LOSS, "held-out photos", LOSS), (IDENTITY, "new pictures", _COSINE))
        return ReportData(
            title="everface demo: four outings of a synthetic person",
            subtitle=(
                f"{len(batches)} batches learned one after the other, without memory (lower) and with "
                f"{self.config.keeping.count} kept photos (er-hull), from the same start; "
                f"judged on {held_out} held-out photos"
            ),
            summary=self._summary(seconds),
            timeline=tuple(self._timeline()),
            policy="er-hull",
            policy_reason=_POLICY_REASON,
            memories=tuple(self._memories()),
            used_bytes=int(self.hull.steps[-1].memory.bytes.sum()),
            reconstructions=tuple(self._reconstructions()),
            reconstruction_metric=f"{LOSS}, lower is better",
            samples=tuple(self._samples()),
            matrices=tuple(
                ForgettingMatrix(f"{one.name}, {what}", name, metric == IDENTITY, one.matrices[metric])
                for metric, what, name in shown
                for one in methods
            ),
            settings=self._settings(),
            footer=f"base {base.name}, {base.sha256[:12]}; the person is synthetic",
        )

    def _summary(self, seconds: float) -> tuple[Number, ...]:
        lower, base = self.result.methods["lower"], self.result.base
        forgot, kept = lower.summary(LOSS), self.hull.summary(LOSS)
        untuned, before, last = (float(one.means[IDENTITY].mean()) for one in (base, lower.last, self.hull.last))
        loss = float(base.means[LOSS].mean())
        return (
            Number("Forgetting", f"{kept.forgetting:.3f}", f"er-hull; lower bound {forgot.forgetting:.3f}"),
            Number(
                "Reconstruction loss",
                f"{kept.incremental_performance:.3f}",
                f"er-hull, all times (AIP); lower bound {forgot.incremental_performance:.3f}; base {loss:.3f}",
            ),
            Number("Identity", f"{last:.3f}", f"new pictures, {_COSINE}; base {untuned:.3f}"),
            Number("Identity at the end", f"{before:.3f} / {last:.3f}", "lower / er-hull, all batches"),
            Number("Time", f"{seconds:.0f} s", "everything"),
        )

    def _timeline(self) -> Iterator[Timestamp]:
        titles = [one.batch.title for one in self.result.encoded]
        for t, (one, rejected) in enumerate(zip(self.result.encoded, self.album.rejected, strict=True)):
            step = self.hull.steps[t]
            kept = Counter(titles[origin] for origin, _ in step.origins)
            counted = ", ".join(f"{count} of {name}" for name, count in kept.items()) or "nothing"
            yield Timestamp(
                index=t,
                accepted=len(one.batch.train),
                rejected=tuple(RejectedPhoto(gone.name, gone.reason, gone.detail) for gone in rejected),
                minutes=step.seconds / 60 if t else None,
                loss_before=float(step.before.mean()),
                loss_after=float(step.step.after.mean()),
                note=f"{len(one.batch.held_out)} more held out; er-hull keeps {counted}",
                title=one.batch.title,
            )

    def _memories(self) -> Iterator[Memory]:
        last = self.hull.steps[-1]
        for (t, index), image, size in zip(last.origins, last.memory.images, last.memory.bytes.tolist(), strict=True):
            title = self.result.encoded[t].batch.title
            why = f"spans the hull with the other kept photos; from {title}"
            yield Memory(image, t, size, why, id=f"{title} {index}")

    def _reconstructions(self) -> Iterator[Reconstruction]:
        base, last = self.result.base, self.hull.last
        before = to_uint8(self.backend.model(None).render(base.codes))
        now = to_uint8(self.backend.model(self.hull.model).render(last.codes))
        row = 0
        for encoded in self.result.encoded:
            for i, photo in enumerate(encoded.batch.held_out[:2], row):
                losses = float(base.losses[i]), float(last.losses[i])
                yield Reconstruction(photo, before[i], now[i], f"{encoded.batch.title}, held out", *losses)
            row += len(encoded.batch.held_out)

    def _samples(self) -> Iterator[SampleGrid]:
        first = self.result.encoded[0].batch
        yield SampleGrid(f"Held-out photos of the first batch, {first.title}", tuple(first.held_out))
        for name, method in self.result.methods.items():
            images = to_uint8(self.backend.model(method.model).render(method.last.codes[: len(first.held_out)]))
            yield SampleGrid(f"The same, as the last model of {name} reconstructs them", tuple(images))
        for name, images in self.pictures.items():
            share = len(images) // len(self.result.encoded)
            yield SampleGrid(f"New pictures by {name}, {share} a batch, the same codes", tuple(images))

    def _settings(self) -> tuple[tuple[str, str], ...]:
        config, keeping, tune = self.config, self.config.keeping, self.config.tune
        invert, evaluate = config.invert, config.evaluate
        return (
            ("buffer (b)", f"{keeping.count} photos" if keeping.count is not None else f"{keeping.room_bytes} bytes"),
            ("stored as", "PNG of the aligned crop" if keeping.codec is None else keeping.codec.name),
            ("inversion", f"{invert.steps} steps in W from the mean, learning rate {invert.learning_rate:g}"),
            ("tuning", f"{tune.max_steps} updates a batch, learning rate {tune.learning_rate:g}"),
            ("an update sees", f"{tune.new_per_step} new and {tune.replay_per_step} kept photos"),
            ("evaluation", f"{evaluate.steps} steps in W+, learning rate {evaluate.learning_rate:g}"),
            ("samples", f"{config.samples} a batch, P0 over its own anchors"),
            ("seed", str(config.seed)),
        )
