"""One writer at a time, and messages that are true."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.engine.replay.stores import CONFIG

from everface.engine.errors import WorkspaceError
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.store import ReplayStore


def _hold(path: Path, ready: object) -> None:
    with contextlib.closing(WriterLock(path)):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(120)  # an Event that a killed process waits for would block whoever sets it


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(path, ready))
    other.start()
    try:
        assert ready.wait(120)  # a fresh interpreter on a busy machine
        with pytest.raises(WorkspaceError, match=rf"in use by another writer \(pid {other.pid}\)"):
            ReplayStore.open(path)
        with ReplayStore.open(path, readonly=True) as reader:  # readers need no lock
            assert reader.state.timestamps == 0
        other.kill()
        other.join(60)
        assert (path / "writer.json").exists()  # what a killed writer leaves says nothing
        ReplayStore.open(path).close()
    finally:
        other.kill()


def test_an_engine_of_this_program_is_not_another_process(tmp_path: Path) -> None:
    first = WriterLock(tmp_path)
    with pytest.raises(WorkspaceError, match="another engine of this program, which is not closed"):
        WriterLock(tmp_path)
    cycle: list[Any] = [first]
    cycle.append(cycle)
    del first, cycle  # not collected yet
    WriterLock(tmp_path).close()
    assert [one.name for one in tmp_path.iterdir() if one.name != "lock"] == []


def test_only_a_holder_that_is_there_is_named(tmp_path: Path) -> None:
    with contextlib.closing(WriterLock(tmp_path)):
        for text, named in (
            ("", "another writer;"), (json.dumps({"pid": 2**22 + 1, "host": os.uname().nodename}), "another writer;"),
            (json.dumps({"pid": 7, "host": "elsewhere"}), "another writer (pid 7 on elsewhere);"),
        ):  # fmt: skip
            (tmp_path / "writer.json").write_text(text)
            with pytest.raises(WorkspaceError) as raised:
                WriterLock(tmp_path)
            assert f"in use by {named}" in str(raised.value)


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_have_one_writer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def missing(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", missing)
    lock = WriterLock(tmp_path)
    with pytest.raises(WorkspaceError, match="another engine of this program"):
        WriterLock(tmp_path)
    lock.close()
    WriterLock(tmp_path).close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="open it read-only"):
        WriterLock(tmp_path / "file")
