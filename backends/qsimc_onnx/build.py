"""The instrumented model: one named quantizer node per planned tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qsimc.calibrate.encoding import Encoding
from qsimc.garbage import uncollected
from qsimc.ir.quant import Numeric, QuantSpec
from qsimc.planning.plan import Plan, TensorPlan
from qsimc_onnx import functions
from qsimc_onnx.functions import DOMAIN, VITIS, Kernel, kernel_of
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.opsets import raised
from qsimc_onnx.protos import opset
from qsimc_onnx.rewrite import Insertion, Names, cut, place
from qsimc_onnx.write import save

_FUNCTIONS_SINCE = 8
"""The IR version that introduced model-local functions."""

_KERNELS_SINCE = 9
"""The operator set that has all the kernels use: Sign, and Max and Min that broadcast."""

_BFLOAT16_SINCE = 13
"""The operator set from which Cast knows bfloat16."""

_TENSOR = "qsimc.tensor"
"""Metadata key of a quantizer node: the tensor it stands for, whatever the names around it had to be."""


def build(model: OnnxModel, plan: Plan, out: Path, encodings: Mapping[str, Encoding] | None = None) -> Sequence[Path]:
    """Write `<model>.sim.onnx` into `out`, and its data file when the model has one; return the files."""
    instrumented = instrument(model, plan.enabled(), encodings or {})
    return save(instrumented, model.folder, out / f"{model.stem}.sim.onnx")


@uncollected()
def instrument(model: OnnxModel, planned: Iterable[TensorPlan], encodings: Mapping[str, Encoding]) -> ModelProto:
    """Return a copy of the model with a quantizer node, named `quantize/<tensor>`, for each planned tensor.

    Tensors keep the name their encoding is filed under: consumers of `t` read `t_dq`, except that a quantized
    graph output stays public and its producer makes `t_raw`.  A quantizer without an encoding passes values on.
    """
    # What cannot be raised is tried as it is.
    proto, _ = raised(model.proto, _KERNELS_SINCE)
    proto.ir_version = max(proto.ir_version, _FUNCTIONS_SINCE)
    names = Names.of(proto)
    wanted = {p.tensor: p for p in planned if not is_identity(p.spec)}
    writer = _Quantizers(proto, names)
    insertions = []
    for tensor, ends in cut(proto.graph, wanted, names).items():
        node = writer.node(wanted[tensor], encoding_of(wanted[tensor], encodings), model)
        node.name = names.fresh(f"quantize/{tensor}")
        node.metadata_props.add(key=_TENSOR, value=tensor)
        node.input.insert(0, ends.source)
        node.output.append(ends.result)
        insertions.append(Insertion(ends.source, ends.result, [node]))
    place(proto.graph, insertions)
    writer.declare()
    return proto


def quantized(built: Path) -> Mapping[str, str]:
    """Return, for each quantizer of a model that `build` wrote, its tensor and the name of what it puts out."""
    nodes = onnx.load_model(built, load_external_data=False).graph.node
    return {p.value: node.output[0] for node in nodes for p in node.metadata_props if p.key == _TENSOR}


def is_identity(spec: QuantSpec) -> bool:
    """Return whether a spec asks for a type at least as wide as the computation's own."""
    return spec.type is Numeric.FLOAT and (spec.bits or 32) >= 32


def cast_type(spec: QuantSpec, version: int) -> int | None:
    """Return the ONNX type of a spec that is a mere cast; None for integers, and for what Cast does not have.

    Casts need no encoding.  Eight-bit floats do, and are not supported.
    """
    if spec.type is Numeric.BFLOAT and version >= _BFLOAT16_SINCE:
        return int(TensorProto.BFLOAT16)
    return int(TensorProto.FLOAT16) if spec.type is Numeric.FLOAT and spec.bits == 16 else None


def encoding_of(planned: TensorPlan, encodings: Mapping[str, Encoding]) -> Encoding | None:
    """Return the encoding of a tensor: its own, or that of the tensor whose quantizer it shares."""
    found = encodings.get(planned.tensor)
    return found if found is not None or planned.shares is None else encodings.get(planned.shares)


def broadcast_shape(encoding: Encoding, rank: int | None) -> tuple[int, ...]:
    """Return the shape that puts per-channel numbers beside a tensor's channel axis; () per tensor.

    Raises:
        ValueError: the axis counts from the front of a tensor of unknown rank.
    """
    if encoding.axis is None or len(encoding.scale) == 1:
        return ()
    if encoding.axis >= 0 and rank is None:
        raise ValueError("a per-channel encoding needs a tensor of known rank")
    trailing = -encoding.axis - 1 if encoding.axis < 0 else (rank or 0) - encoding.axis - 1
    return (len(encoding.scale),) + (1,) * trailing


def onnx_type(model: OnnxModel, tensor: str) -> int:
    """Return a tensor's ONNX element type; float32 when the graph does not say."""
    known = model.graph.tensors.get(tensor)
    return int(TensorProto.DataType.Value(_TYPES.get(known.dtype if known else "", "FLOAT")))


_TYPES = {"float16": "FLOAT16", "bfloat16": "BFLOAT16", "float64": "DOUBLE"}


def rank_of(model: OnnxModel, tensor: str) -> int | None:
    """Return a tensor's number of dimensions, None when nobody knows."""
    known = model.graph.tensors.get(tensor)
    return None if known is None or known.shape is None else len(known.shape)


@dataclass(slots=True)
class _Quantizers:
    """Makes quantizer nodes; remembers the functions they call and the numbers they share."""

    proto: ModelProto
    names: Names
    called: dict[str, tuple[Kernel, int]] = field(default_factory=dict)
    bounds: dict[float, str] = field(default_factory=dict)

    def node(self, planned: TensorPlan, encoding: Encoding | None, model: OnnxModel) -> NodeProto:
        """Return a quantizer that lacks its name, its first input and its output."""
        kernel = _kernel(planned.spec, encoding, opset(self.proto))
        dtype = onnx_type(model, planned.tensor)
        name = functions.function_name(kernel, dtype)
        self.called[name] = kernel, dtype
        numbers: list[str] = []
        if encoding is not None and functions.inputs(kernel):
            shape = broadcast_shape(encoding, rank_of(model, planned.tensor))
            numbers = self._numbers(planned.tensor, kernel, encoding, shape)
        return onnx.helper.make_node(name, numbers, [], domain=DOMAIN)

    def _numbers(self, tensor: str, kernel: Kernel, encoding: Encoding, shape: tuple[int, ...]) -> list[str]:
        """Store an encoding's numbers as float32 initializers, in the order the function takes them."""
        if kernel in VITIS:
            amplitude = encoding.amplitude.reshape(shape)
            factors = [
                self._store(f"{tensor}_amplitude", amplitude),
                self._store(f"{tensor}_inverse", encoding.step.reshape(shape)),
            ]
            zero_point = self._store(f"{tensor}_zero_point", encoding.zero_point.reshape(shape))
            return [*factors, zero_point, self._bound(encoding.qmin), self._bound(encoding.qmax)]
        scale = self._store(f"{tensor}_scale", encoding.scale.reshape(shape))
        if kernel is Kernel.AIMET:
            offset = self._store(f"{tensor}_offset", (encoding.qmin - encoding.zero_point).reshape(shape))
            low = self._store(f"{tensor}_min", encoding.min.reshape(shape))
            return [scale, offset, low, self._store(f"{tensor}_max", encoding.max.reshape(shape))]
        zero_point = self._store(f"{tensor}_zero_point", encoding.zero_point.reshape(shape))
        return [scale, zero_point, self._bound(encoding.qmin), self._bound(encoding.qmax)]

    def _bound(self, integer: int) -> str:
        """Return the initializer that holds an end of a grid; quantizers of one type share it."""
        if integer not in self.bounds:
            self.bounds[integer] = self._store(f"q_{integer}", np.array(integer))
        return self.bounds[integer]

    def _store(self, name: str, values: NDArray[Any]) -> str:
        fresh = self.names.fresh(name)
        self.proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), fresh))
        return fresh

    def declare(self) -> None:
        """Add the functions that were called, and import their domain."""
        if not self.called:
            return
        version = opset(self.proto)
        present = {(f.domain, f.name) for f in self.proto.functions}
        for name, (kernel, dtype) in sorted(self.called.items()):
            if (DOMAIN, name) not in present:
                self.proto.functions.append(functions.function(kernel, dtype, version))
        if all(entry.domain != DOMAIN for entry in self.proto.opset_import):
            self.proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _kernel(spec: QuantSpec, encoding: Encoding | None, version: int) -> Kernel:
    """Return what a quantizer computes; what has no encoding yet, or no type in the operator set, passes through."""
    if (narrow := cast_type(spec, version)) is not None:
        return next(kernel for kernel, cast in functions.CASTS.items() if cast == narrow)
    return Kernel.UNCALIBRATED if encoding is None else kernel_of(encoding)
