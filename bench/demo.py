"""`everface demo`: a synthetic person's four outings, learned with and without memory, side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from everface.bench.demo_album import PreparedAlbum, prepare_demo_album
from everface.bench.demo_report import SHOWN_SAMPLES, demo_report
from everface.bench.protocol import ProtocolConfig, ProtocolResult, run_protocol, samples_of
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.pictures import grid_of
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.report import render_report
from everface.engine.session.kit import Kit
from everface.export.stages import export_model

__all__ = ["DEMO", "METHODS", "DemoResult", "run_demo"]

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
    out: Path, on_progress: OnProgress = ignore_progress, config: ProtocolConfig = DEMO, base: str = "base64"
) -> DemoResult:
    """Runs the demo and writes ``report.html``, ``personal.onnx`` and ``samples.png`` into a folder.

    Args:
        out: the folder, made where it is missing; files of these names are replaced.
        on_progress: hears the stages ``"photos"``, ``"invert"``, ``"tune"`` and ``"evaluate"``.
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
    kit = Kit(replace(EngineConfig(base=base), invert=config.invert, tune=config.tune, seed=config.seed))
    album = prepare_demo_album(kit, on_progress)
    result = run_protocol(kit, album.batches, METHODS, config, on_progress=on_progress)
    exported = _export(kit, result, out / "personal.onnx")
    samples = _sample_grid(kit, result, config, out / "samples.png")
    seconds = time.monotonic() - began
    page = demo_report(kit, album, result, config, seconds)
    path = out / "report.html"
    path.write_text(render_report(page), encoding="utf-8")
    return _told(album, result, config, DemoFiles(path, out / "personal.onnx", samples, exported, began))


@dataclass(frozen=True)
class DemoFiles:
    """What was written, and since when."""

    report: Path
    onnx: Path
    samples: Path
    max_abs_error: float
    began: float


def _told(album: PreparedAlbum, result: ProtocolResult, config: ProtocolConfig, files: DemoFiles) -> DemoResult:
    personal = result.method("er-hull").last
    return DemoResult(
        report=files.report,
        onnx=files.onnx,
        samples=files.samples,
        seconds=round(time.monotonic() - files.began, 1),
        forgetting={name: result.method(name).reconstruction_summary().forgetting for name in METHODS},
        identity={"base": float(result.base.identity.mean()), "personal": float(personal.identity.mean())},
        buffer=config.keeping.count,
        accepted=sum(len(one.train) + len(one.held_out) for one in album.batches),
        rejected=sum(len(one) for one in album.rejected),
        max_abs_error=files.max_abs_error,
    )


def _export(kit: Kit, result: ProtocolResult, path: Path) -> float:
    anchors = [one.train.codes.numpy() for one in result.encoded]
    told = {"base": Path(kit.base.name).name, "base_sha256": kit.base.sha256}
    told |= {"terms": kit.base.metadata.get("terms", "not stated by the base"), "person": "synthetic"}
    report = export_model(result.method("er-hull").generator, anchors, path, metadata=told)
    return max(file.parity.max_error for file in report.files)


def _sample_grid(kit: Kit, result: ProtocolResult, config: ProtocolConfig, path: Path) -> Path:
    """One row a model, the same codes in each, as many of every batch."""
    models = (kit.base.generator, *(result.method(name).generator for name in METHODS))
    share = max(1, SHOWN_SAMPLES // len(result.encoded))
    rows = [
        samples_of(model, one, config, timestamp)[:share]
        for model in models
        for timestamp, one in enumerate(result.encoded)
    ]
    columns = sum(len(row) for row in rows[: len(result.encoded)])
    Image.fromarray(grid_of(np.concatenate(rows), columns)).save(path)
    return path
