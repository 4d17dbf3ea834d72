"""Plans of Vitis AI's configurations for tests."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from qsimc_onnx.graph import read_graph

from qsimc.graph import Graph
from tests.unit.plans import graph_of


def _net() -> Graph:
    """Return a stem, a depthwise and a 1x1 convolution around a sum."""
    weights: dict[str, tuple[int, ...]] = {
        "stem.weight": (4, 3, 1, 1),
        "dw.weight": (4, 1, 3, 3),
        "pw.weight": (4, 4, 1, 1),
    }
    weights |= {f"{name}.bias": (4,) for name in ("stem", "dw", "pw")}
    stored = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["stem"], "/stem/Conv"),
        helper.make_node("Relu", ["stem"], ["r"], "/relu/Relu"),
        helper.make_node("Conv", ["r", "dw.weight", "dw.bias"], ["dw"], "/dw/Conv", group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["dw", "pw.weight", "pw.bias"], ["pw"], "/pw/Conv"),
        helper.make_node("Add", ["r", "pw"], ["s"], "/Add"),
        helper.make_node("Relu", ["s"], ["y"], "/relu_1/Relu"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, None, 8, 8]) for name in "xy")
    return read_graph(helper.make_model(helper.make_graph(nodes, "g", [x], [y], stored)))


NET = _net()


def simple(body: str, constants: str = "") -> Graph:
    """Return a graph whose input is `x`, from ONNX's own text."""
    return graph_of(f"g (float[2, 4, 8, 8] x) => (y) {constants} {{ {body} }}")
