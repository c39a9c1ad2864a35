"""XNNPACK's float32 convolution, one thread, through LiteRT, whose default delegate it is.

PyTorch's wheels no longer carry XNNPACK (2.13), and Debian's library is of 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everface.bench.common import installed
from everface.engine.errors import MissingBackendError

XNNPACK_PACKAGES = ("ai-edge-litert", "flatbuffers")


def _model(weight: Tensor, height: int, width: int) -> bytes:
    """A LiteRT file of one convolution without margins or bias: weight ``[O, I, kh, kw]``, input ``[1, h, w, I]``."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    cout, cin, kh, kw = weight.shape
    taps = weight.permute(0, 2, 3, 1).contiguous().numpy()
    contents = (None, taps, torch.zeros(cout).numpy())
    shapes = ((1, height, width, cin), taps.shape, (cout,), (1, height - kh + 1, width - kw + 1, cout))
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT() for _ in contents]
    for buffer, content in zip(model.buffers, contents, strict=True):
        buffer.data = None if content is None else content.view("uint8").reshape(-1)
    graph.tensors = [schema.TensorT() for _ in shapes]
    for tensor, shape, buffer_index in zip(graph.tensors, shapes, (0, 1, 2, 0), strict=True):
        tensor.shape, tensor.buffer, tensor.type = list(shape), buffer_index, schema.TensorType.FLOAT32
    code, options = schema.OperatorCodeT(), schema.Conv2DOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 1
    model.operatorCodes = [code]
    options.strideH = options.strideW = 1
    options.padding = schema.Padding.VALID
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    builder = flatbuffers.Builder(taps.nbytes + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class XnnConvolution:
    """A convolution of stride 1 of one image; weights are packed and margins added beforehand.

    Args:
        weight: ``[O, I, kh, kw]``, float32.
        padding: rows above and below, columns left and right.
        x: ``[1, I, H, W]``, float32.

    Raises:
        MissingBackendError: LiteRT is missing, or gave the convolution to something else than XNNPACK.
    """

    def __init__(self, weight: Tensor, padding: tuple[int, int], x: Tensor) -> None:
        missing = installed(*XNNPACK_PACKAGES)
        if missing is not None:
            raise MissingBackendError("xnnpack", expected=missing, found="none", remedy=f"pip install {missing}")
        from ai_edge_litert.interpreter import Interpreter

        padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).permute(0, 2, 3, 1).contiguous()
        model = _model(weight, *padded.shape[1:3])
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], padded.numpy())
        operators = [detail["op_name"] for detail in self._interpreter._get_ops_details()]
        if "DELEGATE" not in operators:
            raise MissingBackendError(
                "xnnpack", expected="LiteRT's delegate", found=str(operators), remedy="leave this peer out"
            )
        self._result = self._interpreter.get_output_details()[0]["index"]
        self.run = self._interpreter.invoke

    def result(self) -> Tensor:
        """``[1, O, H', W']`` of the last run."""
        return torch.from_numpy(self._interpreter.get_tensor(self._result)).permute(0, 3, 1, 2)
