"""TensorRT and TensorRT-RTX: one builder, two packages.

TensorRT-RTX builds an engine on a machine without a GPU, for any RTX card (it is compiled to the card when loaded).
TensorRT's own builder needs the GPU that the engine is for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from everface.engine.errors import ExportError, MissingBackendError
from everface.export.parity import Feeds, Run
from everface.export.targets import CannotRunError, Target

_PACKAGES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx_libs", "tensorrt_rtx_bindings")}
_REMEDIES = {
    "tensorrt": "pip install 'everface[gpu]' on a machine with an NVIDIA GPU, or choose tensorrt-rtx",
    "tensorrt-rtx": "pip install 'everface[tensorrt-rtx]'",
}
MOST_IN_BATCH = 8


class TensorRTTarget(Target):
    """Serialized engines, strongly typed, for batches of 1 to 8.

    Args:
        name: ``"tensorrt"`` or ``"tensorrt-rtx"``.

    Raises:
        MissingBackendError: the package is not installed or does not load.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            # The libraries come first, then what binds them.
            self._trt: Any = [importlib.import_module(package) for package in _PACKAGES[name]][-1]
        except (ImportError, OSError, RuntimeError) as error:
            raise MissingBackendError(
                name, expected=f"the package {_PACKAGES[name][-1]}", found=str(error), remedy=_REMEDIES[name]
            ) from error

    def encode(self, model: onnx.ModelProto) -> bytes:
        """Parses the graph and builds the engine.

        Raises:
            ExportError: the parser or the builder refuses it; without a GPU TensorRT's builder refuses all.
        """
        trt, graph, logger = self._trt, model.graph.name, _logger(self._trt)
        logger.complaints.clear()
        try:
            builder = trt.Builder(logger)
        except Exception as error:
            raise self._refused(graph, str(error)) from error
        typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(model.SerializeToString()):
            raise self._refused(graph, parser.get_error(0).desc() if parser.num_errors else "")
        config = builder.create_builder_config()
        config.add_optimization_profile(_profile(builder, network))
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise self._refused(graph)
        return bytes(engine)

    def open(self, data: bytes, graph: str) -> tuple[str, Run]:
        """Runs the engine on the first GPU."""
        trt, logger = self._trt, _logger(self._trt)
        why = _without_gpu()
        if why:
            raise CannotRunError(why)
        engine = trt.Runtime(logger).deserialize_cuda_engine(data)
        if engine is None:
            raise ExportError(f"graph {graph}", expected=f"an engine that {self.name} loads", found=_first(logger))
        return f"{self.name} {trt.__version__}", _runner(trt, engine, graph)

    def _refused(self, graph: str, found: str = "") -> ExportError:
        message = found or _first(_logger(self._trt))
        remedy = "choose another precision, or --to onnx"
        return ExportError(f"graph {graph}", expected=f"an engine from {self.name}", found=message, remedy=remedy)


def _first(logger: Any) -> str:
    return logger.complaints[0][:300] if logger.complaints else "none, and no message"


@lru_cache(maxsize=2)
def _logger(trt: Any) -> Any:
    """The one logger that the library keeps for as long as the process lives, whichever is passed to it later."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.complaints.append(text)

    return Logger()


def _profile(builder: Any, network: Any) -> Any:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        entry = network.get_input(i)
        rest = tuple(entry.shape)[1:]
        if entry.shape[0] < 0:
            profile.set_shape(entry.name, (1, *rest), (1, *rest), (MOST_IN_BATCH, *rest))
    return profile


def _without_gpu() -> str:
    """Why no engine runs here; empty where one does. PyTorch's CUDA moves the arrays."""
    import torch

    if torch.cuda.is_available():
        return ""
    driver = Path("/proc/driver/nvidia/version").exists()
    return "this PyTorch has no CUDA" if driver else "no NVIDIA GPU with a working driver"


def _runner(  # pragma: no cover (a GPU)
    trt: Any, engine: Any, graph: str
) -> Callable[[Feeds], NDArray[np.float32]]:
    import torch

    context = engine.create_execution_context()
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    [output] = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]

    def run(feeds: Feeds) -> NDArray[np.float32]:
        held = {name: torch.from_numpy(np.ascontiguousarray(value)).cuda() for name, value in feeds.items()}
        for name, value in held.items():
            context.set_input_shape(name, tuple(value.shape))
            context.set_tensor_address(name, value.data_ptr())
        result = torch.empty(tuple(context.get_tensor_shape(output)), dtype=torch.float32, device="cuda")
        context.set_tensor_address(output, result.data_ptr())
        stream = torch.cuda.current_stream()
        if not context.execute_async_v3(stream.cuda_stream):
            raise ExportError(f"graph {graph}", expected="an engine that runs", found="a failed execution")
        stream.synchronize()
        return np.asarray(result.cpu().numpy())

    return run
