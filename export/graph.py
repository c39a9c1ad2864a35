"""A small writer of ONNX graphs: nodes and constants in, a checked model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from everface.engine.errors import ExportError

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Collects the nodes of one graph; values are named by strings, float32 unless said otherwise."""

    def __init__(self, name: str, description: str) -> None:
        self.name, self.description = name, description
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._values: set[str] = set()

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declares a float32 input; a string in the shape is a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Declares a float32 output that holds a value."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, name: str, values: ArrayLike) -> str:
        """Stores floats as float32 and integers as int64.

        Raises:
            ExportError: a number is not finite in float32.
        """
        array = np.asarray(values)
        kind = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=kind).reshape(array.shape)
        if not np.isfinite(array).all():
            remedy = "tune again from an intact model"
            raise ExportError(name, expected="finite weights", found="NaN or infinity", remedy=remedy)
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds one operator and returns its only output, which has the node's name (made unique)."""
        unique, count = name, 1
        while unique in self._values:
            count += 1
            unique = f"{name}_{count}"
        self._values.add(unique)
        self._nodes.append(helper.make_node(op, list(inputs), [unique], name=unique, **attributes))
        return unique

    def model(self, opset: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Puts the model together in the oldest file format (IR version) that has the opset.

        Raises:
            ExportError: the installed onnx package is older than the opset, or its checker, shape inference included,
                finds fault with the model.
        """
        newest = onnx.defs.onnx_opset_version()
        if opset > newest:
            remedy = "pip install -U onnx onnxruntime, or choose an older opset"
            raise ExportError("opset", expected=f"at most {newest}, as onnx has it", found=str(opset), remedy=remedy)
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._constants.values()), self.description
        )
        opsets = [helper.make_opsetid("", opset)]
        version = helper.find_min_ir_version_for(opsets)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="everface")
        model.doc_string = self.description
        helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"graph {self.name}", expected="a valid ONNX model", found=str(error)) from error
        return model
