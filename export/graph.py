"""A small writer of ONNX graphs: nodes and constants in, a checked model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from everface.engine.errors import ExportError
from everface.export.recipe import ExportRecipe

_NUMPY: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}


@dataclass(frozen=True)
class Arithmetic:
    """Number formats of a graph, as ONNX's element types.

    Attributes:
        compute: of convolutions and what lies between them; styles, demodulation and the image are float32.
        stored: of weights; they are cast where they are used.
        rounded: matrices are stored as int8 with a scale a column.
        normalised: convolutions see styles and weights of unit size, and demodulation makes up for it. Half precision
            overflows without, and int8 wastes its range on a few channels.
        phased: transposed convolutions are written as plain ones of four phases: TensorRT has no bfloat16 transposed
            convolution.
    """

    compute: int = TensorProto.FLOAT
    stored: int = TensorProto.FLOAT
    rounded: bool = False
    normalised: bool = False
    phased: bool = False


ARITHMETICS = {
    "fp32": Arithmetic(),
    "fp16": Arithmetic(TensorProto.FLOAT16, TensorProto.FLOAT16, normalised=True),
    "bf16-stored": Arithmetic(TensorProto.FLOAT, TensorProto.BFLOAT16),
    "bf16": Arithmetic(TensorProto.BFLOAT16, TensorProto.BFLOAT16, normalised=True, phased=True),
    "int8": Arithmetic(rounded=True, normalised=True),
}


def arithmetic_of(recipe: ExportRecipe) -> Arithmetic:
    """The number formats of a recipe: ONNX Runtime has no bfloat16 convolution on a CPU, TensorRT has."""
    if recipe.precision == "bf16" and not recipe.target.startswith("tensorrt"):
        return ARITHMETICS["bf16-stored"]
    return ARITHMETICS[recipe.precision]


class GraphBuilder:
    """Collects the nodes of one graph; values are named by strings, float32 unless said otherwise."""

    def __init__(
        self,
        name: str,
        description: str,
        arithmetic: Arithmetic | None = None,
        domains: Mapping[str, int] | None = None,
    ) -> None:
        """``domains``: versions of the operator sets other than ONNX's own, by domain."""
        self.name, self.description = name, description
        self.arithmetic = arithmetic or Arithmetic()
        self._domains = dict(domains or {})
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._values: set[str] = set()

    def input(self, name: str, shape: Sequence[int | str], default: ArrayLike | None = None) -> str:
        """Declares a float32 input; a string in the shape is a dynamic dimension, a default makes it optional."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name if default is None else self.constant(name, default)

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Declares a float32 output that holds a value."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, name: str, values: ArrayLike) -> str:
        """Stores floats as float32 and integers as int64.

        Raises:
            ExportError: a number is not finite in float32.
        """
        whole = np.issubdtype(np.asarray(values).dtype, np.integer)
        return self._store(name, values, TensorProto.INT64 if whole else TensorProto.FLOAT)

    def operand(self, name: str, values: ArrayLike) -> str:
        """Stores floats that meet activations, in their format."""
        return self._store(name, values, self.arithmetic.compute)

    def weight(self, name: str, values: ArrayLike, *, compute: bool = False) -> str:
        """Stores a large constant in the format of weights; its value is float32, or with ``compute`` of activations.

        Raises:
            ExportError: a number is not finite in that format.
        """
        wanted, stored = (self.arithmetic.compute if compute else TensorProto.FLOAT), self.arithmetic.stored
        if self.arithmetic.rounded and not compute:
            return self._rounded(name, np.asarray(values, dtype=np.float64))
        if stored == wanted:
            return self._store(name, values, stored)
        self._store(f"{name}.stored", values, stored)
        return self.cast(f"{name}.stored", wanted, name)

    def _rounded(self, name: str, matrix: NDArray[np.float64]) -> str:
        """A matrix [fan_in, fan_out] as int8 with a scale a column."""
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / 127
        whole = np.rint(matrix / scale).astype(np.int8)
        self._constants[f"{name}.int8"] = numpy_helper.from_array(whole, f"{name}.int8")
        inputs = [f"{name}.int8", self.constant(f"{name}.step", scale)]
        return self.node("DequantizeLinear", inputs, name, axis=1)

    def _store(self, name: str, values: ArrayLike, kind: int) -> str:
        array = np.asarray(values)
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=_NUMPY.get(kind, np.int64)).reshape(array.shape)
        if not np.isfinite(array.astype(np.float64)).all():
            remedy = "tune again from an intact model, or export in another precision"
            raise ExportError(name, expected="finite weights", found="NaN or infinity", remedy=remedy)
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def cast(self, value: str, kind: int, name: str) -> str:
        """The value in another format."""
        return self.node("Cast", [value], name, to=kind)

    def to_compute(self, value: str, name: str) -> str:
        """A float32 value in the format of activations."""
        kind = self.arithmetic.compute
        return value if kind == TensorProto.FLOAT else self.cast(value, kind, f"{name}.narrow")

    def to_float(self, value: str, name: str) -> str:
        """An activation in float32."""
        return value if self.arithmetic.compute == TensorProto.FLOAT else self.cast(value, TensorProto.FLOAT, name)

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds one operator and returns its only output, which has the node's name (made unique)."""
        unique, count = name, 1
        while unique in self._values:
            count += 1
            unique = f"{name}_{count}"
        self._values.add(unique)
        self._nodes.append(helper.make_node(op, list(inputs), [unique], name=unique, **attributes))
        return unique

    def insert(self, model: onnx.ModelProto, inputs: Mapping[str, str], prefix: str) -> str:
        """Adds all of a graph, and returns its only output.

        Args:
            model: of standard operators, of the opset that this one will have.
            inputs: values of this graph by the other's inputs.
            prefix: of the names of its values.
        """

        def name(value: str) -> str:
            return inputs.get(value, prefix + value) if value else value

        for tensor in model.graph.initializer:
            self._constants[name(tensor.name)] = onnx.TensorProto.FromString(tensor.SerializeToString())
            self._constants[name(tensor.name)].name = name(tensor.name)
        for node in model.graph.node:
            copied = onnx.NodeProto.FromString(node.SerializeToString())
            copied.name = prefix + node.name
            copied.input[:] = [name(value) for value in node.input]
            copied.output[:] = [name(value) for value in node.output]
            self._nodes.append(copied)
        return name(model.graph.output[0].name)

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
        opsets += [helper.make_opsetid(domain, number) for domain, number in self._domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="everface")
        model.doc_string = self.description
        helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"graph {self.name}", expected="a valid ONNX model", found=str(error)) from error
        return model
