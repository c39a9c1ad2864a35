"""The shelf of model files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from everface.engine.errors import IntegrityError, UsageError, WorkspaceError
from everface.engine.replay.models import ModelShelf


def test_the_shelf_keeps_what_its_names_say(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path)
    one, two = shelf.put(b"one"), shelf.put(b"two")
    assert shelf.put(b"one") == one
    assert shelf.names() == tuple(sorted((one, two)))
    assert shelf.get(two) == b"two"
    (tmp_path / "models" / f".{one}.1.part").write_bytes(b"half")
    assert shelf.sweep({one}) == (f".{one}.1.part", f"{two}.safetensors")
    with pytest.raises(WorkspaceError, match="that the last update left"):
        shelf.get(two)
    with pytest.raises(UsageError, match="64 hexadecimal"):
        shelf.get("../../etc/passwd")
    (tmp_path / "models" / f"{one}.safetensors").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="hash"):
        shelf.get(one)
    assert shelf.put(b"one") == one  # a damaged file is written anew
    assert shelf.get(one) == b"one"


def test_a_full_disk_leaves_no_model_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        ModelShelf(tmp_path).put(b"weights")
    assert list((tmp_path / "models").iterdir()) == []
