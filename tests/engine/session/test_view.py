"""The engine's verbs on a 3D workspace."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from everface import Engine, EngineConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.lora_weights import is_lora
from everface.engine.photos.camera import camera_angles, camera_label, orbit


@pytest.fixture
def config_3d(config: EngineConfig, tiny_3d: Path) -> EngineConfig:
    return dataclasses.replace(config, base=str(tiny_3d), dimension="3d")


@pytest.fixture
def head(tmp_path: Path, config_3d: EngineConfig, quick: None) -> Engine:
    with Engine.create(tmp_path / "head.everface", config_3d) as made:
        yield made


def test_updates_learn_keep_cameras_and_survive_reopening(head: Engine, batches: list[list[Path]]) -> None:
    first = head.update(batches[0])
    assert first.after < first.before == pytest.approx(first.base)
    second = head.update(batches[1])
    assert set(second.remembered) == {0, 1}
    memories = head._store.memories()
    assert all(one.view.shape == (6,) and one.w.shape == (32,) for one in memories)
    yaws = [camera_angles(camera_label(one.view))[0] for one in memories]
    assert max(map(abs, yaws)) < 60
    assert np.ptp(yaws) > 1
    views, status = head.generate(3, yaw=(-20, 20)), head.status()
    head.close()
    with Engine.open(head.path, readonly=True) as again:
        assert again.status() == status
        assert np.array_equal(again.generate(3, yaw=(-20, 20)), views)
        assert not np.array_equal(again.generate(3), views)
        report = again.report(head.path.parent / "report.html")
        assert report.stat().st_size > 1000


def test_a_lora_is_kept_as_its_factors(tmp_path: Path, config_3d: EngineConfig, batches: list[list[Path]]) -> None:
    tune = dataclasses.replace(config_3d.tune, lora_rank=1, max_steps=3)
    with Engine.create(tmp_path / "l.everface", dataclasses.replace(config_3d, tune=tune)) as engine:
        report = engine.update(batches[0])
        assert is_lora(engine._store.models.get(report.model))
        assert report.after < report.before


def test_a_photo_is_turned_and_its_planes_are_drawn_once(
    head: Engine, batches: list[list[Path]], short_search: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.update(batches[0])
    drawn: list[int] = []
    generator = head.person.model.generator
    planes = generator.fast_planes
    monkeypatch.setattr(
        generator, "fast_planes", lambda ws, *, dtype=None: drawn.append(len(ws)) or planes(ws, dtype=dtype)
    )
    done = head.view(batches[1][0], yaw=(-30, 30), frames=4)
    assert done.images.shape == (4, 16, 16, 3)
    assert done.yaws == (-30, -10, 10, 30)
    assert not np.array_equal(done.images[0], done.images[-1])
    drawn.clear()
    assert np.array_equal(head.render(done.portrait.styles[None], orbit([-30.0])), done.images[:1])
    assert drawn == []
    assert head.reconstruct(batches[1][0]).image.shape == (16, 16, 3)


@pytest.mark.parametrize("yaw", [(20, -20), (-100, 0), (float("nan"), 0)])
def test_yaws_out_of_range_are_refused(head: Engine, yaw: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match=r"-30\.\.30"):
        head.generate(1, yaw=yaw)


def test_2d_and_3d_workspaces_refuse_each_others_verbs(head: Engine, engine: Engine, batches: list[list[Path]]) -> None:
    for call in (lambda: engine.view(batches[0][0]), lambda: engine.mesh(batches[0][0])):
        with pytest.raises(UsageError, match="3D workspace"):
            call()
    engine.update(batches[0])
    with pytest.raises(UsageError, match="--dimension 3d"):
        engine.generate(1, yaw=(0, 10))


def test_a_2d_base_makes_no_3d_workspace(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(CheckpointError, match="--dimension 2d"):
        Engine.create(tmp_path / "x.everface", EngineConfig(base=str(tiny_base), dimension="3d"))
    assert not (tmp_path / "x.everface").exists()
