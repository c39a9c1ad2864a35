"""The store's parts: W codes, page arithmetic, choosing by bytes, the model shelf, the lock, versions."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, Uniform, batch, choose_uniform, photo, update

from everface.engine.errors import IntegrityError, UsageError, WorkspaceError
from everface.engine.replay.choose import choose_memories
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.database import Database
from everface.engine.replay.latent_code import code_bytes, dequantize, quantize
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.space import Pages
from everface.engine.replay.store import Commit, Key, ReplayStore


@given(st.integers(1, 600), st.integers(0, 4), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_w_codes_are_within_half_a_step(d: int, n: int, scale: float, shift: float) -> None:
    w = (np.random.default_rng(d).normal(size=(n, d)) * scale + shift).astype(np.float32)
    codes = quantize(w)
    assert all(len(code) == code_bytes(d) for code in codes)
    back = dequantize(codes, d)
    if n:
        # Offset and step are rounded to 11 bits: the span that the steps divide is a little longer than that of w.
        span = np.ptp(w, axis=1, keepdims=True) * 1.001 + np.abs(w).max(axis=1, keepdims=True) * 2e-3 + 0.02
        assert (np.abs(back - w) <= 0.5 * span / 255 + 1e-5 * np.abs(w)).all()


def test_w_codes_refuse_what_they_cannot_hold() -> None:
    for bad in (np.full((1, 4), np.nan, np.float32), np.full((1, 4), 1e6, np.float32), np.zeros(4, np.float32)):
        with pytest.raises(UsageError, match="w"):
            quantize(bad)
    with pytest.raises(ValueError, match="length"):
        dequantize([b"123"], 4)


@given(st.sampled_from([512, 1024, 4096]), st.integers(1, 200_000))
@settings(max_examples=200, deadline=None)
def test_padding_fills_overflow_pages_exactly(size: int, length: int) -> None:
    pages = Pages(size)
    pad = pages.padding(length)
    assert 0 <= pad < size
    payload = pages.payload(length + pad)
    rest = (payload - pages.stub) % pages.overflow_bytes if payload > pages.most_local else 0
    # Where the padding lengthens the row's own header, one byte may be missing.
    assert rest in (0, pages.overflow_bytes - 1)


@pytest.mark.parametrize("length", [1, 400, 470, 478, 900, 5000, 40_000])
def test_page_arithmetic_is_that_of_sqlite(tmp_path: Path, length: int) -> None:
    file = tmp_path / "x.db"
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA page_size=512")
    connection.execute("CREATE TABLE record(id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    before = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute("INSERT INTO record VALUES(16, ?)", (bytes(length),))
    assert connection.execute("PRAGMA page_count").fetchone()[0] - before == Pages(512).overflow(length)
    connection.close()


def pool(sizes: list[int]) -> Pool:
    n = len(sizes)
    return Pool(np.zeros((n, 2)), np.zeros(n, np.int64), np.array(sizes), np.zeros(n), np.zeros(n))


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(0, 5000), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_chosen_always_fit_and_hardly_more_would(sizes: list[int], room: int, seed: int) -> None:
    candidates = pool(sizes)
    chosen = choose_memories(candidates, Uniform(), room, np.random.default_rng(seed))
    assert candidates.bytes[chosen].sum() <= room
    assert len(set(chosen.tolist())) == len(chosen)
    assert (np.diff(chosen) > 0).all()
    if len(set(sizes)) == 1:  # with equal sizes the most that fits is known
        assert len(chosen) == min(len(sizes), room // sizes[0])
    capped = choose_memories(candidates, Uniform(), room, np.random.default_rng(seed), max_count=3)
    assert len(capped) <= 3


@given(st.integers(17, 400), st.integers(0, 2**32), st.booleans())
@settings(max_examples=12, deadline=None)
def test_what_fits_the_room_always_fits_the_file(tmp_path_factory, kib: int, seed: int, sealed: bool) -> None:  # type: ignore[no-untyped-def]
    path, rng = tmp_path_factory.mktemp("room") / "w.everface", np.random.default_rng(seed)
    key = Key(b"k") if sealed else None
    with ReplayStore.create(path, budget_bytes=kib * 1024, config_json=CONFIG, key=key, cost=CHEAP) as store:
        for timestamp in range(3):
            side = int(rng.choice([16, 32, 64]))
            update(store, timestamp, batch(timestamp, int(rng.integers(1, 60)), side), timestamp)  # never BudgetError
            assert (path / "replay.db").stat().st_size <= kib * 1024


def test_the_shelf_keeps_what_its_names_say(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path)
    one, two = shelf.put(b"one"), shelf.put(b"two")
    assert shelf.put(b"one") == one
    assert shelf.names() == tuple(sorted((one, two)))
    assert shelf.get(two) == b"two"
    (tmp_path / "models" / f".{one}.1.part").write_bytes(b"half")
    assert shelf.sweep({one}) == (f".{one}.1.part", f"{two}.safetensors")
    with pytest.raises(WorkspaceError, match="that replay"):
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


def _hold(path: Path, ready: object, done: object) -> None:
    with WriterLock(path):
        ready.set()  # type: ignore[attr-defined]
        done.wait(20)  # type: ignore[attr-defined]


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(path, ready, done))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(WorkspaceError, match="another process"):
            ReplayStore.open(path)
        with ReplayStore.open(path, readonly=True) as reader:  # readers need no lock
            assert reader.state.timestamps == 0
        done.set()
        other.join(20)
        ReplayStore.open(path).close()
    finally:
        other.kill()


def test_a_newer_version_and_another_database_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    file = path / "replay.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version=7")
    connection.close()
    with pytest.raises(WorkspaceError, match="newer everface"):
        ReplayStore.open(path)
    file.unlink()
    sqlite3.connect(file).execute("CREATE TABLE photo(x)").connection.close()
    with pytest.raises(WorkspaceError, match="application id"):
        ReplayStore.open(path)
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(IntegrityError, match="intact"):
        ReplayStore.open(path)
    with pytest.raises(WorkspaceError, match="everface init"):
        ReplayStore.open(tmp_path / "none.everface")


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


def test_no_two_memories_of_one_photo(tmp_path: Path) -> None:
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=65536, config_json=CONFIG) as store:
        one = photo(1, 0)
        store.commit(Commit(MODEL, 0, add=(one,)))
        with pytest.raises(UsageError, match="twice"):
            store.commit(Commit(MODEL, 1, (store.memories()[0].id,), (one,)))


def test_policies_see_what_was_stored(tmp_path: Path) -> None:
    """The pool of a lowered budget has the stored spread and loss."""
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=1 << 17, config_json=CONFIG) as store:
        update(store, 0, batch(0))
        target = store.memories()[0].id
        store.commit(Commit(MODEL, 1, tuple(one.id for one in store.memories()), losses={target: 0.75}))
        pools: list[Pool] = []

        def choose(candidates: Pool, room: int) -> np.ndarray:
            pools.append(candidates)
            return choose_uniform(candidates, room)

        store.set_budget(24 * 1024, choose, choice=CodecChoice("webp", 75, 6))
        assert sorted(set(pools[0].loss.tolist())) == [0.25, 0.75]
        assert set(pools[0].spread.tolist()) == {1.5}


def _older(path: Path) -> Path:
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG).close()
    connection = sqlite3.connect(path / "replay.db")
    connection.execute("PRAGMA user_version=0")
    connection.close()
    return path / "replay.db"


def test_an_older_schema_is_migrated_in_one_transaction(tmp_path: Path) -> None:
    file = _older(tmp_path / "w.everface")
    with pytest.raises(WorkspaceError, match="knows version 0"):
        Database.open(file, readonly=False)
    with pytest.raises(WorkspaceError, match="open it for writing once"):
        Database.open(file, readonly=True, migrations={0: lambda database: None})

    def fails(database: Database) -> None:
        database.put(99, b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Database.open(file, readonly=False, migrations={0: fails})
    opened = Database.open(file, readonly=False, migrations={0: lambda database: database.put(99, b"whole")})
    assert opened.pragma("user_version") == 1
    assert opened.get(99) == b"whole"
    opened.close()


def test_a_file_of_the_first_version_is_read_forever() -> None:
    """Golden bytes: written by the first release of the format, and encrypted with the passphrase "golden"."""
    for name, key in (("plain", None), ("sealed", Key(b"golden"))):
        folder = Path(__file__).parent / "golden" / name
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, Path(copy) / "w.everface")
            with ReplayStore.open(Path(copy) / "w.everface", key=key, readonly=True) as store:
                assert (store.state.timestamps, store.state.model, store.state.config_json) == (2, MODEL, CONFIG)
                memories = store.memories()
                told = [(one.id, one.timestamp, one.codec, one.resolution, one.source_sha256) for one in memories]
                images = store.read_images([one.id for one in memories])
                means = [float(image.mean()) for image in images]
                expected = json.loads((folder.parent / f"{name}.json").read_text())
                assert [list(one) for one in told] == expected["memories"]
                assert means == pytest.approx(expected["means"], abs=0.5)
                assert [one.w[:4].tolist() for one in memories] == expected["w"]
