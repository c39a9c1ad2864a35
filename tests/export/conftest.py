"""A tiny generator in which everything that an export could lose matters: noise, clamps, biases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.model2d import Model2D
from everface.export.recipe import ExportRecipe
from everface.export.report import ExportReport
from everface.export.stages import export_model


def make_generator(seed: int = 0, **shape: object) -> Generator:
    told = {"resolution": 16, "z_dim": 32, "w_dim": 24, "mapping_layers": 2, "channel_base": 128, "channel_max": 12}
    torch.manual_seed(seed)
    generator = Generator(StyleGAN2Config(**(told | shape)))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if name.endswith("noise_strength"):
                value.normal_()
            elif name.endswith("bias"):
                value.add_(torch.randn_like(value) * 0.3)
        generator.mapping.w_avg.normal_()
    return generator.eval().requires_grad_(False)


def export_2d(
    generator: Generator, anchors: Sequence[NDArray[np.float32]], path: Path, recipe: ExportRecipe | None = None,
    **more: Any,
) -> ExportReport:  # fmt: skip
    """Exports a generator of a test."""
    model = Model2D(generator.weights(), anchors, None if recipe is None else recipe.resolution)
    return export_model(model, path, recipe, **more)


def quick_judge(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float]:
    """Stands in for perception where a test is about something else: mean squared differences of a picture."""
    worst = float(np.square(got - wanted).mean(axis=(1, 2, 3)).max())
    return worst, worst


@pytest.fixture(autouse=True)
def _quick_judge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_judge" not in request.keywords:
        monkeypatch.setattr("everface.export.stages.Judge", lambda *_: quick_judge)


@pytest.fixture(scope="session")
def generator() -> Generator:
    return make_generator()


@pytest.fixture(scope="session")
def anchors() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((count, 24), dtype=np.float32) for count in (3, 4)]
