"""A bundle of the tiny generator, its members, and ways to forge them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.export.conftest import export_2d, quick_judge

from everface.engine.generators.stylegan2.generator import Generator
from everface.export.recipe import GRAPHS, ExportRecipe
from everface.export.runtime.container import Container, pack

Members = dict[str, bytes]
TOLD = {"terms": "ask first", "base": "tiny", "base_sha256": "ab" * 32}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, generator: Generator, anchors: list[NDArray[np.float32]]) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "me.bundle"
    recipe = ExportRecipe("bundle", graphs=GRAPHS, samples=1)
    export_2d(generator, anchors, path, recipe, metadata=TOLD, judge=quick_judge)
    return path


@pytest.fixture(scope="session")
def members(bundle: Path) -> Members:
    container = Container(bundle)
    return {name: container.read(name, size) for name, size in container.sizes.items()}


@pytest.fixture
def forge(tmp_path: Path, members: Members) -> Callable[..., Path]:
    """Writes a bundle whose hashes hold, with some members replaced and some of the manifest changed."""

    def make(replaced: Members | None = None, **changes: object) -> Path:
        files = members | (replaced or {})
        told = json.loads(files.pop("manifest.json"))
        told["files"] = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()}
        told |= changes
        path = tmp_path / "forged.bundle"
        path.write_bytes(pack({"manifest.json": json.dumps(told).encode(), **files}))
        return path

    return make
