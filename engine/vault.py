"""Seals: what turns plain bytes into stored bytes, as they are or encrypted with AES-256-GCM.

Encryption binds each record to its name, so that a record moved to another place does not open there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from everface.engine.errors import IntegrityError, KeyMismatchError, UsageError

_NONCE_BYTES = 12
_TAG_BYTES = 16


class PlainSeal:
    """No secrecy: bytes are stored as they are."""

    overhead = 0

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """The bytes themselves."""
        return plain

    def unseal(self, stored: bytes, name: bytes) -> bytes:
        """The bytes themselves."""
        return stored


@dataclass(frozen=True)
class ScryptCost:
    """scrypt's work factors (RFC 7914): iterations, a power of two; block size; parallelisation. 128 n r bytes."""

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
    """A passphrase of at least one byte, kept out of every message and representation."""

    passphrase: bytes = field(repr=False)

    @classmethod
    def from_passphrase(cls, passphrase: str | bytes) -> Key:
        """Takes a passphrase as typed; a str is UTF-8."""
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
        cost: of the key's derivation, to be written beside what is sealed.
    """

    overhead = _NONCE_BYTES + _TAG_BYTES

    def __init__(self, secret: bytes, salt: bytes, cost: ScryptCost | None = None) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher, self._secret, self.salt, self.cost = AESGCM(secret), secret, salt, cost or ScryptCost()
        # A second hash of the key tells a wrong passphrase from damaged bytes; it is as hard to invert as the key.
        self.verifier = hashlib.blake2b(secret, digest_size=8, person=b"everface-key").digest()

    @classmethod
    def of(cls, key: Key, cost: ScryptCost | None = None, salt: bytes | None = None) -> VaultSeal:
        """The seal that a passphrase opens, with a new salt unless one is given."""
        cost, salt = cost or ScryptCost(), salt or os.urandom(16)
        return cls(key.derive(salt, cost), salt, cost)

    def require(self, verifier: bytes) -> None:
        """Raises KeyMismatchError unless this is the key that ``verifier`` was made from."""
        if not hmac.compare_digest(self.verifier, verifier):
            raise KeyMismatchError(
                "passphrase", expected="the one that this workspace was encrypted with", found="another",
                remedy="try again; without it nothing can be read",
            )  # fmt: skip

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Encrypts."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, self.salt + name)

    def unseal(self, stored: bytes, name: bytes) -> bytes:
        """Decrypts; a wrong key, name or byte is an IntegrityError."""
        from cryptography.exceptions import InvalidTag

        if len(stored) < self.overhead:
            raise damaged(name.decode())
        try:
            return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], self.salt + name)
        except InvalidTag:
            raise damaged(name.decode()) from None

    def for_file(self, salt: bytes, header: bytes) -> VaultSeal:
        """The seal of one file, bound to its clear header, its key fresh by a random salt (HKDF-SHA256, RFC 5869)."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return VaultSeal(HKDF(SHA256(), 32, salt, b"everface memory").derive(self._secret), header, self.cost)


Seal = PlainSeal | VaultSeal
UNSEALED = PlainSeal()


def damaged(what: str) -> IntegrityError:
    """The error for bytes that are not those that were written."""
    remedy = "restore it from a copy of the workspace; `everface check` lists what is damaged"
    return IntegrityError(what, expected="the bytes that were written", found="damaged bytes", remedy=remedy)
