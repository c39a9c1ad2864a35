"""One update: what starts anew, what is refused, and that refusal changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from everface import Engine
from everface.engine.session.update import starts_anew
from everface.engine.session.values import UpdateFailedError


def test_the_upper_bound_and_forgotten_photos_start_anew(engine: Engine, batches: list[list[Path]]) -> None:
    state = engine._store.state
    assert not starts_anew(engine.config, state)
    assert starts_anew(replace(engine.config, policy="upper"), state)
    engine.update(batches[0])
    engine.forget(engine.status().memories[0].id)
    assert starts_anew(engine.config, engine._store.state)


def test_a_batch_without_a_face_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    before = engine.status()
    (tmp_path / "notes.jpg").write_text("not a photo")
    with pytest.raises(UpdateFailedError, match=r"notes\.jpg: unreadable") as caught:
        engine.update([tmp_path / "notes.jpg"])
    assert caught.value.report()["rejected"][0].name == "notes.jpg"
    assert engine.status() == before
