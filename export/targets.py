"""Targets: what turns an ONNX graph into the file of a runtime, and runs that file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from everface.engine.errors import ExportError
from everface.export.custom import CUSTOM_DOMAIN, library_path
from everface.export.parity import Run
from everface.export.runtime.session import onnxruntime


class CannotRunError(Exception):
    """The target's files cannot run on this machine; the text says why."""


class Target(Protocol):
    """One kind of file."""

    def encode(self, model: onnx.ModelProto) -> bytes:
        """The file of a graph; raises ExportError or MissingBackendError."""

    def open(self, data: bytes, graph: str) -> tuple[str, Run]:
        """Name and version of the runtime, and a function that runs the file; raises CannotRunError or ExportError."""

    def companions(self) -> dict[str, bytes]:
        """Further files, by name, that whoever builds the runtime needs."""
        return {}


def target_of(name: str) -> Target:
    """The target of a recipe."""
    if name.startswith("tensorrt"):
        from everface.export.tensorrt import TensorRTTarget

        return TensorRTTarget(name)
    return OrtTarget() if name == "ort" else OnnxTarget()


class OnnxTarget(Target):
    """ONNX, proven in ONNX Runtime on the CPU."""

    def encode(self, model: onnx.ModelProto) -> bytes:
        """The same bytes for the same graph."""
        return bytes(model.SerializeToString(deterministic=True))

    def open(self, data: bytes, graph: str) -> tuple[str, Run]:
        """ONNX Runtime on the CPU."""
        ort = onnxruntime()
        options = ort.SessionOptions()
        if self._is_custom(data):
            options.register_custom_ops_library(str(library_path()))
        session = _session(ort, data, graph, options)
        runtime = f"onnxruntime {ort.__version__} {session.get_providers()[0]}"
        return runtime, lambda feeds: np.asarray(session.run(None, feeds)[0])

    def _is_custom(self, data: bytes) -> bool:
        return any(operators.domain == CUSTOM_DOMAIN for operators in onnx.load_from_string(data).opset_import)


class OrtTarget(OnnxTarget):
    """ONNX Runtime's own format, which its mobile builds read, with the list of operators that such a build needs."""

    def __init__(self) -> None:
        self._operators: dict[tuple[str, int], set[str]] = {}

    def encode(self, model: onnx.ModelProto) -> bytes:
        """Optimised as far as no processor's own layout is involved; constants are not folded, which would grow it."""
        # ONNX Runtime's own reader of its format would load PyTorch where that is installed.
        data, disabled = OnnxTarget.encode(self, model), ["ConstantFolding"]
        plain = onnx.load_from_string(optimised(data, "ONNX", "EXTENDED", disabled))
        versions = {entry.domain: entry.version for entry in plain.opset_import}
        for node in plain.graph.node:
            since = versions[node.domain]
            if not node.domain:
                since = onnx.defs.get_schema(node.op_type, since).since_version
            self._operators.setdefault((node.domain or "ai.onnx", since), set()).add(node.op_type)
        return optimised(data, "ORT", "EXTENDED", disabled)

    def _is_custom(self, data: bytes) -> bool:
        return False  # the recipe does not allow it

    def companions(self) -> dict[str, bytes]:
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


def optimised(data: bytes, kind: str, level: str, disabled: list[str]) -> bytes:
    """A graph as ONNX Runtime optimises it when it loads it.

    Args:
        data: an ONNX file.
        kind: of the result, ``"ONNX"`` or ``"ORT"``.
        level: ``"BASIC"`` or ``"EXTENDED"``.
        disabled: optimizers that are left out.

    Raises:
        ExportError: ONNX Runtime does not load it.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.add_session_config_entry("session.save_model_format", kind)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"graph.{kind.lower()}"
        options.optimized_model_filepath = str(out)
        _session(ort, data, "to optimise", options, disabled_optimizers=disabled)
        return out.read_bytes()


def _session(ort: Any, data: bytes, graph: str, options: Any, **more: Any) -> Any:
    options.log_severity_level = 3
    # Threads that spin while they wait would slow down whatever else runs here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"], **more)
    except Exception as error:
        raise ExportError(f"graph {graph}", expected="a file that ONNX Runtime loads", found=str(error)) from error
