"""The memory file: whose it is, which version, and that every later version reads the first."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, batch, update

from everface.engine.errors import IntegrityError, UsageError, WorkspaceError
from everface.engine.replay.codec import decode
from everface.engine.replay.codec.latent import dequantize
from everface.engine.replay.memory_file import PLAIN, SEALED
from everface.engine.replay.store import Commit, Key, ReplayStore


def test_the_official_library_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 5))
        memories = {one.source_sha256: one for one in store.memories()}
    arrays = safetensors.numpy.load_file(path / PLAIN)
    assert set(safetensors.torch.load_file(path / PLAIN)) == set(arrays)
    codes = dequantize(arrays["scale"], arrays["codes"])
    for i, sha in enumerate(arrays["sha256"]):
        image = arrays["images"][arrays["image_offset"][i] : arrays["image_offset"][i + 1]].tobytes()
        assert decode(image, int(arrays["codec"][i]), int(arrays["resolution"][i])).shape == (64, 64, 3)
        assert (codes[i] == memories[sha.tobytes().hex()].w).all()


def test_a_newer_version_and_an_older_store_are_refused(tmp_path: Path) -> None:
    for name, key in ((PLAIN, None), (SEALED, Key(b"k"))):
        path = tmp_path / f"{name}.everface"
        ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=key, cost=CHEAP).close()
        file = path / name
        good = file.read_bytes()
        file.write_bytes(good.replace(b'"version":"1"', b'"version":"7"').replace(b"everface\1", b"everface\7"))
        for readonly in (False, True):
            with pytest.raises(WorkspaceError, match="version 7, of a newer everface; update everface") as raised:
                ReplayStore.open(path, key=key, readonly=readonly)
            assert not isinstance(raised.value, IntegrityError)
        file.write_bytes(b"not a memory file" * 100)
        with pytest.raises(IntegrityError, match="what a store writes"):
            ReplayStore.open(path, key=key)
        file.unlink()
        (path / "replay.db").write_bytes(b"SQLite format 3")
        with pytest.raises(WorkspaceError, match="SQLite store of an older everface; make a new workspace"):
            ReplayStore.open(path, key=key)
    with pytest.raises(WorkspaceError, match="everface init"):
        ReplayStore.open(tmp_path / "none.everface")


def test_two_memory_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=Key(b"k"), cost=CHEAP).close()
    other = tmp_path / "o.everface"
    ReplayStore.create(other, budget_bytes=65536, config_json=CONFIG).close()
    shutil.copy(other / PLAIN, path / PLAIN)
    with pytest.raises(IntegrityError, match="both"):
        ReplayStore.open(path, key=Key(b"k"))


def test_blocks_of_another_write_do_not_open(tmp_path: Path) -> None:
    """Each write has a key of its own: parts of an older file with the same passphrase are refused."""
    path, key = tmp_path / "w.everface", Key(b"k")
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=key, cost=CHEAP) as store:
        update(store, 0, batch(0, 3))
        old = (path / SEALED).read_bytes()
        store.set_budget(65536, lambda pool, room: np.arange(len(pool)))
        new = (path / SEALED).read_bytes()
        assert len(old) == len(new)
        (path / SEALED).write_bytes(new[:-600] + old[-600:])
        with pytest.raises(IntegrityError, match="block"):
            store.read_images([one.id for one in store.memories()])


def test_a_read_only_file_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 3))
    # Permissions bind everyone but root, so what the operating system would answer is put in its mouth.
    monkeypatch.setattr(os, "access", lambda file, mode: False)
    with pytest.raises(WorkspaceError, match="read-only"):
        ReplayStore.open(path)
    with ReplayStore.open(path, readonly=True) as store:
        assert len(store.read_images([one.id for one in store.memories()])) == 3


def test_readers_hold_nothing_and_see_whole_states(tmp_path: Path) -> None:
    """While a writer replaces and overwrites files, readers see one state or the next, and no damage."""
    path = tmp_path / "w.everface"
    problems: list[str] = []
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 10, 32, 64))
        done = threading.Event()

        def read() -> None:
            with ReplayStore.open(path, readonly=True) as reader:
                while not done.is_set():
                    try:
                        memories = reader.memories()
                        if len(reader.read_images([one.id for one in memories])) != 10:
                            problems.append("other memories")
                    except UsageError:
                        continue  # replaced between the two calls
                    except WorkspaceError as error:
                        problems.append(str(error))

        thread = threading.Thread(target=read)
        thread.start()
        for timestamp in range(1, 40):
            old = store.memories()
            keep = tuple(one.id for one in old)[5:]
            store.commit(Commit(MODEL, timestamp, keep, tuple(batch(timestamp, 5, 32, 64))))
        done.set()
        thread.join(20)
        if os.path.isdir("/proc/self/fd"):
            names = [os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd") if one != "x"
                     and os.path.exists(f"/proc/self/fd/{one}")]  # fmt: skip
            assert not [one for one in names if "memory" in one]
    assert problems == []


def test_a_rename_that_another_program_hinders_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, replace = [0], os.replace

    def hindered(source: Path, target: Path) -> None:
        calls[0] += 1
        if calls[0] < 4:
            raise PermissionError(13, "another program reads it")
        replace(source, target)

    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=65536, config_json=CONFIG) as store:
        monkeypatch.setattr(os, "replace", hindered)
        update(store, 0, batch(0, 3))
        assert (calls[0], len(store.memories())) == (4, 3)


def test_a_file_of_the_first_version_is_read_forever() -> None:
    """Golden bytes: written by the first release of the format, and encrypted with the passphrase "golden"."""
    for name, key in (("plain", None), ("sealed", Key(b"golden"))):
        folder = Path(__file__).parent / "golden" / name
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, Path(copy) / "w.everface")
            with ReplayStore.open(Path(copy) / "w.everface", key=key, readonly=True) as store:
                assert (store.state.timestamps, store.state.model, store.state.config_json) == (2, MODEL, CONFIG)
                memories = store.memories()
                ids = [(one.id, one.timestamp, one.codec, one.resolution, one.source_sha256) for one in memories]
                images = store.read_images([one.id for one in memories])
                means = [float(image.mean()) for image in images]
                expected = json.loads((folder.parent / f"{name}.json").read_text())
                assert [list(one) for one in ids] == expected["memories"]
                assert means == pytest.approx(expected["means"], abs=0.5)
                assert [one.w[:4].tolist() for one in memories] == expected["w"]
