"""What a bundle says of itself, and the limits of what it may say."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from everface.engine.errors import IntegrityError, MissingBackendError
from everface.engine.vault import Key, ScryptCost, VaultSeal
from everface.export.runtime.container import MAX_BUNDLE_BYTES, Container, wrong
from everface.export.runtime.operators import CUSTOM_DOMAIN, OPERATORS_VERSION

FORMAT, VERSION = "everface-bundle", 1
MANIFEST, ENVELOPE = "manifest.json", "envelope.json"
_MAX_TEXT = 1 << 20
_GRAPHS = {"2d": ("personal", "synthesis", "mapping"), "3d": ("personal",)}
_LIMITS = {"resolution": 2048, "channels": 4, "w_dim": 4096, "z_dim": 4096, "num_ws": 64}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BundleManifest:
    """What a bundle holds.

    Attributes:
        dimension: ``"2d"``, or ``"3d"`` where graphs also take cameras.
        resolution, channels: of the pictures.
        w_dim, z_dim, num_ws: of the codes.
        psi: truncation of the personal graph.
        anchor_groups: anchors a timestamp, in order.
        graphs: file names by graph.
        files: size and SHA-256 by file name.
        metadata: text: base, hashes, terms.
        parity: what was measured when it was made, a record a graph.
        operators: version of everface's operator library that graphs need; None where standard operators do.
    """

    dimension: str
    resolution: int
    channels: int
    w_dim: int
    z_dim: int
    num_ws: int
    psi: float
    anchor_groups: tuple[int, ...]
    graphs: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]
    metadata: Mapping[str, str]
    parity: tuple[Mapping[str, Any], ...]
    operators: int | None = None

    @property
    def anchors(self) -> int:
        """How many anchors there are."""
        return sum(self.anchor_groups)


def _object(data: bytes, subject: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise wrong(subject, "JSON", "other bytes") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise wrong(subject, f"format {FORMAT}", "another")
    if fields.get("version") != VERSION:
        raise wrong(subject, f"version {VERSION}", f"{str(fields.get('version'))[:20]}; a newer everface may read it")
    return fields


def parse_manifest(data: bytes) -> BundleManifest:
    """Reads and checks a manifest; raises IntegrityError where it is not a possible one."""
    fields = _object(data, MANIFEST)
    try:
        shape = {name: _whole(fields[name], name, 1, limit) for name, limit in _LIMITS.items()}
        groups = tuple(_whole(count, "anchor_groups", 0, 1 << 20) for count in fields["anchor_groups"])
        psi = fields["psi"]
        if not isinstance(psi, int | float) or not 0 <= psi <= 1:
            raise wrong("psi", "0 to 1", repr(psi)[:40])
        files = {
            str(name): (_whole(size, f"size of {name}", 0, MAX_BUNDLE_BYTES), _sha256(sha))
            for name, (size, sha) in fields["files"].items()
        }
        dimension = fields["dimension"]
        if dimension not in _GRAPHS:
            raise wrong("dimension", " or ".join(_GRAPHS), repr(dimension)[:40])
        graphs = {str(graph): str(name) for graph, name in fields["graphs"].items()}
        metadata = {str(name): str(text) for name, text in fields["metadata"].items()}
        parity = tuple(dict(record) for record in fields["parity"])
        operators = _operators(fields.get("operators"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, IntegrityError):
            raise
        raise wrong(MANIFEST, "all its entries", f"one that is missing or of another kind: {error}") from error
    known = _GRAPHS[dimension]
    if not graphs or not set(graphs) <= set(known) or not set(graphs.values()) <= set(files):
        raise wrong("graphs", f"some of {', '.join(known)}, each with its file", str(graphs)[:80])
    if not 0 < sum(groups) <= 1 << 20:
        raise wrong("anchor_groups", "1 to 2^20 anchors", str(sum(groups)))
    return BundleManifest(
        dimension=dimension, **shape, psi=float(psi), anchor_groups=groups, graphs=graphs, files=files,
        metadata=metadata, parity=parity, operators=operators,
    )  # fmt: skip


def _operators(fields: object) -> int | None:
    """Of ``{"library": "everface", "version": 1}``, which names what is needed and never a file."""
    if fields is None:
        return None
    if not isinstance(fields, dict) or set(fields) != {"library", "version"} or fields["library"] != CUSTOM_DOMAIN:
        raise wrong("operators", f"the library {CUSTOM_DOMAIN} and its version", repr(fields)[:80])
    version = _whole(fields["version"], "operators version", 1, 1 << 20)
    if version != OPERATORS_VERSION:
        raise wrong("operators", f"version {OPERATORS_VERSION}", f"{version}; a newer everface may have it")
    return version


def _whole(value: object, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise wrong(name, f"a whole number from {low} to {high}", repr(value)[:40])
    return value


def _sha256(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise wrong("sha256", "64 hexadecimal digits", repr(value)[:80])
    return value


def read_envelope(data: bytes, key: Key | None) -> VaultSeal:
    """The seal of an encrypted bundle.

    Raises:
        KeyMismatchError: no passphrase, or another one.
        MissingBackendError: the package cryptography is not installed.
        IntegrityError: not an envelope.
    """
    fields = _object(data, ENVELOPE)
    try:
        cost = ScryptCost(*(fields["scrypt"][name] for name in ("n", "r", "p")))
        salt, verifier = bytes.fromhex(fields["salt"]), bytes.fromhex(fields["verifier"])
    except (KeyError, TypeError, ValueError) as error:
        raise wrong(ENVELOPE, "scrypt, salt and verifier", f"{error}"[:120]) from error
    if len(salt) != 16 or len(verifier) != 8:
        raise wrong(ENVELOPE, "a salt of 16 bytes and a verifier of 8", f"{len(salt)} and {len(verifier)}")
    if key is None:
        from everface.engine.errors import KeyMismatchError

        raise KeyMismatchError("bundle", expected="its passphrase", found="none", remedy="pass passphrase=")
    try:
        seal = VaultSeal(key.derive(salt, cost), salt)
    except ImportError as error:
        raise MissingBackendError(
            "encrypted bundle", expected="the package cryptography", found="none", remedy="pip install cryptography"
        ) from error
    seal.require(verifier)
    return seal


class Members:
    """Verified members: sizes and hashes are the manifest's, which names every file of the bundle.

    Args:
        container: the opened file.
        key: the passphrase of an encrypted one.

    Raises:
        IntegrityError, KeyMismatchError, MissingBackendError: see the functions above.
    """

    def __init__(self, container: Container, key: Key | None = None) -> None:
        self._container, self._seal = container, None
        names = set(container.sizes) - {MANIFEST}
        if ENVELOPE in names:
            names -= {ENVELOPE}
            self._seal = read_envelope(container.read(ENVELOPE, _MAX_TEXT), key)
        raw = container.read(MANIFEST, _MAX_TEXT)
        self.manifest = parse_manifest(raw if self._seal is None else self._seal.unseal(raw, MANIFEST.encode()))
        if names != set(self.manifest.files):
            odd = sorted(names ^ set(self.manifest.files))[0]
            raise wrong(odd, "the files that the manifest names", "one more or one less")
        for name, (size, _) in self.manifest.files.items():
            stored = size + (self._seal.overhead if self._sealed(name) and self._seal else 0)
            if container.sizes[name] != stored:
                raise wrong(name, f"{stored} bytes", str(container.sizes[name]))

    def _sealed(self, name: str) -> bool:
        # Terms are for everybody to read.
        return self._seal is not None and name != "LICENSE.txt"

    def read(self, name: str) -> bytes:
        """The bytes of a file that the manifest names."""
        size, sha = self.manifest.files[name]
        data = self._container.read(name, self._container.sizes[name])
        if self._seal is not None and self._sealed(name):
            data = self._seal.unseal(data, name.encode())
        if len(data) != size or hashlib.sha256(data).hexdigest() != sha:
            raise wrong(name, f"SHA-256 {sha[:16]}...", "other bytes")
        return data
