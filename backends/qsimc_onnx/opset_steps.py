"""What changed between operator sets 7 and 13, operator by operator, and how to say the old meaning in the new set.

The source is ONNX's own history, docs/Changelog.md.  Only changes of meaning or form are here: in most versions an
operator merely took more types, or got optional inputs and attributes whose defaults keep what it did.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto
from onnx.helper import get_attribute_value, make_attribute, make_node

from qsimc_onnx.protos import is_external
from qsimc_onnx.rewrite import Names


class CannotRaiseError(ValueError):
    """A node has no equal in the later operator set; the message says which and why, in one clause."""


@dataclass(slots=True)
class Scope:
    """What the nodes of one graph can see."""

    names: Names
    used: set[str]
    """Values that anything reads, in the whole model."""
    types: MutableMapping[str, str]
    """Value -> numpy's name of its element type."""
    ranks: MutableMapping[str, int]
    """Value -> number of dimensions, where the file states it."""
    stored: MutableMapping[str, TensorProto]

    def inside(self) -> Scope:
        """Return the scope of a nested graph."""
        types, ranks, stored = ChainMap({}, self.types), ChainMap({}, self.ranks), ChainMap({}, self.stored)
        return Scope(self.names, self.used, types, ranks, stored)

    def constant(self, node: NodeProto, suffix: str, values: NDArray[Any]) -> NodeProto:
        """Return a Constant node, named after the node that is to read it."""
        name = self.names.fresh(f"{node.name or node.output[0]}_{suffix}")
        return make_node("Constant", [], [name], name=name, value=onnx.numpy_helper.from_array(values))

    def value(self, name: str) -> NDArray[Any] | None:
        """Return the value of a constant that lies in the model file itself."""
        tensor = self.stored.get(name)
        return None if tensor is None or is_external(tensor) else onnx.numpy_helper.to_array(tensor)

    def floats(self, node: NodeProto, value: float) -> NDArray[Any]:
        """Return a number in the element type of what a node reads first."""
        dtype = self.types.get(node.input[0], "")
        if dtype not in ("float16", "float32", "float64"):
            raise CannotRaiseError(f"the element type of what `{node.op_type}` reads is not known")
        return np.array(value, dtype)


Step: TypeAlias = Callable[[NodeProto, Scope], list[NodeProto]]
"""Rewrites one node, in place where it can, and returns all that takes its place."""


def _take(node: NodeProto, name: str) -> Any:
    """Remove an attribute and return its value, None when the node has none of that name."""
    for position, attribute in enumerate(node.attribute):
        if attribute.name == name:
            if attribute.ref_attr_name:
                raise CannotRaiseError(f"`{name}` of `{node.op_type}` is an attribute of a function")
            value = get_attribute_value(attribute)
            del node.attribute[position]
            return value
    return None


def _attribute(node: NodeProto, name: str) -> AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)


def _set(node: NodeProto, **attributes: Any) -> None:
    for name, value in attributes.items():
        node.attribute.append(make_attribute(name, value))


def _append(node: NodeProto, constants: list[NodeProto | None]) -> list[NodeProto]:
    """Append constants to a node's inputs, None for one left out; return constants and node in order."""
    node.input.extend("" if constant is None else constant.output[0] for constant in constants)
    while not node.input[-1]:
        del node.input[-1]
    return [*(constant for constant in constants if constant is not None), node]


def _integers(*names: str) -> Step:
    """Return the step that made inputs of these integer attributes."""

    def step(node: NodeProto, scope: Scope) -> list[NodeProto]:
        taken = [(name, _take(node, name)) for name in names]
        constants = [
            None if value is None else scope.constant(node, name, np.atleast_1d(np.array(value, np.int64)))
            for name, value in taken
        ]
        return _append(node, constants)

    return step


def _clip(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Clip-11 takes its bounds as inputs, of the type of what it clips."""
    bounds = [(name, _take(node, name)) for name in ("min", "max")]
    constants = [
        None if bound is None else scope.constant(node, name, scope.floats(node, bound)) for name, bound in bounds
    ]
    return _append(node, constants)


def _pad(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Pad-11 takes pads and value as inputs."""
    value = _take(node, "value")
    pads = scope.constant(node, "pads", np.array(_take(node, "pads"), np.int64))
    return _append(node, [pads, scope.constant(node, "value", scope.floats(node, value)) if value else None])


def _dropout(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Dropout-12 takes its ratio as an input.  Its mask has another type than before 10 and, where nothing is
    dropped, another value than before 12.
    """
    if len(node.output) > 1:
        if node.output[1] in scope.used:
            raise CannotRaiseError("the mask of `Dropout` changed in operator set 12")
        del node.output[1:]
    ratio = _take(node, "ratio")
    return _append(node, [None if ratio is None else scope.constant(node, "ratio", np.array(ratio, np.float32))])


def _batch_normalization(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """BatchNormalization-9 always has one mean per channel."""
    if _take(node, "spatial") == 0:
        raise CannotRaiseError("`BatchNormalization` that is not spatial ended with operator set 8")
    return [node]


def _scan(node: NodeProto, scope: Scope) -> list[NodeProto]:
    raise CannotRaiseError("`Scan` lost its batch dimension in operator set 9")


def _scatter(node: NodeProto, scope: Scope) -> list[NodeProto]:
    node.op_type = "ScatterElements"
    return [node]


def _softmax(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Softmax-13 normalises along one axis; before, along all axes from that one on, as if they were flattened."""
    axis = _take(node, "axis")
    axis = 1 if axis is None else axis
    rank = scope.ranks.get(node.input[0], scope.ranks.get(node.output[0]))
    if axis == -1 or (rank is not None and axis == rank - 1):
        _set(node, axis=-1)
        return [node]
    source, result, name = node.input[0], node.output[0], node.name or node.output[0]
    shape, flat, normal = (scope.names.fresh(f"{name}_{suffix}") for suffix in ("shape", "flat", "normalised"))
    node.input[0], node.output[0] = flat, normal
    _set(node, axis=-1)
    return [
        make_node("Shape", [source], [shape], name=shape),
        make_node("Flatten", [source], [flat], name=flat, axis=axis),
        node,
        make_node("Reshape", [normal, shape], [result], name=scope.names.fresh(f"{name}_reshape")),
    ]


def _upsample_scales(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Upsample-9 takes its scales as an input."""
    return _append(node, [scope.constant(node, "scales", np.array(_take(node, "scales"), np.float32))])


def _upsample(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Upsample ends with version 9; it never shrinks, so its nearest pixel is the one before."""
    return _asymmetric(node, "floor")


def _resize(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Resize-11 states what Resize-10 left open: onnxruntime took the pixel before, when shrinking the one after."""
    mode = _attribute(node, "mode")
    if mode is not None and mode.s != b"nearest":
        return _asymmetric(node, "floor")
    scales = scope.value(node.input[1])
    if scales is None or (scales.max() > 1 and scales.min() < 1):
        raise CannotRaiseError(
            "`Resize` takes the nearest pixel, at scales that are not known to be all above or below 1"
        )
    return _asymmetric(node, "ceil" if scales.min() < 1 else "floor")


def _asymmetric(node: NodeProto, nearest: str) -> list[NodeProto]:
    """Return Resize, as of version 13, on the coordinates that Upsample and Resize-10 use."""
    node.op_type = "Resize"
    node.input.insert(1, "")
    _set(node, coordinate_transformation_mode="asymmetric", nearest_mode=nearest)
    return [node]


def _resize_words(node: NodeProto, scope: Scope) -> list[NodeProto]:
    """Resize-13 dropped a word for coordinates."""
    word = _attribute(node, "coordinate_transformation_mode")
    if word is not None and word.s == b"tf_half_pixel_for_nn":
        raise CannotRaiseError("`Resize` with `tf_half_pixel_for_nn` ended with operator set 12")
    return [node]


STEPS: Mapping[tuple[str, int], Step] = {
    ("BatchNormalization", 9): _batch_normalization,
    ("Scan", 9): _scan,
    ("Upsample", 9): _upsample_scales,
    ("Slice", 10): _integers("starts", "ends", "axes"),
    ("TopK", 10): _integers("k"),
    ("Clip", 11): _clip,
    ("Pad", 11): _pad,
    ("Scatter", 11): _scatter,
    ("Resize", 11): _resize,
    ("Dropout", 12): _dropout,
    ("Hardmax", 13): _softmax,
    ("LogSoftmax", 13): _softmax,
    ("Resize", 13): _resize_words,
    ("Softmax", 13): _softmax,
    ("Split", 13): _integers("split"),
    ("Squeeze", 13): _integers("axes"),
    ("Unsqueeze", 13): _integers("axes"),
    ("Upsample", 13): _upsample,
    ("ReduceSum", 13): _integers("axes"),
}
"""(Operator, the version that changed it) -> the step over that version.

Upsample becomes Resize-13, not an older one: those want a region of interest even where it has no meaning.
"""
