"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from everface.engine.atomic import DISK, Disk, erase, old_name, part_of, write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_whole(path, b"one")
    write_whole(path, lambda file: file.write(b"two") and None, keep=True)
    assert (path.read_bytes(), old_name(path).read_bytes()) == (b"two", b"one")
    erase(old_name(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["create", "sync", "replace"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_failure_leaves_the_old_file(tmp_path: Path, step: str, linked: bool) -> None:
    class Failing(Disk):
        def open(self, path: Path, mode: str) -> BinaryIO:
            return self.fail() if (step, mode) == ("create", "wb") else super().open(path, mode)

        def sync(self, file: BinaryIO) -> None:
            return self.fail() if step == "sync" else super().sync(file)

        def replace(self, source: Path, target: Path) -> None:
            return self.fail() if step == "replace" and source == part_of(path) else super().replace(source, target)

        def link(self, source: Path, target: Path) -> None:
            return super().link(source, target) if linked else self.fail()

        def fail(self):  # type: ignore[no-untyped-def]
            raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"):
        write_whole(path, b"new", disk=Failing(), keep=True)
    assert path.read_bytes() == b"old"
    assert not part_of(path).exists()


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EACCES, False), (errno.EIO, True)])
def test_folders_are_synced_where_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raised: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    DISK.sync_folder(tmp_path)
    for name in ("fsync", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            if raised:
                with pytest.raises(OSError, match="put"):
                    DISK.sync_folder(tmp_path)
            else:
                DISK.sync_folder(tmp_path)


def test_a_name_that_stays_held_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*_: object) -> None:
        raise PermissionError(13, "another program reads it")

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr("everface.engine.atomic._PATIENCE", 0.05)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []
