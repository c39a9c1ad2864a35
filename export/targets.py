"""Targets: what turns an ONNX graph into the file of a runtime, and runs that file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from everface.engine.errors import ExportError, MissingBackendError
from everface.export.custom import CUSTOM_DOMAIN, library_path
from everface.export.parity import Run


class CannotRunError(Exception):
    """The target's files cannot run on this machine; the text says why."""


class Target(Protocol):
    """One kind of file."""

    def encode(self, model: onnx.ModelProto) -> bytes:
        """The file of a graph; raises ExportError or MissingBackendError."""

    def open(self, data: bytes, graph: str) -> tuple[str, Run]:
        """Name and version of the runtime, and a function that runs the file; raises CannotRunError or ExportError."""

    def companions(self, files: Sequence[bytes]) -> dict[str, bytes]:
        """Further files, by name, that whoever builds the runtime needs."""


def target_of(name: str) -> Target:
    """The target of a recipe."""
    if name.startswith("tensorrt"):
        from everface.export.tensorrt import TensorRTTarget

        return TensorRTTarget(name)
    return OrtTarget() if name == "ort" else OnnxTarget()


class OnnxTarget:
    """ONNX, proven in ONNX Runtime on the CPU."""

    def encode(self, model: onnx.ModelProto) -> bytes:
        """The same bytes for the same graph."""
        return bytes(model.SerializeToString(deterministic=True))

    def open(self, data: bytes, graph: str) -> tuple[str, Run]:
        """ONNX Runtime on the CPU."""
        ort = _onnxruntime()
        options = ort.SessionOptions()
        if self._is_custom(data):
            options.register_custom_ops_library(str(library_path()))
        session = _session(ort, data, graph, options)
        runtime = f"onnxruntime {ort.__version__} {session.get_providers()[0]}"
        return runtime, lambda feeds: np.asarray(session.run(None, feeds)[0])

    def _is_custom(self, data: bytes) -> bool:
        return any(operators.domain == CUSTOM_DOMAIN for operators in onnx.load_from_string(data).opset_import)

    def companions(self, files: Sequence[bytes]) -> dict[str, bytes]:
        """None."""
        return {}


class OrtTarget(OnnxTarget):
    """ONNX Runtime's own format, which its mobile builds read, with the list of operators that such a build needs."""

    def __init__(self) -> None:
        self._operators: dict[tuple[str, int], set[str]] = {}

    def encode(self, model: onnx.ModelProto) -> bytes:
        """Optimised as far as no processor's own layout is involved; constants are not folded, which would grow it."""
        # ONNX Runtime's own reader of its format would load PyTorch where that is installed.
        optimised = onnx.load_from_string(_optimised(model, "ONNX"))
        versions = {entry.domain: entry.version for entry in optimised.opset_import}
        for node in optimised.graph.node:
            since = versions[node.domain]
            if not node.domain:
                since = onnx.defs.get_schema(node.op_type, since).since_version
            self._operators.setdefault((node.domain or "ai.onnx", since), set()).add(node.op_type)
        return _optimised(model, "ORT")

    def _is_custom(self, data: bytes) -> bool:
        return False  # the recipe does not allow it

    def companions(self, files: Sequence[bytes]) -> dict[str, bytes]:
        """``required_operators.config``, for ``build.sh --minimal_build --include_ops_by_config``."""
        lines = ["# Operators of these models: domain;opset;operators. Pass to ONNX Runtime's build.sh as"]
        lines.append(
            "# --minimal_build --include_ops_by_config required_operators.config --disable_ml_ops --disable_rtti"
        )
        lines += [
            f"{domain};{opset};{','.join(sorted(operators))}"
            for (domain, opset), operators in sorted(self._operators.items())
        ]
        return {"required_operators.config": ("\n".join(lines) + "\n").encode()}


def _optimised(model: onnx.ModelProto, kind: str) -> bytes:
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.save_model_format", kind)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"graph.{kind.lower()}"
        options.optimized_model_filepath = str(out)
        data = model.SerializeToString(deterministic=True)
        _session(ort, data, model.graph.name, options, disabled_optimizers=["ConstantFolding"])
        return out.read_bytes()


def _onnxruntime() -> Any:
    try:
        import onnxruntime as ort

        # A folder of that name that lacks the library imports without an error.
        _ = ort.SessionOptions, ort.__version__
    except (ImportError, AttributeError) as error:
        remedy = "pip install --force-reinstall onnxruntime; `everface doctor` says more"
        raise MissingBackendError(
            "onnxruntime", expected="a working package", found=str(error), remedy=remedy
        ) from error
    return ort


def _session(ort: Any, data: bytes, graph: str, options: Any, **more: Any) -> Any:
    options.log_severity_level = 3
    # Threads that spin while they wait would slow down whatever else runs here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"], **more)
    except Exception as error:
        raise ExportError(f"graph {graph}", expected="a file that ONNX Runtime loads", found=str(error)) from error
