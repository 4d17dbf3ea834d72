"""Say of each file whether ONNX Runtime takes it as settings of its static quantizer: one line of JSON per file.

    python ort.py FILE...           the arguments of quantize_static, or overrides of tensors alone
    python ort.py --model M.onnx    write the model that the files are tried on, for translations `--model M.onnx`

A file is accepted if the model is quantized with it and runs.  ONNX Runtime checks the first override only, so each
is tried by itself too.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.tensor_quant_overrides import TensorQuantOverridesHelper

SHAPE = (1, 3, 8, 8)


def model() -> onnx.ModelProto:
    """Return conv, relu, sigmoid, add, pool, flatten, gemm, softmax, and a MatMul beside them."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "conv2.w", "conv2.b"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c2"], ["s"], "sigmoid"),
        helper.make_node("Add", ["r", "s"], ["a"], "add"),
        helper.make_node("MaxPool", ["a"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "gemm.w", "gemm.b"], ["g"], "gemm", transB=1),
        helper.make_node("MatMul", ["g", "matmul.w"], ["h"], "matmul"),
        helper.make_node("Softmax", ["h"], ["y"], "softmax", axis=1),
    ]
    values = [
        constant("conv.w", 4, 3, 3, 3),
        constant("conv.b", 4),
        constant("conv2.w", 4, 4, 3, 3),
        constant("conv2.b", 4),
        constant("gemm.w", 6, 64),
        constant("gemm.b", 6),
        constant("matmul.w", 6, 5),
    ]
    graph = helper.make_graph(
        nodes,
        "settings",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 5))],
        values,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


class Reader:
    """Eight samples, as ONNX Runtime asks for them."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.samples = iter([{"x": random.normal(size=SHAPE).astype(np.float32)} for _ in range(8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.samples, None)

    def __len__(self) -> int:
        return 8


def converted(override: dict[str, Any]) -> dict[str, Any]:
    """Return an override with Python's objects for the names and numbers of JSON."""
    said = dict(override)
    if "quant_type" in said:
        said["quant_type"] = QuantType[said["quant_type"]]
    said |= {k: np.array(v, np.float32) for k, v in said.items() if k in ("rmin", "rmax", "scale")}
    said |= {k: np.array(v) for k, v in said.items() if k == "zero_point"}
    if "convert" in said:
        said["convert"] = converted(said["convert"])
    return said


def settings(document: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a document."""
    if all(isinstance(value, list) and all(isinstance(o, dict) for o in value) for value in document.values()):
        document = {"extra_options": {"TensorQuantOverrides": document}}
    said = dict(document)
    for key, enumeration in (
        ("activation_type", QuantType),
        ("weight_type", QuantType),
        ("calibrate_method", CalibrationMethod),
        ("quant_format", QuantFormat),
    ):
        if key in said:
            said[key] = enumeration[said[key]]
    extra = dict(said.get("extra_options") or {})
    overrides = extra.get("TensorQuantOverrides") or {}
    extra["TensorQuantOverrides"] = {name: [converted(o) for o in listed] for name, listed in overrides.items()}
    return {**said, "extra_options": extra}


def tried(path: str, proto: onnx.ModelProto) -> str:
    """Return what is wrong with a file, empty if it is accepted."""
    arguments = settings(json.loads(Path(path).read_text(encoding="utf-8")))
    initializers = {tensor.name: tensor for tensor in proto.graph.initializer}
    tensors = {value.name for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output)}
    usual = arguments.get("activation_type", QuantType.QInt8)
    for name, override in arguments["extra_options"]["TensorQuantOverrides"].items():
        sound, why = TensorQuantOverridesHelper({name: override}).is_valid(initializers, tensors, usual)
        if not sound:
            return str(why)
    with tempfile.TemporaryDirectory() as folder:
        float_model, quantized = Path(folder, "model.onnx"), Path(folder, "quantized.onnx")
        onnx.save(proto, float_model)
        quantize_static(float_model, quantized, Reader(), **arguments)
        session = onnxruntime.InferenceSession(quantized, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, Reader().get_next())
    return "" if np.isfinite(result).all() else "the quantized model computes what is not a number"


def main(arguments: list[str]) -> None:
    """Try each file."""
    logging.disable(logging.WARNING)
    if arguments[:1] == ["--model"]:
        onnx.save(model(), arguments[1])
        return
    for path in arguments:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # calibrators print
                error = tried(path, model())
        except Exception as exception:
            error = f"{type(exception).__name__}: {exception}"
        print(json.dumps({"file": path, "accepted": not error, "error": error}))


if __name__ == "__main__":
    main(sys.argv[1:])
