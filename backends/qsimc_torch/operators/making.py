"""Operators that make tensors from sizes: filled ones, ranges, one-hot codes, windows of signal processing."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from qsimc_torch.call import Call, Unsupported, call, literal, shortest
from qsimc_torch.operators import operator

_TORCH: Mapping[int, str] = {
    TensorProto.BOOL: "bool",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
}


def torch_type(code: int) -> str:
    """Return the torch type of an ONNX element type.

    Raises:
        Unsupported: torch has none.
    """
    if code not in _TORCH:
        raise Unsupported(f"torch has no type `{TensorProto.DataType.Name(code)}`")
    return f"torch.{_TORCH[code]}"


def scalar(node: Call, position: int) -> str:
    """Return an input of one element as a Python number: a literal if it is a constant, a size if it is one."""
    if (found := node.sizes(position)) is not None and len(found) == 1:
        return str(found[0])
    value = node.constant(position)
    if value is None:
        return f"{node[position]}.item()"
    number = value.reshape(()).item()
    return literal(shortest(number) if value.dtype.name == "float32" else number)


def sizes(node: Call, position: int) -> str:
    """Return an input that lists integers as a Python sequence: a tuple as far as they follow from shapes."""
    found = node.sizes(position)
    return f"{node[position]}.tolist()" if found is None else literal(found)


@operator("ConstantOfShape")
def constant_of_shape(node: Call) -> str:
    """Without a value it is filled with zeros in float32."""
    stored = next((a.t for a in node.proto.attribute if a.name == "value"), None)
    if stored is None:
        return call("torch.zeros", sizes(node, 0), device=node.device)
    value = onnx.numpy_helper.to_array(stored).reshape(-1)[0]
    number = literal(shortest(value) if value.dtype.name == "float32" else value.item())
    return call("torch.full", sizes(node, 0), number, dtype=torch_type(stored.data_type), device=node.device)


@operator("Range")
def range_(node: Call) -> str:
    """Start and step are left out where they are 0 and 1, as one writes it."""
    start, limit, step = (scalar(node, position) for position in range(3))
    bounds = [limit] if start in ("0", "0.0") and step in ("1", "1.0") else [start, limit, step]
    if len(bounds) == 3 and step in ("1", "1.0"):
        bounds.pop()
    dtype = node.dtype() or node.dtype(1)
    plain = dtype == "int64" and all(node.dtype(position) == "int64" for position in range(3))
    return call("torch.arange", *bounds, dtype=None if plain else f"torch.{dtype}", device=node.device)


@operator("EyeLike")
def eye_like(node: Call) -> str:
    dtype = torch_type(node.integer("dtype", 0)) if "dtype" in node.node.attributes else None
    offset = node.integer("k", 0)
    diagonal = "" if offset == 0 else str(offset)
    return f"{call('torch.ones_like', node[0], dtype=dtype)}.triu({diagonal}).tril({diagonal})"


@operator("OneHot")
def one_hot(node: Call) -> str:
    """An index counts from either end; one that is out of range has no one (ONNX, OneHot)."""
    depth = node.constant(1)
    count = str(int(depth.reshape(()).item())) if depth is not None else node.let("depth", f"int({node[1]})")
    classes = node.let("classes", call("torch.arange", count, device=f"{node[0]}.device"))
    index = node.let("index", f"{node[0]}.unsqueeze(-1)")
    hot = f"(({index} == {classes}) | ({index} == {classes} - {count}))"
    axis = node.integer("axis", -1)
    if axis != -1:
        hot += f".movedim(-1, {axis})"
    return call("torch.where", hot, f"{node[2]}[1]", f"{node[2]}[0]")


@operator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(node: Call) -> str:
    """ONNX has 25/46 and 21/46 in Hamming's window, where torch has 0.54 and 0.46."""
    functions = {"HannWindow": "hann", "HammingWindow": "hamming", "BlackmanWindow": "blackman"}
    exact = {"alpha": "25 / 46", "beta": "21 / 46"} if node.node.op == "HammingWindow" else {}
    periodic = bool(node.integer("periodic", 1))
    dtype = torch_type(node.integer("output_datatype", TensorProto.FLOAT))
    return call(
        f"torch.{functions[node.node.op]}_window",
        scalar(node, 0),
        periodic=None if periodic and not exact else periodic,
        **exact,
        dtype=None if dtype == "torch.float32" else dtype,
        device=node.device,
    )


@operator("MelWeightMatrix")
def mel_weights(node: Call) -> str:
    dtype = torch_type(node.integer("output_datatype", TensorProto.FLOAT))
    numbers = [scalar(node, position) for position in range(5)]
    return call("mel_filters", *numbers, dtype=dtype, device=node.device)


@operator("Size")
def size(node: Call) -> str:
    return call("torch.tensor", f"{node[0]}.numel()", device=f"{node[0]}.device")


@operator("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
def random(node: Call) -> str:
    raise Unsupported("what it returns is random, so that no two runs could be compared")
