"""What a killed writer left is brought to its end, whatever it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.engine.replay.stores import CONFIG, MODEL, batch, update

from everface.engine.atomic import DISK, Disk, finish_wipe, old_name, part_of
from everface.engine.errors import WorkspaceError
from everface.engine.replay.memory_file import PLAIN
from everface.engine.replay.store import Commit, ReplayStore


class Watching(Disk):
    """Remembers what a file held when its name was removed."""

    def __init__(self) -> None:
        self.removed: dict[str, bytes] = {}

    def unlink(self, path: Path) -> None:
        self.removed[path.name] = path.read_bytes()
        super().unlink(path)


class Unlinked(Disk):
    """A file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links")


@pytest.mark.parametrize("new", [b"new", None])
def test_an_old_file_is_overwritten_or_takes_its_name_again(tmp_path: Path, new: bytes | None) -> None:
    path, disk = tmp_path / "memory.x", Watching()
    old_name(path).write_bytes(b"old")
    part_of(path).write_bytes(b"unfinished")
    if new is not None:
        path.write_bytes(new)
    finish_wipe(path, disk)
    assert path.read_bytes() == (new or b"old")
    assert disk.removed == {part_of(path).name: bytes(10)} | ({old_name(path).name: bytes(3)} if new else {})
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_name_of_the_file_itself_is_only_removed(tmp_path: Path) -> None:
    path = tmp_path / "memory.x"
    path.write_bytes(b"the one")
    os.link(path, old_name(path))
    finish_wipe(path, DISK)
    assert path.read_bytes() == b"the one"
    assert list(tmp_path.iterdir()) == [path]


def test_every_replaced_file_is_overwritten(tmp_path: Path) -> None:
    path, disk = tmp_path / "w.everface", Watching()
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    with ReplayStore.open(path, disk=disk) as store:
        update(store, 0, batch(0, 3))
        size = (path / PLAIN).stat().st_size
        store.forget(store.memories()[0].id)
        assert disk.removed[old_name(path / PLAIN).name] == bytes(size)


def test_a_file_system_without_hard_links(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    with ReplayStore.open(path, disk=Unlinked()) as store:
        update(store, 0, batch(0, 3))
        update(store, 1, batch(1, 3))
    # Killed between the two renames: readers see the state before, the next writer gives it back its name.
    os.replace(path / PLAIN, old_name(path / PLAIN))
    with ReplayStore.open(path, readonly=True) as store:
        assert len(store.memories()) == 6
    with ReplayStore.open(path) as store:
        assert len(store.memories()) == 6
    assert (path / PLAIN).exists()


def test_forget_says_when_it_cannot_overwrite(tmp_path: Path) -> None:
    class Full(Disk):
        def open(self, path: Path, mode: str) -> BinaryIO:
            if mode == "r+b":
                raise OSError(errno.EIO, "failing disk")
            return super().open(path, mode)

    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 3))
        id = store.memories()[0].id
    with ReplayStore.open(path, disk=Full()) as store:
        with pytest.raises(WorkspaceError, match="failing disk"):
            store.forget(id)
        assert id not in {one.id for one in store.memories()}
    assert old_name(path / PLAIN).exists()
    with ReplayStore.open(path) as store:
        assert not old_name(path / PLAIN).exists()
        store.commit(Commit(MODEL, 1, tuple(one.id for one in store.memories())))
