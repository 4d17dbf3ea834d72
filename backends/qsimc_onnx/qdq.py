"""One quantizer in ONNX's own operators: QuantizeLinear, DequantizeLinear, Cast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_node, tensor_dtype_to_np_dtype

from qsimc.calibrate.encoding import Encoding
from qsimc_onnx.build import broadcast_shape, onnx_type, rank_of
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import opset
from qsimc_onnx.rewrite import Cut, Insertion, Names
from qsimc_onnx.storage import CONTRIB, PACKED, PACKED_SINCE, Storage, domain
from qsimc_onnx.write import defer

Target: TypeAlias = "int | tuple[Encoding, Storage]"
"""What a tensor becomes: another ONNX float type, or integers in an ONNX type that holds them."""

_CLIP_TAKES_INPUTS = 11
"""The operator set from which Clip's bounds are inputs."""


@dataclass(slots=True)
class Writer:
    """The nodes of one tensor's quantizer so far; its numbers go straight to the model's initializers.

    What becomes of a constant is `deferred` until the model is written.
    """

    model: OnnxModel
    proto: ModelProto
    names: Names
    tensor: str
    deferred: dict[str, Callable[[], NDArray[Any]]]
    nodes: list[NodeProto] = field(default_factory=list)

    @property
    def dtype(self) -> int:
        """The tensor's own ONNX element type."""
        return onnx_type(self.model, self.tensor)

    def add(self, op: str, inputs: list[str], result: str, domain: str = "", **attributes: Any) -> str:
        """Append a node and return its output."""
        name = self.names.fresh(f"{self.tensor}_{op}")
        self.nodes.append(make_node(op, inputs, [result], name=name, domain=domain, **attributes))
        return result

    def fresh(self, suffix: str) -> str:
        """Return a new name that says whose value it is."""
        return self.names.fresh(f"{self.tensor}_{suffix}")

    def store(self, suffix: str, values: NDArray[Any]) -> str:
        """Add an initializer and return its name."""
        name = self.fresh(suffix)
        self.proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        return name

    def store_later(self, suffix: str, data_type: int, change: Callable[[NDArray[Any]], NDArray[Any]]) -> str:
        """Add an initializer for what becomes of the tensor, a constant, when it is written; return its name."""
        name = self.fresh(suffix)
        defer(self.proto.graph.initializer.add(), name, self.model.shape_of_constant(self.tensor), data_type)
        self.deferred[name] = partial(_changed, self.model, self.tensor, change, tensor_dtype_to_np_dtype(data_type))
        return name


def _changed(
    model: OnnxModel, tensor: str, change: Callable[[NDArray[Any]], NDArray[Any]], dtype: np.dtype[Any]
) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return change(model.constant(tensor)).astype(dtype)


@dataclass(frozen=True, slots=True)
class Affine:
    """An encoding with the integer type that holds it, and the names of its stored scale and zero point."""

    encoding: Encoding
    held: Storage
    parameters: list[str]

    @classmethod
    def store(cls, encoding: Encoding, held: Storage, writer: Writer) -> Affine:
        """Store scale and zero point: shape () per tensor, (C,) per channel."""
        shape = () if len(encoding.scale) == 1 else (len(encoding.scale),)
        zero_point = encoding.zero_point.astype(tensor_dtype_to_np_dtype(held.type))
        scale = writer.store("scale", encoding.step.reshape(shape))
        if held.type in PACKED:
            writer.proto.ir_version = max(writer.proto.ir_version, PACKED_SINCE)
        return cls(encoding, held, [scale, writer.store("zero_point", zero_point.reshape(shape))])

    def linear(self, op: str, value: str, result: str, writer: Writer) -> str:
        """Append QuantizeLinear or DequantizeLinear, from the domain that has it for this type."""
        per_channel = len(self.encoding.scale) > 1
        where = domain(self.held, opset(writer.proto), per_channel=per_channel)
        if where == CONTRIB and all(entry.domain != CONTRIB for entry in writer.proto.opset_import):
            writer.proto.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
        attributes = {"axis": self.encoding.axis} if per_channel else {}
        return writer.add(op, [value, *self.parameters], result, where, **attributes)


def quantizer(writer: Writer, target: Target, ends: Cut) -> Insertion:
    """Return the nodes between a tensor and its readers; a constant is replaced by its quantized value."""
    if isinstance(target, int):
        source = _cast_pair(target, ends, writer)
    elif writer.model.stores(writer.tensor):
        source = _stored_integers(Affine.store(*target, writer), ends.result, writer)
    else:
        source = _quantized(Affine.store(*target, writer), ends, writer)
    return Insertion(source, ends.result, writer.nodes)


def _cast_pair(narrow: int, ends: Cut, writer: Writer) -> str:
    """Round to a 16-bit float and back; a constant is stored in 16 bits.  Return what the nodes read."""
    suffix = TensorProto.DataType.Name(narrow).lower()
    if writer.model.stores(writer.tensor):
        source = middle = writer.store_later(suffix, narrow, np.asarray)
    else:
        source, middle = ends.source, writer.fresh(suffix)
        writer.add("Cast", [source], middle, to=narrow)
    writer.add("Cast", [middle], ends.result, to=writer.dtype)
    return source


def _stored_integers(affine: Affine, result: str, writer: Writer) -> str:
    """Store a constant as integers and only dequantize it; return the integers' name."""
    source = writer.store_later("quantized", affine.held.type, affine.encoding.quantize)
    _dequantize(affine, source, result, writer)
    return source


def _quantized(affine: Affine, ends: Cut, writer: Writer) -> str:
    """Quantize and dequantize a value that the model computes; return what the nodes read."""
    value = ends.source
    if writer.dtype != TensorProto.FLOAT:
        value = writer.add("Cast", [value], writer.fresh("float"), to=TensorProto.FLOAT)
    if (affine.encoding.qmin, affine.encoding.qmax) != (affine.held.low, affine.held.high):
        value = _clip(affine, value, writer)
    integers = affine.linear("QuantizeLinear", value, writer.fresh("quantized"), writer)
    _dequantize(affine, integers, ends.result, writer)
    return ends.source


def _clip(affine: Affine, value: str, writer: Writer) -> str:
    """Clip to a grid that is smaller than its storage type, in reals, so that Q and DQ stay neighbours.

    k * scale / scale is within one float32 of the integer k, so the ends of the grid are hit exactly.
    """
    encoding = affine.encoding
    shape = broadcast_shape(encoding, rank_of(writer.model, writer.tensor))
    scale = encoding.step
    low = writer.store("min", ((encoding.qmin - encoding.zero_point).astype(np.float32) * scale).reshape(shape))
    high = writer.store("max", ((encoding.qmax - encoding.zero_point).astype(np.float32) * scale).reshape(shape))
    # onnxruntime's optimiser fails on Clip before a QuantizeLinear to 4 bits (clip_quantizelinear.cc).
    if shape == () and opset(writer.proto) >= _CLIP_TAKES_INPUTS and affine.held.type not in PACKED:
        return writer.add("Clip", [value, low, high], writer.fresh("clipped"))
    raised = writer.add("Max", [value, low], writer.fresh("raised"))
    return writer.add("Min", [raised, high], writer.fresh("clipped"))


def _dequantize(affine: Affine, integers: str, result: str, writer: Writer) -> None:
    """Append what turns integers into the tensor's own type."""
    if writer.dtype == TensorProto.FLOAT:
        affine.linear("DequantizeLinear", integers, result, writer)
        return
    wide = affine.linear("DequantizeLinear", integers, writer.fresh("float_dq"), writer)
    writer.add("Cast", [wide], result, to=writer.dtype)
