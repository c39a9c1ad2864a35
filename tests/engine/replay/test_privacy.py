"""An encrypted workspace: no byte of any file tells anything, at any moment of an update."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from tests.engine.replay.stores import CHEAP, REASON, batch, choose_uniform

from everface.engine.atomic import Disk
from everface.engine.errors import IntegrityError, KeyMismatchError
from everface.engine.replay.codec import CodecChoice, encode
from everface.engine.replay.codec.latent import quantize
from everface.engine.replay.store import Commit, Key, NewMemory, Owner, ReplayStore
from everface.engine.vault import ScryptCost, VaultSeal

CONFIG = '{"base": "my-secret-base", "policy": "er-hull"}'
WEIGHTS = b"layer.weight" + np.random.default_rng(0).bytes(4096)


def secrets(photos: list[NewMemory]) -> dict[str, bytes]:
    """Bytes that must appear in no file: parts of everything that is stored."""
    found = {"configuration": b"my-secret-base", "history": b"at the seaside", "reason": REASON.encode()[:12]}
    found |= {"model": WEIGHTS[100:132], "owner": np.full(8, 0.5, "<f4").tobytes()}
    for i, one in enumerate(photos):
        found[f"image {i}"] = encode(one.image, CodecChoice())[0][30:62]
        found[f"pixels {i}"] = one.image.tobytes()[1000:1032]
        found[f"W code {i}"] = quantize(one.w[None])[1].tobytes()[40:72]
        found[f"w {i}"] = one.w.tobytes()[40:72]
        found[f"sha {i}"] = bytes.fromhex(one.sha256)[:8]
        found[f"dhash {i}"] = one.dhash.to_bytes(8, "little")
    return found


def leaks(folder: Path, sought: dict[str, bytes]) -> list[str]:
    files = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return sorted(f"{name} in {file}" for name, part in sought.items() for file, data in files.items() if part in data)


def commit(store: ReplayStore, timestamp: int, photos: list[NewMemory], keep: int) -> None:
    store.commit(
        Commit(
            store.models.put(WEIGHTS), timestamp, tuple(one.id for one in store.memories())[:keep], tuple(photos),
            np.stack([one.w for one in photos]), {"note": "at the seaside"},
            tuple((one.sha256, one.dhash) for one in photos), Owner(np.full(128, 0.5, np.float32), 1),
        )
    )  # fmt: skip


def test_no_plaintext_in_any_file_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.everface"
    key = Key.from_passphrase("correct horse")
    photos = [*batch(0, 8), *batch(1, 8), *batch(2, 8)]
    sought = secrets(photos) | {"passphrase": b"correct horse"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    seen: list[str] = []

    class Watched(Disk):
        """Looks at every file whenever one is synced, replaced or removed."""

        def sync(self, file: BinaryIO) -> None:
            super().sync(file)
            seen.extend(leaks(tmp_path, sought))

        def unlink(self, path: Path) -> None:
            seen.extend(leaks(tmp_path, sought))
            super().unlink(path)

    ReplayStore.create(path, budget_bytes=96 * 1024, config_json=CONFIG, key=key, cost=CHEAP).close()
    with ReplayStore.open(path, key=key, disk=Watched()) as store:
        commit(store, 0, photos[:8], 0)
        commit(store, 1, photos[8:16], 5)
        commit(store, 2, photos[16:], 9)
        store.forget(store.memories()[0].id)
        store.compact(choice=CodecChoice("avif", 40, 0))
        store.set_budget(32 * 1024, choose_uniform)
    assert seen == []
    assert leaks(tmp_path, sought) == []


def test_the_search_finds_what_is_not_encrypted(tmp_path: Path) -> None:
    photos = batch(0, 4)
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=96 * 1024, config_json=CONFIG) as store:
        commit(store, 0, photos, 0)
    found = leaks(tmp_path, secrets(photos))
    for name in ("image 0", "W code 3", "model", "owner"):
        assert any(one.startswith(name) for one in found), name


def test_model_files_need_the_key(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    key = Key(b"k")
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=key, cost=CHEAP) as store:
        name = store.models.put(WEIGHTS)
        assert store.models.get(name) == WEIGHTS
        other = VaultSeal(Key(b"other").derive(b"0" * 16, CHEAP), b"0" * 16)
        stored = next((path / "models").iterdir()).read_bytes()
    assert WEIGHTS[:32] not in stored
    with pytest.raises(IntegrityError):
        other.unseal(stored, b"model:" + name.encode())


def test_a_key_is_bound_to_its_workspace_and_records_to_their_place(tmp_path: Path) -> None:
    one, two = tmp_path / "one.everface", tmp_path / "two.everface"
    key = Key(b"same passphrase")
    for path in (one, two):
        ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=key, cost=CHEAP).close()
    assert (one / "memory.sealed").read_bytes() != (two / "memory.sealed").read_bytes()
    seal = VaultSeal(key.derive(b"s" * 16, CHEAP), b"s" * 16)
    sealed = seal.seal(b"data", b"chunk:16")
    assert seal.unseal(sealed, b"chunk:16") == b"data"
    for stored, name in ((sealed, b"chunk:18"), (sealed[:-1], b"chunk:16"), (b"", b"chunk:16")):
        with pytest.raises(IntegrityError):
            seal.unseal(stored, name)
    with pytest.raises(KeyMismatchError, match="passphrase"):
        seal.require(b"x" * 8)


def test_a_passphrase_is_never_shown() -> None:
    assert "hunter2" not in repr(Key.from_passphrase("hunter2"))
    assert ScryptCost() == ScryptCost(2**15, 8, 1)
