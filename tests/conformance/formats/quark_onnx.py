"""Say whether Quark takes configurations for ONNX: it loads each, quantizes a small model with it, and runs it.

    python -P quark_onnx.py FILE...       # -P: the file beside it has the name of what it imports

The model has a convolution, an activation and a product of matrices, and a node for each name that the file speaks of.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from quark.onnx import ModelQuantizer, get_library_path
from quark.onnx.quantization.config.config import QConfig

_CHANNELS = 8
_SHAPE = (1, 3, 8, 8)


class Batches:
    """Feeds calibration, as ONNX Runtime asks for it."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.batches = iter([{"x": random.standard_normal(_SHAPE, np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def main() -> None:
    """Print a line of JSON for each file."""
    for path in sys.argv[1:]:
        try:
            _quantize(json.loads(Path(path).read_text(encoding="utf-8")))
        except Exception as error:  # whatever the vendor's code raises is its verdict
            print(json.dumps({"file": path, "accepted": False, "error": f"{type(error).__name__}: {error}"[:500]}))
        else:
            print(json.dumps({"file": path, "accepted": True, "error": ""}))


def _quantize(document: dict[str, Any]) -> None:
    config = QConfig.from_dict(document)
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/model.onnx", f"{folder}/quantized.onnx"
        onnx.save(_model(list(dict.fromkeys(_names(document)))), source)
        ModelQuantizer(config).quantize_model(source, target, Batches())
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(get_library_path("CPU"))
        session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {"x": np.ones(_SHAPE, np.float32)})
        assert np.isfinite(result).all(), "the quantized model does not give numbers"


def _model(names: list[str]) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {"w": (_CHANNELS, 3, 3, 3), "b": (_CHANNELS,)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["t0"], "flatten"),
    ]
    for at, name in enumerate(["gemm", *names]):
        weights |= {f"w{at}": (_CHANNELS, _CHANNELS), f"b{at}": (_CHANNELS,)}
        nodes.append(helper.make_node("Gemm", [f"t{at}", f"w{at}", f"b{at}"], [f"t{at + 1}"], name))
    arrays = [numpy_helper.from_array(random.standard_normal(s, np.float32) * 0.3, n) for n, s in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)
    y = helper.make_tensor_value_info(f"t{len(names) + 1}", TensorProto.FLOAT, (1, _CHANNELS))
    graph = helper.make_graph(nodes, "small", [x], [y], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _names(document: dict[str, Any]) -> Iterator[str]:
    """Yield a name for each that a file speaks of: Quark stops at a pattern that fits no node."""
    said = [name for _, names in document["specific_layer_config"] for name in names] + document["exclude"]
    for name in said:
        if not name.startswith("^"):
            yield name
        elif name != "^.*$":
            bare = name.removeprefix("^").removesuffix("$").replace("(?=.*)", "").replace(".*", "x")
            yield re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\.", "x", re.sub(r"\[!?(.)[^]]*\]", r"\1", bare)))


if __name__ == "__main__":
    main()
