"""Seals: what turns plain records into stored bytes, with a checksum (plain) or AES-256-GCM (encrypted).

A seal binds each record to its name, so that a record moved to another place does not open there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Protocol

from everface.engine.errors import IntegrityError, KeyMismatchError, UsageError

__all__ = ["NONCE_BYTES", "CheckSeal", "Key", "ScryptCost", "Seal", "VaultSeal"]

CHECKSUM_BYTES = 8
NONCE_BYTES = 12
_TAG_BYTES = 16


class Seal(Protocol):
    """Turns plain bytes into bytes that cannot change unnoticed, and back."""

    @property
    def overhead(self) -> int:
        """Bytes that sealing adds."""

    @property
    def part_overhead(self) -> int:
        """Bytes that sealing a part adds."""

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Returns the stored form of ``plain`` under ``name``."""

    def unseal(self, stored: bytes, name: bytes) -> bytes:
        """Returns what was sealed under ``name``; raises IntegrityError where it is not that."""

    def seal_part(self, plain: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Seals one of several parts that belong to a sealed ``whole``, whose nonce they share, with their index."""

    def unseal_part(self, stored: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Returns what was sealed by :meth:`seal_part`; only the first bytes of ``whole`` are needed."""


class CheckSeal:
    """No secrecy: a 64-bit BLAKE2b checksum over the name and the bytes."""

    overhead = part_overhead = CHECKSUM_BYTES

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Appends the checksum."""
        return plain + _checksum(plain, name)

    def unseal(self, stored: bytes, name: bytes) -> bytes:
        """Verifies and removes the checksum."""
        plain, found = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
        if len(stored) < CHECKSUM_BYTES or found != _checksum(plain, name):
            raise _damaged(name)
        return plain

    def seal_part(self, plain: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Appends the checksum."""
        return self.seal(plain, name)

    def unseal_part(self, stored: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Verifies and removes the checksum."""
        return self.unseal(stored, name)


@dataclass(frozen=True)
class ScryptCost:
    """scrypt's work factors (RFC 7914): memory is 128 * n * r bytes.

    Attributes:
        n: iterations, a power of two.
        r: block size.
        p: parallelisation.
    """

    n: int = 2**15
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        # Bounds also keep a forged file from asking for all memory or all day.
        ok = 2**10 <= self.n <= 2**20 and self.n & (self.n - 1) == 0 and 1 <= self.r <= 16 and 1 <= self.p <= 16
        if not ok:
            raise UsageError("scrypt", expected="n a power of two in 2^10..2^20, r and p in 1..16", found=str(self))


@dataclass(frozen=True)
class Key:
    """A passphrase, kept out of every message and representation.

    Args:
        passphrase: at least one byte; a str is taken as UTF-8.
    """

    passphrase: bytes = field(repr=False)

    @classmethod
    def from_passphrase(cls, passphrase: str | bytes) -> Key:
        """Takes a passphrase as typed."""
        raw = passphrase.encode() if isinstance(passphrase, str) else bytes(passphrase)
        if not raw:
            raise UsageError("passphrase", expected="at least one character", found="none", remedy="choose one")
        return cls(raw)

    def derive(self, salt: bytes, cost: ScryptCost) -> bytes:
        """The 32-byte key of one workspace, by scrypt."""
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(self.passphrase)


class VaultSeal:
    """AES-256-GCM with a random 96-bit nonce for each record; the salt and the name are associated data.

    Args:
        secret: the 32-byte key.
        salt: the workspace's own salt, which tells its records from those of another one.
    """

    overhead = NONCE_BYTES + _TAG_BYTES
    part_overhead = _TAG_BYTES

    def __init__(self, secret: bytes, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(secret)
        self._salt = salt
        # A second hash of the key tells a wrong passphrase from damaged bytes; it is as hard to invert as the key.
        self.verifier = hashlib.blake2b(secret, digest_size=8, person=b"everface-key").digest()

    def require(self, verifier: bytes) -> None:
        """Raises KeyMismatchError unless this is the key that ``verifier`` was made from."""
        if not hmac.compare_digest(self.verifier, verifier):
            raise KeyMismatchError(
                "passphrase", expected="the one that this workspace was encrypted with", found="another",
                remedy="try again; without it nothing can be read",
            )  # fmt: skip

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Encrypts."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, self._salt + name)

    def unseal(self, stored: bytes, name: bytes) -> bytes:
        """Decrypts; a wrong key, name or byte is an IntegrityError."""
        return self._decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], name)

    def seal_part(self, plain: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Encrypts under the whole's nonce, counted on by ``index`` + 1: no nonce of its own to store."""
        return self._cipher.encrypt(_part_nonce(whole, index), plain, self._salt + name)

    def unseal_part(self, stored: bytes, name: bytes, whole: bytes, index: int) -> bytes:
        """Decrypts what :meth:`seal_part` made."""
        return self._decrypt(_part_nonce(whole, index), stored, name)

    def _decrypt(self, nonce: bytes, stored: bytes, name: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if len(nonce) != NONCE_BYTES or len(stored) < _TAG_BYTES:
            raise _damaged(name)
        try:
            return self._cipher.decrypt(nonce, stored, self._salt + name)
        except InvalidTag:
            raise _damaged(name) from None


def _part_nonce(whole: bytes, index: int) -> bytes:
    return ((int.from_bytes(whole[:NONCE_BYTES], "big") + index + 1) % (1 << 96)).to_bytes(NONCE_BYTES, "big")


def _checksum(plain: bytes, name: bytes) -> bytes:
    digest = hashlib.blake2b(name, digest_size=CHECKSUM_BYTES)
    digest.update(b"\0")
    digest.update(plain)
    return digest.digest()


def _damaged(name: bytes) -> IntegrityError:
    return IntegrityError(
        f"record {name.decode(errors='replace')}", expected="the bytes that were written",
        found="damaged bytes", remedy="restore replay.db from a copy; `everface check` lists what is damaged",
    )  # fmt: skip
