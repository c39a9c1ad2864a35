"""Writing a bundle: proven graphs, anchors, truncation mean, terms and a model card, in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from everface.engine.errors import ExportError
from everface.engine.latents.sample import sample_p0_by_timestamp
from everface.engine.photos.camera import orbit
from everface.engine.vault import Key, ScryptCost, VaultSeal
from everface.export.job import Job, ProvenGraph
from everface.export.runtime.container import pack
from everface.export.runtime.manifest import ENVELOPE, FORMAT, MANIFEST, VERSION
from everface.export.runtime.operators import CUSTOM_DOMAIN, OPERATORS_VERSION
from everface.export.runtime.session import Runtime, to_pictures

_SEED = 12345
_PICTURES = 4


def prove_bundle(job: Job, graphs: list[ProvenGraph]) -> ProvenGraph:
    """Packs proven graphs and opens the bundle again, with ``everface.export.runtime.Runtime``.

    Raises:
        ExportError: what it generates is not what the engine gives for the same seed. In float32 and 2D a value may be
            rounded to the next one; all else keeps the tolerances of its graphs.
    """
    data = _sealed(_members(job, graphs), job.recipe.key)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "person.bundle"
        path.write_bytes(data)
        passphrase = None if job.recipe.key is None else job.recipe.key.passphrase
        runtime = Runtime.open(path, passphrase=passphrase)
        got = runtime.generate(_PICTURES, _SEED).astype(int)
    worst = int(np.abs(got - _wanted(job)).max())
    if job.recipe.precision == "fp32" and job.model.shape.dimension == "2d" and worst > 1:
        raise ExportError("bundle", expected="the engine's pictures, to the last level", found=f"{worst} levels off")
    # The bundle's proof is that of its worst picture graph.
    leading = max(graphs, key=lambda graph: (graph.parity.perceptual or 0, graph.parity.max_error))
    return ProvenGraph("bundle", data, replace(leading.parity, graph="bundle"), leading.ir_version)


def _wanted(job: Job) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """What the engine generates for the seed, with the recipe's truncation."""
    anchors, mean = job.model.anchors, job.model.mean
    groups = np.split(anchors.codes, np.cumsum(anchors.groups)[:-1])
    codes = sample_p0_by_timestamp(groups, _PICTURES, np.random.default_rng(_SEED))
    truncated = mean + job.recipe.psi * (codes - mean) if job.recipe.psi < 1 else codes
    return to_pictures(job.model.render(truncated.astype(np.float32))).astype(int)


def _members(job: Job, graphs: list[ProvenGraph]) -> dict[str, bytes]:
    """All files but the envelope; the manifest is the first."""
    shape, anchors = job.model.shape, job.model.anchors
    files = {f"{graph.graph}.onnx": graph.data for graph in graphs}
    files["anchors.f32"] = anchors.codes.astype("<f4").tobytes()
    files["mean.f32"] = job.model.mean.astype("<f4").tobytes()
    if shape.dimension == "3d":
        files["front.f32"] = orbit(0.0).astype("<f4").tobytes()
    files["LICENSE.txt"] = _terms(job).encode()
    files["MODEL_CARD.md"] = _card(job, graphs).encode()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        **dataclasses.asdict(shape),
        "psi": job.recipe.psi,
        "anchor_groups": list(anchors.groups),
        "graphs": {graph.graph: f"{graph.graph}.onnx" for graph in graphs},
        "files": {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()},
        "metadata": {name: str(text) for name, text in job.metadata.items()},
        "parity": [graph.parity.to_manifest() for graph in graphs],
    }
    if _custom(job, graphs):
        manifest["operators"] = {"library": CUSTOM_DOMAIN, "version": OPERATORS_VERSION}
    return {MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode(), **files}


def _custom(job: Job, graphs: list[ProvenGraph]) -> bool:
    """Whether a graph needs the operator library: the mapping has no convolution."""
    return job.recipe.variant == "custom" and any(graph.graph != "mapping" for graph in graphs)


def _sealed(members: dict[str, bytes], key: Key | None) -> bytes:
    """The archive; with a passphrase everything but the terms is encrypted, as the store's records are."""
    if key is None:
        return pack(members)
    cost, salt = ScryptCost(), os.urandom(16)
    seal = VaultSeal(key.derive(salt, cost), salt)
    envelope = {
        "format": FORMAT,
        "version": VERSION,
        "scrypt": {"n": cost.n, "r": cost.r, "p": cost.p},
        "salt": salt.hex(),
        "verifier": seal.verifier.hex(),
    }
    sealed = {name: data if name == "LICENSE.txt" else seal.seal(data, name.encode()) for name, data in members.items()}
    return pack({ENVELOPE: json.dumps(envelope).encode(), **sealed})


def _terms(job: Job) -> str:
    terms = job.metadata.get("terms", "not stated by the base")
    return (
        f"Terms of the base generator ({job.metadata.get('base', 'not named')}):\n{terms}\n\n"
        f"{job.metadata['notice']}\nThe pictures' use needs that person's consent.\n"
    )


def _card(job: Job, graphs: list[ProvenGraph]) -> str:
    shape, texts = job.model.shape, job.metadata
    kind = "A StyleGAN2" if shape.dimension == "2d" else "A tri-plane (EG3D)"
    rows = "\n".join(
        f"| {graph.graph} | {len(graph.data) / 1e6:.2f} | {graph.parity.max_error:.1e} "
        f"| {_short(graph.parity.perceptual)} | {_short(graph.parity.identity_drift)} | {graph.parity.compared} |"
        for graph in graphs
    )
    return f"""# Model card
{kind} generator of {shape.resolution} x {shape.resolution} pictures of one real person, tuned on
{len(job.model.anchors)} of the person's photos. {texts["notice"]}

- Base: {texts.get("base", "not named")}, SHA-256 {texts.get("base_sha256", "not known")}
- Trained on: {texts.get("trained_on", "not stated by the base")}
- Terms: see LICENSE.txt
- Personal model: SHA-256 {texts.get("model_sha256", "not known")}
- Precision: {texts["precision"]}; truncation psi {texts["psi"]}; everface {texts["everface_version"]}
- Needs: {"ONNX Runtime with everface's operator library" if _custom(job, graphs) else "any ONNX runtime"}
- Use: `python -m everface.export.runtime BUNDLE -n 4 --out DIR`, or the .onnx files alone
- Not for: identifying people, or pictures of the person without consent

Against the engine, in ONNX Runtime on a CPU:

| graph | MB | largest error | MobileNetV2 distance | identity drift | inputs |
|---|---|---|---|---|---|
{rows}
"""


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
