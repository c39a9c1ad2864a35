"""Real updates on an album, on a tiny generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.bench import album as bench
from everface.bench.common import Row
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss


@pytest.fixture(scope="module")
def rows(
    tiny_base: Path, quick_loss: ReconstructionLoss, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Row]:
    whole = bench.demo_album_in(tmp_path_factory.mktemp("album"))
    few = bench.Album("few", tuple(one[:3] for one in whole.updates[:2]), whole.first_held_out[:2], whole.held_out[::4])
    config = EngineConfig(
        str(tiny_base), 64 * 1024, invert=InvertConfig(2), tune=TuneConfig(max_steps=3, settle_window=0)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchBackend, "loss", quick_loss)
        by = bench.Yardstick.of(few, None, config)
        return {(row.case, row.metric): row for row in bench.album_rows(few, ("lower", "er-hull"), by, config)}


def test_each_policy_learns_all_updates(rows: dict[tuple[str, str], Row]) -> None:
    assert {case for case, _ in rows} == {"few lower", "few er-hull"}
    for case in ("few lower", "few er-hull"):
        told = {metric: row.value for (of, metric), row in rows.items() if of == case}
        assert told["accepted"] == 6
        assert -1 <= told["identity before"] <= 1
        assert told["identity before"] != told["identity after"]
        assert min(told["first batch, after it"], told["first batch, at the end"]) > 0
        assert told["store"] <= 64 * 1024
        assert (told["memories"] > 0) == (case == "few er-hull")
    first = [rows[f"few {policy}", "first batch, after it"].value for policy in bench.POLICIES]
    assert first[0] == pytest.approx(first[1], rel=1e-3)


def test_what_is_forgotten_stands_beside_lower(rows: dict[tuple[str, str], Row]) -> None:
    (beside,) = (row for row in rows.values() if row.peer == "lower")
    lower = rows["few lower", "first batch, at the end"].value
    assert beside.case == "few er-hull" and beside.ratio == pytest.approx(lower / beside.value)


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
        bench.Yardstick.of(album, folder / "none.onnx", EngineConfig(str(tiny_base)))


def test_the_command_takes_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.Yardstick, "of", lambda *_: None)
    monkeypatch.setattr(bench, "album_rows", lambda album, names, *_: [Row(album.name, names[0], 1.0, "policies")])
    (row,) = bench.run(folder, batch=4, policies=("er-rand",))
    assert (row.case, row.metric) == ("someone", "er-rand")
