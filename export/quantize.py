"""Static int8: calibrated on the person's own codes, written as QuantizeLinear and DequantizeLinear (QDQ)."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from everface.engine.errors import ExportError, MissingBackendError

Feeds = dict[str, NDArray[np.float32]]
CALIBRATION_BATCH = 4


def quantize_int8(model: onnx.ModelProto, feeds: Feeds, *, symmetric: bool) -> onnx.ModelProto:
    """Turns convolutions into int8: weights with a scale a channel, activations with the range seen on ``feeds``.

    The block of the highest resolution, the depthwise FIRs and the RGB layers stay float32: they hold few weights, and
    errors there show (measured on a tuned 64-pixel model: a third of the perceptual distance for 8 % more bytes).

    Args:
        model: a float32 graph.
        feeds: calibration inputs [n, ...] by name.
        symmetric: activations as int8 around 0, which TensorRT wants, instead of uint8 with an offset.

    Returns:
        A new model with the same inputs, outputs and metadata.

    Raises:
        ExportError: ONNX Runtime could not calibrate it.
        MissingBackendError: onnxruntime lacks its quantization tools.
    """
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
    except ImportError as error:
        remedy = "pip install --force-reinstall onnxruntime"
        raise MissingBackendError(
            "int8", expected="onnxruntime.quantization", found=str(error), remedy=remedy
        ) from error
    chosen = _worth_it(model.graph)
    if not chosen:
        return model
    batches = _batches(feeds)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Feeds | None:
            return next(batches, None)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        try:
            logging.getLogger().addFilter(_no_advice)
            # A copy: the tool moves the weights of what it is given into files of its own.
            quantize_static(
                copy.deepcopy(model), str(out), Reader(), quant_format=QuantFormat.QDQ, nodes_to_quantize=chosen,
                op_types_to_quantize=["Conv", "ConvTranspose"], per_channel=True, weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax, extra_options={"ActivationSymmetric": symmetric},
            )  # fmt: skip
        except Exception as error:
            raise ExportError(f"graph {model.graph.name}", expected="one to calibrate", found=str(error)) from error
        finally:
            logging.getLogger().removeFilter(_no_advice)
        done = onnx.load(out)
    return _as_written(done, model)


def _as_written(done: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """The quantised model with what the tool changed or dropped of the other."""
    done.ir_version = model.ir_version
    del done.opset_import[:]
    done.opset_import.extend(model.opset_import)
    done.producer_name, done.doc_string = model.producer_name, model.doc_string
    for constant in done.graph.initializer:
        # As GraphBuilder writes them: raw bytes.
        constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant), constant.name))
    helper.set_model_props(done, {entry.key: entry.value for entry in model.metadata_props})
    return done


def _batches(feeds: Feeds) -> Iterator[Feeds]:
    """The calibration inputs, a few at a time."""
    for start in range(0, len(next(iter(feeds.values()))), CALIBRATION_BATCH):
        yield {name: values[start : start + CALIBRATION_BATCH] for name, values in feeds.items()}


def _worth_it(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions to quantise."""
    nodes = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    modulated = [node.name for node in nodes if not node.name.endswith((".skip", ".filtered", ".torgb.conv"))]
    highest = max((int(name.split(".")[0].removeprefix("b")) for name in modulated), default=0)
    return [name for name in modulated if not name.startswith(f"b{highest}.")]


def _no_advice(record: logging.LogRecord) -> bool:
    """Holds back the tool's advice to pre-process, which is for traced graphs."""
    return "pre-processing" not in record.getMessage()
