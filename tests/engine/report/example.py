"""A filled report whose pictures are drawn, so that tests need no photos."""

import numpy as np

from everface.engine.report import (
    ForgettingMatrix,
    Memory,
    Number,
    Reconstruction,
    RejectedPhoto,
    ReportData,
    SampleGrid,
    Timestamp,
)

LOWER = np.array([[0.21, 0, 0, 0], [0.44, 0.20, 0, 0], [0.52, 0.47, 0.19, 0], [0.61, 0.50, 0.42, 0.18]])
HULL = np.array([[0.21, 0, 0, 0], [0.27, 0.21, 0, 0], [0.29, 0.26, 0.20, 0], [0.31, 0.27, 0.26, 0.20]])


def face(seed: int, blur: float = 1.0) -> np.ndarray:
    """A head-like blob, uint8 [64, 64, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    head = 1 / (1 + np.exp((x**2 / 0.45 + y**2 / 0.7 - 1) * 9 / blur))
    skin, back = rng.uniform(120, 230, 3), rng.uniform(20, 140, 3)
    out = back + head[..., None] * (skin - back)
    for side in (-0.25, 0.25):
        eye = np.exp(-((x - side) ** 2 + (y + 0.15) ** 2) / (0.01 * blur))
        out -= eye[..., None] * 90
    return np.clip(out, 0, 255).astype(np.uint8)


def example_report(faces=face) -> ReportData:
    """Every part of the page, with four batches."""
    rejected = (
        RejectedPhoto("IMG_0412.jpg", "blurred", "sharpness 0.012, needs 0.020"),
        RejectedPhoto("group at the lake.jpg", "no-face", "no face found"),
    )
    return ReportData(
        title="Colin",
        subtitle="everface demo: lower bound and er-hull from the same start",
        summary=(
            Number("Forgetting, er-hull", "0.073", "lower bound 0.310"),
            Number("Identity of samples", "0.52", "base 0.24"),
            Number("Photos", "80", "2 rejected"),
            Number("Store", "41 KiB", "of 128 KiB"),
        ),
        timeline=tuple(
            Timestamp(
                t,
                20 - t,
                rejected if t == 1 else (),
                1.7 + t / 3,
                0.61 - t / 20,
                0.22,
                f"settled after {240 + t} steps",
            )
            for t in range(4)
        ),
        policy="er-hull",
        policy_reason="Of all balanced choices, the one whose convex hull lies nearest to the batches it stands for.",
        memories=tuple(
            Memory(faces(i), i % 3, 1300 + 90 * i, "corner of the hull", 0.31 + i / 50, f"{i:064x}") for i in range(6)
        ),
        budget_bytes=128 * 1024,
        used_bytes=41 * 1024,
        reconstructions=tuple(
            Reconstruction(faces(i), faces(i, 9), faces(i, 2), f"Batch {i + 1}, held out", 0.48 - i / 40, 0.21)
            for i in range(4)
        ),
        reconstruction_metric="MobileNetV2 distance, lower is better",
        samples=(
            SampleGrid("lower", tuple(faces(20 + i) for i in range(8))),
            SampleGrid("er-hull", tuple(faces(40 + i) for i in range(8))),
        ),
        matrices=(
            ForgettingMatrix("lower", "MobileNetV2 distance", False, LOWER),
            ForgettingMatrix("er-hull", "MobileNetV2 distance", False, HULL),
        ),
        settings=(
            ("Base", "base64"),
            ("Budget", "128 KiB"),
            ("Learning rate", "0.0003"),
            ("Steps at most", "400"),
            ("Seed", "0"),
        ),
        footer="everface 0.1.0",
    )
