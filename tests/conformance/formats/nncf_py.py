"""Say of each file whether NNCF 3 quantizes a PyTorch module and an ONNX model with it: one line of JSON per file.

python nncf_py.py FILE...
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import runpy
import sys
from pathlib import Path

# Beside this file lie others with the names of vendors' packages.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import nncf  # noqa: E402
import numpy as np  # noqa: E402  # noqa: E402
import onnx  # noqa: E402  # noqa: E402
import torch  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SHAPE = (1, 3, 8, 8)


class Net(torch.nn.Module):
    """A convolution, an activation, a sum, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.shortcut = torch.nn.Conv2d(3, 4, 1)
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x)) + self.shortcut(x)
        return torch.softmax(self.fc(y.mean((2, 3))), 1)


def model() -> onnx.ModelProto:
    """Return conv, relu, sum, resize, pool, flatten, gemm and softmax."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["x", "shortcut.w"], ["s"], "shortcut"),
        helper.make_node("Add", ["r", "s"], ["a"], "add"),
        helper.make_node("Resize", ["a", "", "scales"], ["z"], "resize"),
        helper.make_node("GlobalAveragePool", ["z"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc.w", "fc.b"], ["g"], "fc", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], "softmax", axis=1),
    ]
    values = [
        constant("conv.w", 4, 3, 3, 3),
        constant("conv.b", 4),
        constant("shortcut.w", 4, 3, 1, 1),
        constant("fc.w", 2, 4),
        constant("fc.b", 2),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def main() -> None:
    if sys.argv[1:2] == ["--model"]:
        onnx.save(model(), sys.argv[2])
        return
    logging.disable(logging.ERROR)
    samples = [np.random.default_rng(i).normal(size=SHAPE).astype(np.float32) for i in range(4)]
    for file in sys.argv[1:]:
        error = ""
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                quantize = runpy.run_path(file)["quantize"]
                found = quantize(Net().eval(), nncf.Dataset(samples, torch.from_numpy))
                found(torch.from_numpy(samples[0]))
                onnx.checker.check_model(quantize(model(), nncf.Dataset(samples, lambda x: {"x": x})))
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        print(json.dumps({"file": file, "accepted": not error, "error": error[:2000]}))


main()
