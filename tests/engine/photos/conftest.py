"""Shared fixtures: the face networks, a photo of a person who does not exist, and real albums where they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos import FaceModels

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def models() -> FaceModels:
    return FaceModels.load()


@pytest.fixture(scope="session")
def face_a() -> Path:
    return ROOT / "tests" / "data" / "synthetic_face_a.jpg"


@pytest.fixture(scope="session")
def face_b() -> Path:
    return ROOT / "tests" / "data" / "synthetic_face_b.jpg"


@pytest.fixture(scope="session")
def pixels(face_a: Path) -> NDArray[np.uint8]:
    """uint8 [320, 320, 3]; the face's 0.8 crop is the square from (64, 56) to (256, 248)."""
    return np.asarray(Image.open(face_a).convert("RGB"))


@pytest.fixture(scope="session")
def albums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of real photos, the first 24 of each of seven people."""
    archive = SHARED / "albums.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here: real albums do not travel with the project")
    folder = tmp_path_factory.mktemp("albums")
    with zipfile.ZipFile(archive) as files:
        names = sorted(n for n in files.namelist() if n.endswith(".jpg"))
        taken: dict[str, int] = {}
        for name in names:
            person = name.split("/")[-2]
            taken[person] = taken.get(person, 0) + 1
            if taken[person] <= 24:
                target = folder / person / name.split("/")[-1]
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(files.read(name))
    return folder
