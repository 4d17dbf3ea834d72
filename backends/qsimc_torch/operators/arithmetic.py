"""Arithmetic that depends on types and attributes: powers, remainders, bits, running sums, sums of products."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.names import string
from qsimc_torch.operators import operator, otherwise
from qsimc_torch.operators.making import scalar, torch_type
from qsimc_torch.operators.pointwise import refuse_training


@operator("Pow")
def power(node: Call) -> str:
    """The result has the type of the base; torch gives it the wider type of the two."""
    made = call("torch.pow", node[0], node[1])
    base, exponent = node.dtype(0), node.dtype(1)
    same = base == exponent or "" in (base, exponent) or ("float" in base and "float" not in exponent)
    return made if same else f"{made}.to(torch.{base})"


@operator("Mod")
def mod(node: Call) -> str:
    """With `fmod` the sign is the dividend's, as in C; without, the divisor's, as in Python."""
    return call("torch.fmod" if node.integer("fmod", 0) else "torch.remainder", node[0], node[1])


@operator("BitShift")
def bit_shift(node: Call) -> str:
    direction = "left" if node.word("direction", "") == "LEFT" else "right"
    return call(f"torch.bitwise_{direction}_shift", node[0], node[1])


@operator("BitCast")
def bit_cast(node: Call) -> str:
    return f"{node[0]}.view({torch_type(node.integer('to', 0))})"


@operator("IsInf")
def is_inf(node: Call) -> str:
    found = bool(node.integer("detect_negative", 1)), bool(node.integer("detect_positive", 1))
    match found:
        case (True, True):
            return call("torch.isinf", node[0])
        case (True, False):
            return call("torch.isneginf", node[0])
        case (False, True):
            return call("torch.isposinf", node[0])
    return call("torch.zeros_like", node[0], dtype="torch.bool")


@operator("CumSum", "CumProd")
def running(node: Call) -> str:
    """`reverse` starts at the end; `exclusive` leaves each element itself out."""
    axis = scalar(node, 1) if node.constant(1) is not None else node.let("axis", scalar(node, 1))
    # torch makes int64 of what small integers sum up to.
    dtype = f"torch.{node.dtype()}" if "int" in node.dtype() and node.dtype() != "int64" else None
    backwards = bool(node.integer("reverse", 0))
    x = f"{node[0]}.flip({axis})" if backwards else node[0]
    name = "cumsum" if node.node.op == "CumSum" else "cumprod"
    if node.integer("exclusive", 0):
        x = node.let("backwards", x) if backwards else x
        first = f"torch.{'zeros' if name == 'cumsum' else 'ones'}_like({x}.narrow({axis}, 0, 1))"
        rest = f"{x}.narrow({axis}, 0, {x}.shape[{axis}] - 1)"
        x = node.let("shifted", f"torch.cat([{first}, {rest}], dim={axis})")
    made = call(f"{x}.{name}", axis, dtype=dtype)
    return f"{made}.flip({axis})" if backwards else made


@operator("Trilu")
def trilu(node: Call) -> str:
    diagonal = scalar(node, 1) if node.has(1) else "0"
    return call(
        "torch.triu" if node.integer("upper", 1) else "torch.tril",
        node[0],
        diagonal=None if diagonal == "0" else diagonal,
    )


@operator("ArgMax", "ArgMin")
def arg(node: Call) -> str:
    """Of equal ones the first, or by `select_last_index` the last."""
    axis, keeps = node.integer("axis", 0), bool(node.integer("keepdims", 1)) or None
    method = "argmax" if node.node.op == "ArgMax" else "argmin"
    if not node.integer("select_last_index", 0):
        return call(f"{node[0]}.{method}", dim=axis, keepdim=keeps)
    return f"{node[0]}.shape[{axis}] - 1 - {call(f'{node[0]}.flip({axis}).{method}', dim=axis, keepdim=keeps)}"


@operator("Einsum")
def einsum(node: Call) -> str:
    operands = (node[position] for position in range(len(node.node.inputs)))
    return call("torch.einsum", string("".join(node.word("equation", "").split())), *operands)


@operator("com.microsoft.FusedMatMul")
def fused_matmul(node: Call) -> str:
    """alpha * A' @ B' (onnxruntime's contrib operators)."""
    if node.integer("transBatchA", 0) or node.integer("transBatchB", 0):
        raise Unsupported("it moves the batch")
    a, b = (f"{node[i]}.mT" if node.integer(f"trans{'AB'[i]}", 0) else node[i] for i in (0, 1))
    alpha = node.number("alpha", 1.0)
    product = call("torch.matmul", a, b)
    return product if alpha == 1.0 else f"{product} * {literal(alpha)}"


@otherwise("Dropout")
def dropout(node: Call) -> str:
    """At inference the mask lets everything pass; before operator set 12 it has no meaning, and onnxruntime no ones."""
    refuse_training(node)
    filled = "torch.ones_like" if node.opset >= 12 else "torch.zeros_like"
    return f"{node[0]}, {call(filled, node[0], dtype='torch.bool' if node.opset >= 10 else None)}"
