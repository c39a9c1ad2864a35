"""One self-contained HTML page that tells what the engine did. No torch, no network, no script."""

from __future__ import annotations

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
from everface.engine.report.render import render_report

__all__ = [
    "ForgettingMatrix",
    "Memory",
    "Number",
    "Reconstruction",
    "RejectedPhoto",
    "ReportData",
    "SampleGrid",
    "Timestamp",
    "render_report",
]
