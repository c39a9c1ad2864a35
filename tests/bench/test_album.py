"""Real updates on an album, on a tiny generator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.bench import album as bench
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss


@pytest.fixture(scope="module")
def result(
    tiny_base: Path, quick_loss: ReconstructionLoss, tmp_path_factory: pytest.TempPathFactory
) -> bench.AlbumResult:
    whole = bench.demo_album_in(tmp_path_factory.mktemp("album"))
    few = bench.Album("few", tuple(one[:3] for one in whole.updates[:2]), whole.first_held_out[:2], whole.held_out[::4])
    config = EngineConfig(
        str(tiny_base), 64 * 1024, invert=InvertConfig(2), tune=TuneConfig(max_steps=3, settle_window=0)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchBackend, "loss", quick_loss)
        return bench.measure_album(few, None, ("lower", "er-hull"), config)


def test_each_policy_learns_all_updates(result: bench.AlbumResult) -> None:
    assert [one.policy for one in result.policies] == ["lower", "er-hull"]
    for one in result.policies:
        assert [len(report.accepted) for report in one.reports] == [3, 3]
        assert -1 <= one.identity_before <= 1
        assert one.identity_before != one.identity_after
        assert min(one.first_error, one.last_error) > 0
        assert one.file_bytes <= 64 * 1024
    lower, hull = result.policies
    assert lower.memories == 0
    assert hull.memories > 0
    assert lower.first_error == pytest.approx(hull.first_error, rel=1e-3)


def test_rows_stand_beside_lower(result: bench.AlbumResult) -> None:
    rows = bench.rows_of(result)
    assert {row.case for row in rows} == {"few lower", "few er-hull"}
    (beside,) = (row for row in rows if row.peer == "lower")
    assert beside.ratio == pytest.approx(result.policies[0].last_error / result.policies[1].last_error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "someone"
    made.mkdir()
    for i in range(30):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(made / f"{i:02d}.png")
    return made


def test_a_folder_is_divided_without_overlap(folder: Path) -> None:
    album = bench.album_in(folder, updates=3, batch=8, held_out=3)
    assert [len(one) for one in album.updates] == [8, 8, 8]
    assert [path.name for path in album.first_held_out] == ["08.png", "09.png"]
    assert [path.name for path in album.held_out] == ["26.png", "27.png", "28.png"]
    told = [path for part in (*album.updates, album.first_held_out, album.held_out) for path in part]
    assert len(told) == len(set(told))


def test_too_few_photos_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="at least"):
        bench.album_in(folder, updates=4, batch=8)


def test_a_missing_judge_is_refused(folder: Path, tiny_base: Path) -> None:
    album = bench.album_in(folder, updates=1, batch=4)
    with pytest.raises(MissingBackendError, match="judge"):
        bench.measure_album(album, folder / "none.onnx", config=EngineConfig(str(tiny_base)))


def test_the_command_writes_rows(
    result: bench.AlbumResult, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "measure_album", lambda *_: result)
    said: list[str] = []
    bench.main([str(folder), "--batch", "4", "--json", str(tmp_path / "rows.json")], said.append)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(rows) == len(said) == len(bench.rows_of(result))
