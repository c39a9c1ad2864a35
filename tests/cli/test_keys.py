"""Where a passphrase comes from: the keyring, a file, or a prompt."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from everface import keys
from everface.engine.errors import KeyMismatchError, MissingBackendError, UsageError


class KeyringError(Exception):
    """As the package's own."""


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., str | None]], None]:
    """Puts a keyring in place of the system's."""

    def put(read: Callable[..., str | None]) -> None:
        errors = types.ModuleType("keyring.errors")
        module = types.ModuleType("keyring")
        errors.KeyringError, module.errors, module.get_password = KeyringError, errors, read  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "keyring", module)
        monkeypatch.setitem(sys.modules, "keyring.errors", errors)

    return put


def test_the_keyring_answers(keyring: Callable[..., None], tmp_path: Path) -> None:
    keyring(lambda service, name: "open sesame" if (service, name) == ("everface", str(tmp_path.resolve())) else None)
    assert keys.existing_key(tmp_path, None) is not None
    with pytest.raises(KeyMismatchError, match="no terminal"):
        keys.existing_key(tmp_path / "other", None)


def test_a_locked_keyring_is_named(keyring: Callable[..., None], tmp_path: Path) -> None:
    def locked(*_: str) -> str:
        raise KeyringError("it is locked")

    keyring(locked)
    with pytest.raises(MissingBackendError, match="it is locked"):
        keys.new_key(tmp_path, None)


def test_a_prompt_asks_twice_for_a_new_passphrase(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    answers = iter(["one", "one", "one", "two", "one"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert keys.new_key(tmp_path, None) is not None
    with pytest.raises(UsageError, match="the same twice"):
        keys.new_key(tmp_path, None)
    assert keys.existing_key(tmp_path, None) is not None
