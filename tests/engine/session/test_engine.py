"""The engine's verbs on a workspace of a synthetic person."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from everface import Engine, EngineConfig
from everface.engine.errors import (
    NothingToDoError,
    UsageError,
    WorkspaceError,
)
from everface.engine.generators.bases import load_base
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import is_lora
from everface.engine.learn import tuning
from everface.engine.progress import Progress
from everface.engine.session import UpdateFailedError


def test_a_new_workspace_is_empty(engine: Engine) -> None:
    status = engine.status()
    assert (status.timestamps, status.memories, status.model) == (0, (), "")
    assert status.file_bytes <= status.budget_bytes
    with pytest.raises(NothingToDoError, match="everface update"):
        engine.generate(1)


def test_an_update_learns_keeps_and_commits(engine: Engine, batches: list[list[Path]]) -> None:
    heard: list[Progress] = []
    report = engine.update(batches[0], on_progress=heard.append)
    assert (report.timestamp, len(report.accepted), report.rejected, report.steps) == (0, 3, (), 6)
    assert [photo.name for photo in report.accepted] == [path.name for path in batches[0]]
    assert {progress.stage for progress in heard} == {"photos", "invert", "tune"}
    assert report.after < report.before == pytest.approx(report.base)
    status = engine.status()
    assert status.timestamps == 1
    assert status.model == report.model
    assert len(status.memories) == report.kept == 3
    assert engine._store.models.names() == (report.model,)
    assert not (engine.path / "resume.part").exists()
    images = engine.generate(4, seed=1)
    assert images.shape == (4, 16, 16, 3)
    assert np.array_equal(images, engine.generate(4, seed=1))
    assert not np.array_equal(images, engine.generate(4, seed=2))


def test_updates_add_up_and_survive_reopening(engine: Engine, batches: list[list[Path]]) -> None:
    for batch in batches:
        report = engine.update(batch)
    assert set(report.remembered) == {0, 1, 2}
    images, status = engine.generate(3), engine.status()
    engine.close()
    with Engine.open(engine.path, readonly=True) as again:
        assert again.status() == status
        assert np.array_equal(again.generate(3), images)
        with pytest.raises(WorkspaceError, match="read-only"):
            again.update(batches[0])


def test_the_same_photos_again_are_duplicates(engine: Engine, batches: list[list[Path]]) -> None:
    engine.update(batches[0])
    before = engine.status()
    with pytest.raises(NothingToDoError, match="duplicate"):
        engine.update(batches[0])
    assert engine.status() == before
    report = engine.update([*batches[0], batches[1][0]])
    assert len(report.accepted) == 1
    assert [one.reason for one in report.rejected] == ["duplicate"] * 3


def test_bad_photos_are_skipped_with_reasons(engine: Engine, batches: list[list[Path]], tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.png"
    broken.write_bytes(batches[0][0].read_bytes()[:300])
    empty.write_bytes(b"")
    report = engine.update([broken, empty, *batches[0]])
    assert len(report.accepted) == 3
    assert {one.name: one.reason for one in report.rejected} == {"broken.jpg": "unreadable", "empty.png": "empty"}
    assert engine._store.state.history[0]["rejected"] == {"empty": 1, "unreadable": 1}


def test_two_runs_are_equal_bit_by_bit(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    models = []
    for name in ("a", "b"):
        with Engine.create(tmp_path / name, config) as engine:
            models.append([engine.update(batch).model for batch in batches[:2]])
    assert models[0] == models[1]


def test_an_interrupted_update_goes_on_to_the_same_model(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_CHECKPOINT_SECONDS", -1.0)
    with Engine.create(tmp_path / "whole", config) as engine:
        expected = engine.update(batches[0])

    class PulledError(Exception):
        pass

    def pull_the_plug(progress: Progress) -> None:
        if progress.stage == "tune" and progress.done == 4:
            raise PulledError

    with Engine.create(tmp_path / "part", config) as engine:
        with pytest.raises(PulledError):
            engine.update(batches[0], on_progress=pull_the_plug)
        assert engine.status().timestamps == 0
    with Engine.open(tmp_path / "part") as engine:
        report = engine.update(batches[0])
    assert report.resumed_at == 3
    assert report.model == expected.model


def test_codes_of_earlier_updates_stand_in_for_photos(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    """Without a stored photo, the previous model's pictures at its anchors keep what it knew of the first update."""
    forgot = {}
    for codes in (0, 3):
        tune = dataclasses.replace(config.tune, distil_codes=codes, max_steps=20, learning_rate=5e-3)
        mine = dataclasses.replace(config, policy="lower", tune=tune)
        with Engine.create(tmp_path / str(codes), mine) as engine:
            engine.update(batches[0])
            anchors = engine._store.anchors()[0][1]
            known = engine.render(anchors).astype(float)
            engine.update(batches[1])
            assert engine.status().memories == ()
            forgot[codes] = float(np.square(engine.render(anchors) - known).mean())
    assert forgot[3] < 0.5 * forgot[0]


def test_a_resume_file_of_other_photos_is_not_taken_up(
    engine: Engine, batches: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "tune":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.update(batches[0], on_progress=stop)
    assert (engine.path / "resume.part").exists()
    assert engine.update(batches[1]).resumed_at == 0
    (engine.path / "resume.part").write_bytes(b"garbage")
    assert len(engine.update(batches[0]).accepted) == 3


def test_max_minutes_ends_with_a_commit(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    endless = dataclasses.replace(config, tune=dataclasses.replace(config.tune, max_steps=100_000))
    with Engine.create(tmp_path / "w", endless) as engine:
        report = engine.update(batches[0], max_minutes=0.1)
        assert report.stopped == "time"
        assert engine.status().timestamps == 1


def test_no_time_to_learn_changes_nothing(engine: Engine, batches: list[list[Path]]) -> None:
    before = engine.status()
    with pytest.raises(UpdateFailedError, match="more time") as failed:
        engine.update(batches[0], max_minutes=1e-6)
    assert failed.value.stopped == "time" and len(failed.value.accepted) == 3
    assert engine.status() == before
    assert len(engine.update(batches[0]).accepted) == 3  # they do not count as seen


def test_a_worse_model_is_not_committed(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    wild = dataclasses.replace(config, tune=dataclasses.replace(config.tune, max_steps=2, learning_rate=1.0))
    with Engine.create(tmp_path / "w", wild) as engine:
        with pytest.raises(UpdateFailedError, match="learning_rate") as failed:
            engine.update(batches[0])
        report = failed.value.report()
        assert report["stopped"] == "worse" and report["after"] > report["before"]
        assert engine.status().timestamps == 0 and engine._store.models.names() == ()


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_times_are_refused(engine: Engine, batches: list[list[Path]], minutes: float) -> None:
    with pytest.raises(UsageError, match="max_minutes"):
        engine.update(batches[0], max_minutes=minutes)


@pytest.mark.parametrize("policy", ["lower", "upper", "er-rand"])
def test_policies_keep_what_they_promise(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]], policy: str
) -> None:
    with Engine.create(tmp_path / "w", dataclasses.replace(config, policy=policy)) as engine:
        for batch in batches[:2]:
            report = engine.update(batch)
        assert report.kept == (0 if policy == "lower" else 6)
        assert report.steps == (12 if policy == "upper" else 6)
        assert len(engine.generate(2)) == 2


def test_the_report_is_one_page(engine: Engine, batches: list[list[Path]], tmp_path: Path) -> None:
    for batch in batches[:2]:
        engine.update(batch)
    text = engine.report(tmp_path / "out" / "report.html").read_text()
    assert "er-hull" in text
    assert text.count("data:image/") >= 6
    assert "http://" not in text.replace("http://www.w3.org", "")
    with pytest.raises(UsageError, match="out"):
        engine.report(tmp_path)


def test_a_lora_workspace_keeps_only_the_factors(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    lora = dataclasses.replace(config, tune=dataclasses.replace(config.tune, lora_rank=1, lora_learning_rate=0.1))
    with Engine.create(tmp_path / "me.everface", lora) as engine:
        first, second = (engine.update(batch) for batch in batches[:2])
        assert first.after < first.before
        assert second.model != first.model
        data = engine._store.models.get(second.model)
        assert is_lora(data)
        images = engine.generate(2)
        memory = engine.status().memories[0]
        engine.forget(memory.id)
        assert len(engine.update(batches[2]).accepted) == 3  # from the base again, since a photo was forgotten
    base = load_base(config.base)
    factors = LoRA.from_bytes(data, base.generator, base.sha256)
    assert factors.config.rank == 1
    with Engine.open(tmp_path / "me.everface", readonly=True) as again:
        assert again.generate(2).shape == images.shape


def test_pictures_are_bytes_of_what_the_model_renders(engine: Engine) -> None:
    shape = engine.person.backend.shape
    rng = np.random.default_rng(0)
    for size in ((19, shape.w_dim), (3, shape.num_ws, shape.w_dim), (0, shape.w_dim)):
        codes = rng.standard_normal(size).astype(np.float32)
        wanted = engine.person.model.render(codes)
        pictures = engine.render(codes)
        assert pictures.dtype == np.uint8 and pictures.shape == (len(codes), 16, 16, 3)
        assert np.abs(pictures - (wanted.clip(-1, 1) + 1) * 127.5).max(initial=0) <= 0.51  # rounded to nearest


def test_a_person_stays_as_of_its_commit(engine: Engine, batches: list[list[Path]]) -> None:
    engine.update(batches[0])
    before = engine.person
    pictures = before.generate(2, 0, None)
    engine.update(batches[1])
    assert engine.person is not before and len(engine.person.anchors) == 2
    assert np.array_equal(before.generate(2, 0, None), pictures)
