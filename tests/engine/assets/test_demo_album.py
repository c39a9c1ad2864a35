"""The embedded album: small, complete, and every photo passes the gate."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from everface.engine.assets import asset_path
from everface.engine.config import PhotoConfig
from everface.engine.photos import FaceModels, prepare_photos

ALBUM = asset_path("demo_album.zip")


@pytest.fixture(scope="module")
def index() -> dict[str, list[dict[str, list[str]]]]:
    with zipfile.ZipFile(ALBUM) as archive:
        return dict(json.loads(archive.read("album.json")))


def test_it_is_small() -> None:
    assert ALBUM.stat().st_size <= 1_000_000


def test_it_has_four_batches_of_twelve_with_four_held_out(index: dict[str, list[dict[str, list[str]]]]) -> None:
    with zipfile.ZipFile(ALBUM) as archive:
        names = set(archive.namelist())
    assert [(len(one["train"]), len(one["held_out"])) for one in index["batches"]] == [(8, 4)] * 4
    told = [name for one in index["batches"] for name in (*one["train"], *one["held_out"])]
    assert len(set(told)) == 48
    assert set(told) | {"album.json"} == names


def test_every_photo_is_accepted(tmp_path: Path) -> None:
    with zipfile.ZipFile(ALBUM) as archive:
        archive.extractall(tmp_path)
    batch = prepare_photos(sorted(tmp_path.glob("*/*.jpg")), 64, PhotoConfig(), models=FaceModels.load())
    assert batch.rejected == ()
    assert len(batch.accepted) == 48
