"""Average pools by a factor that the DPU can shift by: it multiplies with integers, not with 1 / area.

Source: vai_q_pytorch 3.5, `nndct_shared/quantization` and its pooling modules; runs of the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2, prod

import onnx
from onnx import ModelProto, NodeProto
from onnx.helper import make_node

from qsimc.backend import Change
from qsimc.planning.vitis.network import Network
from qsimc_onnx.editor import Editor
from qsimc_onnx.graph import read_graph
from qsimc_onnx.origins import tag
from qsimc_onnx.protos import without_weights

_POOLS = ("avgpool", "adaptive_avg_pool2d")

_KNOWN = {
    (3, 3): 9 * 7 / 64,
    (5, 5): 25 * 10 / 256,
    (6, 6): 36 * 7 / 256,
    (3, 6): 18 * 14 / 256,
    (6, 3): 18 * 14 / 256,
    (7, 7): 49 * 21 / 1024,
    (14, 14): 196 * 21 / 4096,
}
"""Window -> area x the multiple of a power of two that the DPU takes for 1 / area."""


def round_averages(editor: Editor) -> Sequence[Change]:
    """Multiply each average pool by the ratio of the DPU's factor to the true one, where they differ."""
    changes: list[Change] = []
    model = editor.proto
    network, shapes = Network.of(read_graph(model)), _Shapes(model)
    for layer in network.layers:
        pool = editor.producer(layer.output) if layer.kind in _POOLS else None
        window = _window(pool, shapes) if pool is not None else None
        if pool is None or window is None or (factor := dpu_factor(window)) == 1.0:
            continue
        call = pool.name or pool.output[0]
        raw = editor.names.fresh(f"{pool.output[0]}/exact")
        scaled = make_node("Mul", [raw, editor.number(f"{pool.output[0]}/factor", factor)], list(pool.output[:1]))
        scaled.name = editor.names.fresh(f"{call}/factor")
        tag(scaled, call, f"qsimc.{pool.op_type}", pool)
        tag(pool, call, f"qsimc.{pool.op_type}")
        pool.output[0] = raw
        editor.replace(pool, [pool, scaled])
        changes.append(
            Change("round-averages", pool.name, f"times {factor:.7g} for its window of {'x'.join(map(str, window))}")
        )
    return changes


def dpu_factor(window: tuple[int, ...]) -> float:
    """Return what an average over a window is multiplied by: 1 where the DPU's arithmetic is exact.

    Other windows take the multiple m / 2^n, n below log2(128 area), that is nearest to 1 / area.
    """
    if window in _KNOWN:
        return _KNOWN[window]
    area = prod(window)
    candidates = [(round(2.0**n / area), 2.0**n) for n in range(ceil(log2(area * 128)))]
    multiple, power = min(candidates, key=lambda pair: abs(pair[0] / pair[1] - 1 / area))
    return area * multiple / power


def _window(pool: NodeProto, shapes: _Shapes) -> tuple[int, ...] | None:
    """Return the sizes of a pool's window; of a global one they are its input's, None where that is not known."""
    kernel = next((tuple(a.ints) for a in pool.attribute if a.name == "kernel_shape"), None)
    if kernel is not None:
        return kernel if len(kernel) == 2 else None
    shape = shapes.inferred.get(pool.input[0], ())
    return shape[2:] if len(shape) == 4 and all(shape[2:]) else None


@dataclass
class _Shapes:
    """The shapes of a model's tensors, inferred when the first pool asks: no pass over averages changes them."""

    model: ModelProto

    @cached_property
    def inferred(self) -> Mapping[str, tuple[int, ...]]:
        """Tensor -> shape, 0 for a size that is not known."""
        try:
            graph = onnx.shape_inference.infer_shapes(without_weights(self.model)).graph
        except (onnx.shape_inference.InferenceError, ValueError):
            graph = self.model.graph
        found: dict[str, tuple[int, ...]] = {}
        for value in (*graph.value_info, *graph.input, *graph.output):
            sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in value.type.tensor_type.shape.dim]
            found.setdefault(value.name, tuple(sizes))
        return found
