"""`everface demo`: a synthetic person's four outings, learned with and without memory, side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from everface.bench.demo_album import prepare_demo_album
from everface.bench.demo_report import DemoPage, new_pictures
from everface.bench.protocol import IDENTITY, LOSS, ProtocolConfig, ProtocolResult, run_protocol
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.generators.bases import Base
from everface.engine.generators.personal import personal_weights
from everface.engine.learn.backend import open_backend
from everface.engine.photos import FaceModels
from everface.engine.pictures import grid_of
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.report import render_report
from everface.export.model2d import Model2D
from everface.export.stages import export_model

if TYPE_CHECKING:
    from everface.engine.generators.protocol import FaceGenerator

METHODS = ("lower", "er-hull")
DEMO = ProtocolConfig(
    invert=InvertConfig(steps=25, learning_rate=0.1, batch=12),
    tune=TuneConfig(max_steps=70, settle_window=0),
    evaluate=InvertConfig(steps=10, learning_rate=0.05, batch=16),
)
"""Small enough for two cores and two minutes."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        report: the HTML page.
        onnx: the personal model (er-hull's last) as an ONNX file.
        samples: a picture of samples: base, lower, er-hull, a row each.
        seconds: wall-clock time of everything.
        forgetting: method to the paper's Forgetting of the held-out reconstruction loss; lower is better.
        identity: ``"base"`` and ``"personal"``: mean best cosine of 20 P0 samples a batch to that batch's held-out
            photos, by dlib's embedder, mean over the batches; the same codes for both.
        buffer: photos that er-hull may keep.
        accepted, rejected: photos of the album.
        max_abs_error: of the ONNX file against PyTorch.
    """

    report: Path
    onnx: Path
    samples: Path
    seconds: float
    forgetting: dict[str, float]
    identity: dict[str, float]
    buffer: int | None
    accepted: int
    rejected: int
    max_abs_error: float


def run_demo(
    out: Path, on_progress: OnProgress = ignore_progress, config: ProtocolConfig = DEMO, base: str = "base128"
) -> DemoResult:
    """Runs the demo and writes ``report.html``, ``personal.onnx`` and ``samples.png`` into a folder.

    Args:
        out: the folder, made where it is missing; files of these names are replaced.
        on_progress: hears the stages ``"photos"``, ``"invert"`` and ``"tune"``.
        config: how the two methods are run.
        base: the generator to start from.

    Raises:
        UsageError: ``out`` is a file.
        ExportError: the ONNX file could not be written, or differs from PyTorch.
    """
    began = time.monotonic()
    if out.exists() and not out.is_dir():
        raise UsageError("--out", expected="a folder", found=f"the file {out}", remedy="name another folder")
    out.mkdir(parents=True, exist_ok=True)
    settings = replace(EngineConfig(base=base), invert=config.invert, tune=config.tune, seed=config.seed)
    backend = open_backend(settings)
    album = prepare_demo_album(backend.shape.resolution, settings.photo, FaceModels.load(), on_progress)
    result = run_protocol(backend, album.batches, METHODS, config, on_progress=on_progress)
    error = _export(backend.base, result, out / "personal.onnx")
    pictures = new_pictures(backend, result, config)
    # One row a model, the same codes in each.
    Image.fromarray(grid_of(np.concatenate(list(pictures.values())), len(pictures["base"]))).save(out / "samples.png")
    page = DemoPage(backend, album, result, config, pictures).report(time.monotonic() - began)
    (out / "report.html").write_text(render_report(page), encoding="utf-8")
    identity = {"base": result.base, "personal": result.methods["er-hull"].last}
    return DemoResult(
        report=out / "report.html",
        onnx=out / "personal.onnx",
        samples=out / "samples.png",
        seconds=round(time.monotonic() - began, 1),
        forgetting={name: method.summary(LOSS).forgetting for name, method in result.methods.items()},
        identity={name: float(judged.means[IDENTITY].mean()) for name, judged in identity.items()},
        buffer=config.keeping.count,
        accepted=sum(len(group.photos) for group in album.batches),
        rejected=sum(len(group) for group in album.rejected),
        max_abs_error=error,
    )


def _export(base: Base[FaceGenerator], result: ProtocolResult, path: Path) -> float:
    anchors = [encoded.train.codes for encoded in result.encoded]
    about = {"base": Path(base.name).name, "base_sha256": base.sha256}
    about |= {"terms": base.metadata.get("terms", "not stated by the base"), "person": "synthetic"}
    model = Model2D(personal_weights(base, result.methods["er-hull"].model), anchors)
    report = export_model(model, path, metadata=about)
    return max(file.parity.max_error for file in report.files)
