"""Where a passphrase comes from: a file, the operating system's keyring, or a prompt; never the command line."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from everface.engine.errors import KeyMismatchError, MissingBackendError, UsageError
from everface.engine.vault import Key

_SERVICE = "everface"
_REMEDY = "pass --passphrase-file FILE, store it in the OS keyring, or run in a terminal"


def new_key(workspace: Path, passphrase_file: Path | None) -> Key:
    """The passphrase for a new workspace; asked for twice at a prompt.

    Raises:
        UsageError: empty, or typed differently the second time.
        KeyMismatchError: none to be had.
    """
    stored = _stored(workspace, passphrase_file)
    if stored is not None:
        return stored
    first = getpass.getpass("Passphrase: ")
    if first != getpass.getpass("Again: "):
        raise UsageError("passphrase", expected="the same twice", found="two different ones", remedy="try again")
    return Key.from_passphrase(first)


def existing_key(workspace: Path, passphrase_file: Path | None) -> Key:
    """The passphrase of an encrypted workspace.

    Raises:
        KeyMismatchError: none to be had.
    """
    stored = _stored(workspace, passphrase_file)
    if stored is not None:
        return stored
    return Key.from_passphrase(getpass.getpass(f"Passphrase of {workspace.name}: "))


def _stored(workspace: Path, passphrase_file: Path | None) -> Key | None:
    """From the file or the keyring; None where it has to be asked for, and can be."""
    key = _from_keyring(workspace) if passphrase_file is None else _from_file(passphrase_file)
    if key is None and not sys.stdin.isatty():
        raise KeyMismatchError("passphrase", expected="a passphrase", found="none and no terminal", remedy=_REMEDY)
    return key


def _from_file(path: Path) -> Key:
    try:
        text = path.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        raise UsageError("--passphrase-file", expected="a file that can be read", found=f"{path}: {found}") from error
    # One line end is the editor's, all else is the passphrase.
    return Key.from_passphrase(text.removesuffix(b"\n").removesuffix(b"\r"))


def _from_keyring(workspace: Path) -> Key | None:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    try:
        passphrase = keyring.get_password(_SERVICE, str(workspace.resolve()))
    except keyring.errors.KeyringError as error:
        remedy = "unlock it, or pass --passphrase-file FILE"
        raise MissingBackendError("OS keyring", expected="one that answers", found=str(error), remedy=remedy) from error
    return Key.from_passphrase(passphrase) if passphrase else None
