"""A model's constants after their quantizers: to run it with its weights quantized, without nodes that do so.

Where a quantizer is a node, onnxruntime folds it when it loads the model: with the values of every step in memory at
once, several times the weights, and with the result in memory as well, where a file would be mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.helper import tensor_dtype_to_np_dtype

from qsimc.calibrate.encoding import Encoding
from qsimc.planning.plan import TensorPlan
from qsimc_onnx.build import cast_type, encoding_of, instrument, is_identity, onnx_type
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import opset
from qsimc_onnx.rewrite import drop_makers
from qsimc_onnx.write import Deferred, defer


def with_quantized_constants(
    model: OnnxModel, planned: Iterable[TensorPlan], encodings: Mapping[str, Encoding]
) -> tuple[ModelProto, Deferred]:
    """Return a copy of the model in which planned constants are what their quantizers make of them.

    The values are those of `instrument`'s nodes to the last bit, because kernels agree with `Encoding.fake_quantize`.
    They are deferred, so that `save` can write models larger than memory.  Planned tensors that the main graph does
    not store get nodes after all.
    """
    asked = tuple(planned)
    proto = instrument(model, [p for p in asked if not model.stores(p.tensor)], encodings)
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    deferred: dict[str, Callable[[], NDArray[Any]]] = {}
    for p in asked:
        encoding, narrow = encoding_of(p, encodings), cast_type(p.spec, opset(proto))
        if not model.stores(p.tensor) or is_identity(p.spec) or (encoding is None and narrow is None):
            continue
        tensor = held[p.tensor] if p.tensor in held else proto.graph.initializer.add()
        defer(tensor, p.tensor, model.shape_of_constant(p.tensor), onnx_type(model, p.tensor))
        deferred[p.tensor] = partial(_quantized, model, p.tensor, encoding if narrow is None else narrow)
    drop_makers(proto.graph, deferred.keys())
    return proto, deferred


def _quantized(model: OnnxModel, tensor: str, how: Encoding | int | None) -> NDArray[Any]:
    """Return a constant after a round trip through a grid, or through an ONNX float type."""
    values = model.constant(tensor)
    if isinstance(how, Encoding):
        return how.fake_quantize(np.asarray(values, np.float32)).astype(values.dtype, copy=False)
    assert how is not None, f"nothing says how `{tensor}` is quantized"
    with np.errstate(over="ignore"):
        return values.astype(tensor_dtype_to_np_dtype(how)).astype(values.dtype)
