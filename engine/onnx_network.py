"""Small convolutional networks from named arrays to sessions of ONNX Runtime, built in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_OPSET, _IR_VERSION = 17, 9
_SCALE = ".scale"


def dequantised(arrays: Mapping[str, NDArray[Any]], suffix: str = _SCALE) -> dict[str, NDArray[np.float32]]:
    """Weights in float32 of those stored as int8 with one scale per output channel, named NAME and NAME + suffix."""
    weights = {}
    for name, array in arrays.items():
        if name.endswith(suffix):
            continue
        weights[name] = array.astype(np.float32)
        if (scale := arrays.get(name + suffix)) is not None:
            weights[name] *= scale.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    return weights


class NetworkBuilder:
    """Collects layers; values are named by strings, the input is ``"x"``."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator and names its one result."""
        from onnx import helper

        result = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def constant(self, value: NDArray[Any]) -> str:
        """Adds an array."""
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(value, order="C")
        return name

    def weight(self, name: str) -> str:
        """Adds one of the weights."""
        self._constants[name] = self._weights[name]
        return name

    def conv(self, x: str, name: str, stride: int = 1, padding: int = 0) -> str:
        """The convolution of ``NAME.weight`` and ``NAME.bias``."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("Conv", x, weight, bias, strides=[stride] * 2, pads=[padding] * 4)

    def session(self, output: str, shape: tuple[int, int, int], threads: int) -> onnxruntime.InferenceSession:
        """A session of the network from ``"x"`` [n, *shape] to ``output``.

        Args:
            output: a value's name.
            shape: of one input.
            threads: of the session.
        """
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        constants = [numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, "network", [x], [y], constants)
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep the activations of the largest batch for good
        # Its threads would go on turning for milliseconds and take the cores from ours.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
