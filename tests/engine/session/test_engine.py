"""The engine's verbs on a workspace of a synthetic person."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from everface import Engine, EngineConfig
from everface.engine.errors import (
    BudgetError,
    CheckpointError,
    KeyMismatchError,
    NothingToDoError,
    UsageError,
    WorkspaceError,
)
from everface.engine.generators.bases import load_base
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import is_lora
from everface.engine.progress import Progress
from everface.engine.replay.store import Key


def test_a_new_workspace_is_empty(engine: Engine) -> None:
    status = engine.status()
    assert (status.timestamps, status.memories, status.model) == (0, (), "")
    assert status.file_bytes <= status.budget_bytes
    with pytest.raises(NothingToDoError, match="everface update"):
        engine.generate(1)


def test_an_update_learns_keeps_and_commits(engine: Engine, batches: list[list[Path]]) -> None:
    heard: list[Progress] = []
    report = engine.update(batches[0], on_progress=heard.append)
    assert (report.timestamp, report.accepted, report.rejected, report.steps) == (0, 3, (), 6)
    assert {progress.stage for progress in heard} == {"photos", "invert", "tune"}
    assert report.loss_after < report.loss_before == pytest.approx(report.loss_base)
    status = engine.status()
    assert status.timestamps == 1
    assert status.model == report.model
    assert len(status.memories) == report.kept == 3
    assert engine.store.models.names() == (report.model,)
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
    assert report.accepted == 1
    assert [one.reason for one in report.rejected] == ["duplicate"] * 3


def test_bad_photos_are_skipped_with_reasons(engine: Engine, batches: list[list[Path]], tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.png"
    broken.write_bytes(batches[0][0].read_bytes()[:300])
    empty.write_bytes(b"")
    report = engine.update([broken, empty, *batches[0]])
    assert report.accepted == 3
    assert {one.name: one.reason for one in report.rejected} == {"broken.jpg": "unreadable", "empty.png": "empty"}
    assert engine.store.history()[0]["rejected"] == {"empty": 1, "unreadable": 1}


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
    from everface.engine.tune import loop

    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
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
            anchors = engine.store.anchors()[0][1]
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
    assert engine.update(batches[0]).accepted == 3


def test_max_minutes_ends_with_a_commit(engine: Engine, batches: list[list[Path]]) -> None:
    object.__setattr__(
        engine,
        "config",
        dataclasses.replace(engine.config, tune=dataclasses.replace(engine.config.tune, max_steps=100_000)),
    )
    report = engine.update(batches[0], max_minutes=0.01)
    assert report.stopped == "time"
    assert engine.status().timestamps == 1


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_times_are_refused(engine: Engine, batches: list[list[Path]], minutes: float) -> None:
    with pytest.raises(UsageError, match="max_minutes"):
        engine.update(batches[0], max_minutes=minutes)


def test_forgetting_tunes_anew_next_time(engine: Engine, batches: list[list[Path]]) -> None:
    engine.update(batches[0])
    gone = engine.status().memories[0].id
    report = engine.forget(gone)
    assert report.still_derived
    status = engine.status()
    assert gone not in {one.id for one in status.memories}
    assert status.still_derived == (gone,)
    engine.update(batches[1])
    assert engine.status().still_derived == ()
    with pytest.raises(UsageError, match=gone):
        engine.forget(gone)


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


def test_the_budget_is_never_exceeded(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    with Engine.create(tmp_path / "w", dataclasses.replace(config, budget_bytes=16 * 1024)) as engine:
        for batch in batches:
            engine.update(batch)
            assert (engine.path / "memory.safetensors").stat().st_size <= 16 * 1024


def test_encrypted_workspaces_need_their_passphrase(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    path, key = tmp_path / "w", Key.from_passphrase("open sesame")
    with Engine.create(path, config, key=key) as engine:
        engine.update(batches[0])
        images = engine.generate(2)
    for wrong in (None, Key.from_passphrase("open sesam")):
        with pytest.raises(KeyMismatchError):
            Engine.open(path, key=wrong)
    with Engine.open(path, key=key) as engine:
        assert engine.status().encrypted
        assert np.array_equal(engine.generate(2), images)


def test_the_report_is_one_page(engine: Engine, batches: list[list[Path]], tmp_path: Path) -> None:
    for batch in batches[:2]:
        engine.update(batch)
    text = engine.report(tmp_path / "out" / "report.html").read_text()
    assert "er-hull" in text
    assert text.count("data:image/") >= 6
    assert "http://" not in text.replace("http://www.w3.org", "")
    with pytest.raises(UsageError, match="out"):
        engine.report(tmp_path)


def test_wrong_settings_leave_nothing_behind(tmp_path: Path, config: EngineConfig) -> None:
    path = tmp_path / "w"
    wrong = [
        ({"policy": "best"}, UsageError),
        ({"base": "nothing"}, CheckpointError),
        ({"dimension": "3d"}, CheckpointError),
    ]
    for change, kind in wrong:
        with pytest.raises(kind):
            Engine.create(path, dataclasses.replace(config, **change))
        assert not path.exists()
    with pytest.raises(UsageError, match="budget"):
        dataclasses.replace(config, budget_bytes=100)
    Engine.create(path, config).close()
    with pytest.raises(WorkspaceError, match="exists"):
        Engine.create(path, config)
    assert issubclass(BudgetError, WorkspaceError)


def test_the_base_is_found_from_anywhere_and_must_stay_the_same(
    tmp_path: Path,
    config: EngineConfig,
    quick: None,
    batches: list[list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, path = tmp_path / "mine.safetensors", tmp_path / "w"
    mine.write_bytes(Path(config.base).read_bytes())
    monkeypatch.chdir(tmp_path)
    with Engine.create(path, dataclasses.replace(config, base="mine.safetensors")) as engine:
        engine.update(batches[0])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Engine.open(path, readonly=True) as engine:
        assert len(engine.generate(1)) == 1
    base = load_base(str(mine))
    base.generator.synthesis.b4.const.mul_(2)
    mine.write_bytes(base.generator.to_bytes({}))
    with Engine.open(path, readonly=True) as engine, pytest.raises(CheckpointError, match="restore the base"):
        engine.generate(1)


def test_only_one_writer_at_a_time(engine: Engine) -> None:
    with pytest.raises(WorkspaceError, match="another engine of this program"):
        Engine.open(engine.path)
    with Engine.open(engine.path, readonly=True) as reader:
        assert reader.status().timestamps == 0


def test_a_lora_workspace_keeps_only_the_factors(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    lora = dataclasses.replace(config, tune=dataclasses.replace(config.tune, lora_rank=1, lora_learning_rate=0.1))
    with Engine.create(tmp_path / "me.everface", lora) as engine:
        first, second = (engine.update(batch) for batch in batches[:2])
        assert first.loss_after < first.loss_before
        assert second.model != first.model
        data = engine.store.models.get(second.model)
        assert is_lora(data)
        images = engine.generate(2)
        memory = engine.status().memories[0]
        engine.forget(memory.id)
        assert engine.update(batches[2]).accepted == 3  # from the base again, since a photo was forgotten
    base = load_base(config.base)
    factors = LoRA.from_bytes(data, base.generator, base.sha256)
    assert factors.config.rank == 1
    with Engine.open(tmp_path / "me.everface", readonly=True) as again:
        assert again.generate(2).shape == images.shape
        assert (
            again.kit.generator(data).synthesis.b8.conv0.weight.shape == base.generator.synthesis.b8.conv0.weight.shape
        )


def test_pictures_are_those_of_the_network(engine: Engine) -> None:
    config = engine.generator.config
    rng = np.random.default_rng(0)
    for shape in ((19, config.w_dim), (3, config.num_ws, config.w_dim), (0, config.w_dim)):
        codes = rng.standard_normal(shape).astype(np.float32)
        with torch.no_grad():
            wanted = engine.generator.synthesis(torch.from_numpy(codes))
        pictures = engine.render(codes)
        assert pictures.dtype == np.uint8 and pictures.shape == (len(codes), config.resolution, config.resolution, 3)
        scaled = (wanted.clamp(-1, 1).permute(0, 2, 3, 1).double().numpy() + 1) * 127.5
        assert np.abs(pictures - scaled).max(initial=0) <= 0.51  # rounded to nearest, within float32's own error
