"""A bundle, opened: generates and renders."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.latents.sample import sample_p0_by_timestamp
from everface.engine.vault import Key
from everface.export.runtime.container import Container, wrong
from everface.export.runtime.guard import check_graph
from everface.export.runtime.manifest import BundleManifest, Members
from everface.export.runtime.operators import find_library

Array = NDArray[np.float32]
CHUNK = 16
LABEL_DIM = 25
_MAX_PICTURES = 1 << 20
# Folding would hold noise plus bias as an image a channel, and narrow weights as float32: more memory, and no faster.
_UNWANTED = ["ConstantFolding"]


class Runtime:
    """The graphs and anchors of one person.

    Use ``open``. Graphs are loaded when they are first needed, and kept.
    """

    def __init__(
        self, members: Members, providers: Sequence[str | tuple[str, Any]], threads: int, operators: Path | None = None
    ) -> None:
        self._members, self._providers, self._threads = members, list(providers), threads
        self._operators = operators
        self._sessions: dict[str, Any] = {}
        manifest = members.manifest
        self._anchors = _floats(members, "anchors.f32", (manifest.anchors, manifest.w_dim))
        self._front = np.zeros((0, LABEL_DIM), np.float32)
        if manifest.dimension == "3d":
            self._front = _floats(members, "front.f32", (1, LABEL_DIM))
        self.mean = _floats(members, "mean.f32", (manifest.w_dim,))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], providers: Sequence[str | tuple[str, Any]] = ("CPUExecutionProvider",), *,
        passphrase: str | bytes | None = None, threads: int = 0, operators: str | os.PathLike[str] | None = None,
    ) -> Runtime:  # fmt: skip
        """Opens a bundle and verifies all of it that was not verified by its graphs.

        Args:
            path: the file, or a folder of its members.
            providers: of ONNX Runtime, the first that works on a node runs it: ``CPUExecutionProvider``,
                ``CUDAExecutionProvider``, ``TensorrtExecutionProvider``, ``NvTensorRTRTXExecutionProvider``.
            passphrase: of an encrypted bundle.
            threads: of ONNX Runtime on the CPU, 0 for its choice.
            operators: everface's operator library, for a bundle whose manifest says that its graphs need it; by default
                that of this installation. It is code: pass one that you trust. A bundle without such graphs loads none.

        Raises:
            IntegrityError: anything about the file is not as it should be.
            KeyMismatchError: no passphrase, or another one.
            MissingBackendError: a provider, a package or the operator library is not there.
        """
        _check_providers(providers)
        key = None if passphrase is None else Key.from_passphrase(passphrase)
        members = Members(Container(Path(path)), key)
        library = None if members.manifest.operators is None else find_library(operators)
        return cls(members, providers, threads, library)

    @property
    def manifest(self) -> BundleManifest:
        """What the bundle says of itself."""
        return self._members.manifest

    @property
    def anchors(self) -> list[Array]:
        """W codes [a_i, w_dim] of the person's photos, an array a timestamp."""
        ends = np.cumsum(self.manifest.anchor_groups)[:-1]
        return [part.copy() for part in np.split(self._anchors, ends)]

    def text(self, name: str) -> str:
        """``"LICENSE.txt"`` or ``"MODEL_CARD.md"``."""
        if name not in self.manifest.files or not name.endswith((".txt", ".md")):
            raise UsageError("name", expected="LICENSE.txt or MODEL_CARD.md", found=repr(name))
        return self._members.read(name).decode(errors="replace")

    def generate(self, n: int, seed: int = 0, *, cameras: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Pictures of the person, uint8 [n, r, r, 3]: those that ``Engine.generate`` gives for the same seed.

        Args:
            n: how many.
            seed: of the random choices.
            cameras: in 3D, from where each is seen: see ``images``.

        Raises:
            UsageError: n, seed or cameras out of range.
        """
        if not 0 <= n <= _MAX_PICTURES or seed < 0:
            raise UsageError("n, seed", expected=f"n from 0 to {_MAX_PICTURES}, seed 0 or more", found=f"{n}, {seed}")
        # Weights, in place of codes: the convex combination of unit vectors.
        ends = np.cumsum(self.manifest.anchor_groups)[:-1]
        unit = np.split(np.eye(self.manifest.anchors, dtype=np.float32), ends)
        return to_pictures(self.images(sample_p0_by_timestamp(unit, n, np.random.default_rng(seed)), cameras))

    def images(self, weights: NDArray[np.floating], cameras: NDArray[np.floating] | None = None) -> Array:
        """Images float32 [n, channels, r, r], about [-1, 1], of hull weights [n, a] (rows sum to 1).

        Args:
            weights: over the anchors.
            cameras: in 3D, from where they are seen: EG3D's labels [n, 25], the camera-to-world matrix and the
                intrinsics, row by row; from the front for None.

        Raises:
            UsageError: not such weights or cameras.
        """
        rows = np.asarray(weights, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.manifest.anchors or not np.isfinite(rows).all():
            found = f"shape {rows.shape}"
            raise UsageError("weights", expected=f"finite numbers [n, {self.manifest.anchors}]", found=found)
        if self.manifest.dimension == "3d":
            return self._run("personal", {"weights": rows, "c": self._seen_from(cameras, len(rows))})
        if cameras is not None:
            raise UsageError("cameras", expected="a 3D bundle", found="a 2D one", remedy="leave them out")
        if "personal" in self.manifest.graphs:
            return self._run("personal", {"weights": rows})
        codes = self.mean + self.manifest.psi * (rows @ self._anchors - self.mean)
        return self.render(codes.astype(np.float32))

    def _seen_from(self, cameras: NDArray[np.floating] | None, n: int) -> Array:
        labels = np.repeat(self._front, n, axis=0) if cameras is None else np.asarray(cameras, np.float32)
        if labels.shape != (n, LABEL_DIM) or not np.isfinite(labels).all():
            raise UsageError("cameras", expected=f"finite labels [{n}, {LABEL_DIM}]", found=str(labels.shape))
        return labels

    def render(self, codes: NDArray[np.floating]) -> Array:
        """Images float32 of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim]; needs the graph synthesis.

        Raises:
            UsageError: not such codes, or no such graph in the bundle.
        """
        ws, manifest = np.asarray(codes, dtype=np.float32), self.manifest
        if ws.ndim == 2:
            ws = np.repeat(ws[:, None], manifest.num_ws, axis=1)
        if ws.shape[1:] != (manifest.num_ws, manifest.w_dim) or not np.isfinite(ws).all():
            raise UsageError(
                "codes",
                expected=f"finite [n, {manifest.w_dim}] or [n, {manifest.num_ws}, {manifest.w_dim}]",
                found=str(ws.shape),
            )
        return self._run("synthesis", {"ws": ws})

    def map(self, z: NDArray[np.floating], psi: float = 1.0) -> Array:
        """W codes [n, w_dim] of Z codes [n, z_dim], truncated by psi; needs the graph mapping."""
        rows = np.asarray(z, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.manifest.z_dim:
            raise UsageError("z", expected=f"[n, {self.manifest.z_dim}]", found=str(rows.shape))
        return self._run("mapping", {"z": rows}, {"psi": np.array([psi], np.float32)})

    def _run(self, graph: str, feeds: dict[str, Array], fixed: dict[str, Array] | None = None) -> Array:
        if graph not in self.manifest.graphs:
            remedy = f"export with --graphs {graph},..."
            raise UsageError(graph, expected="a bundle that has this graph", found="none", remedy=remedy)
        session = self._session(graph)
        # A 3D graph is of one picture.
        count, step = len(next(iter(feeds.values()))), CHUNK if self.manifest.dimension == "2d" else 1
        chunks = ({name: rows[i : i + step] for name, rows in feeds.items()} for i in range(0, count, step))
        parts = [np.asarray(session.run(None, chunk | (fixed or {}))[0]) for chunk in chunks]
        result = np.concatenate(parts) if parts else np.zeros((0, *self._output(graph)[1:]), np.float32)
        _give_back()
        if not np.isfinite(result).all():
            raise wrong(self.manifest.graphs[graph], "finite results", "NaN or infinity")
        return result

    def _output(self, graph: str) -> tuple[int, ...]:
        manifest = self.manifest
        return (
            (1, manifest.w_dim)
            if graph == "mapping"
            else (1, manifest.channels, manifest.resolution, manifest.resolution)
        )

    def _session(self, graph: str) -> Any:
        if graph not in self._sessions:
            manifest = self.manifest
            shapes: dict[str, dict[str, tuple[int, ...]]] = {
                "personal": {"weights": (1, manifest.anchors)},
                "synthesis": {"ws": (1, manifest.num_ws, manifest.w_dim)},
                "mapping": {"z": (1, manifest.z_dim), "psi": (1,)},
            }
            if manifest.dimension == "3d":
                shapes["personal"]["c"] = (1, LABEL_DIM)
            name = manifest.graphs[graph]
            data = self._members.read(name)
            custom = check_graph(data, shapes[graph], self._output(graph), name, operators=self._operators is not None)
            library = self._operators if custom else None
            self._sessions[graph] = _load(data, name, self._providers, self._threads, library)
        return self._sessions[graph]


def to_pictures(images: Array) -> NDArray[np.uint8]:
    """Images [n, c, r, r] about [-1, 1] to uint8 [n, r, r, c], rounded to nearest."""
    scaled = (np.clip(images, -1, 1) + 1) * np.float32(127.5) + np.float32(0.5)
    return np.ascontiguousarray(scaled.astype(np.uint8).transpose(0, 2, 3, 1))


def _floats(members: Members, name: str, shape: tuple[int, ...]) -> Array:
    size = members.manifest.files.get(name, (-1, ""))[0]
    if size != 4 * int(np.prod(shape, dtype=np.int64)):
        raise wrong(name, f"float32 {shape}", f"{size} bytes")
    array = np.frombuffer(members.read(name), "<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise wrong(name, "finite numbers", "NaN or infinity")
    return array


def _check_providers(providers: Sequence[str | tuple[str, Any]]) -> None:
    there = onnxruntime().get_available_providers()
    for provider in providers:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in there:
            remedy = "pip install onnxruntime-gpu, or choose another"
            raise MissingBackendError(name, expected=f"one of {', '.join(there)}", found="none", remedy=remedy)


def onnxruntime() -> Any:
    """The package.

    Raises:
        MissingBackendError: it is not there, or does not work.
    """
    try:
        import onnxruntime as ort

        # A folder of that name that lacks the library imports without an error.
        _ = ort.SessionOptions, ort.get_available_providers
    except (ImportError, AttributeError) as error:
        remedy = "pip install --force-reinstall onnxruntime; `everface doctor` says more"
        raise MissingBackendError(
            "onnxruntime", expected="a working package", found=str(error), remedy=remedy
        ) from error
    return ort


def _load(data: bytes, name: str, providers: list[str | tuple[str, Any]], threads: int, operators: Path | None) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # The arena would keep the largest chunk's memory for good.
    options.enable_cpu_mem_arena = False
    if operators is not None:
        _register(options, operators)
    try:
        session = ort.InferenceSession(data, options, providers=providers, disabled_optimizers=_UNWANTED)
    except Exception as error:
        raise wrong(name, "a graph that ONNX Runtime loads", str(error)[:200]) from error
    if hasattr(session, "_model_bytes"):
        # Kept to change providers later, which is not done here: as much memory as the file has bytes.
        session._model_bytes = None
    return session


def _register(options: Any, library: Path) -> None:
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:
        raise MissingBackendError(
            "operator library", expected=f"one that ONNX Runtime {onnxruntime().__version__} loads",
            found=f"{library}: {error}"[:300], remedy="use ONNX Runtime 1.17 or later and everface's own library",
        ) from error  # fmt: skip


def _give_back() -> None:
    """Returns freed memory to the system; the GNU C library would keep about as much as the model takes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
