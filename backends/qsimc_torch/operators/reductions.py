"""Reductions.  The axes are an attribute first, an input later: since operator set 13 of sums, 18 of all others."""

from __future__ import annotations

from typing import TypeAlias

from qsimc_torch.call import Call, Unsupported, call
from qsimc_torch.operators import operator

Axes: TypeAlias = tuple[int, ...] | str
"""Which dimensions are reduced; source text where the model computes them."""


@operator("ReduceMax")
def maximum(node: Call) -> str:
    return _reduced(node, f"{node[0]}.amax", node[0])


@operator("ReduceMin")
def minimum(node: Call) -> str:
    return _reduced(node, f"{node[0]}.amin", node[0])


@operator("ReduceMean")
def mean(node: Call) -> str:
    if "int" in node.dtype():
        raise Unsupported("torch has no mean of integers")
    return _reduced(node, f"{node[0]}.mean", node[0])


@operator("ReduceSum")
def total(node: Call) -> str:
    return _reduced(node, f"{node[0]}.sum", node[0], dtype=_same_type(node))


@operator("ReduceL1")
def l1(node: Call) -> str:
    return _reduced(node, f"{node[0]}.abs().sum", f"{node[0]}.abs()", dtype=_same_type(node))


@operator("ReduceSumSquare")
def sum_square(node: Call) -> str:
    return _reduced(node, f"{node[0]}.square().sum", f"{node[0]}.square()", dtype=_same_type(node))


@operator("ReduceL2")
def l2(node: Call) -> str:
    _refuse_integers(node)
    return _reduced(node, "torch.linalg.vector_norm", f"{node[0]}.abs()", node[0])


@operator("ReduceLogSum")
def log_sum(node: Call) -> str:
    _refuse_integers(node)
    axes = _axes(node)
    return f"{node[0]}.log()" if axes == () else f"{_reduced(node, f'{node[0]}.sum', node[0])}.log()"


@operator("ReduceLogSumExp")
def log_sum_exp(node: Call) -> str:
    _refuse_integers(node)
    return _reduced(node, "torch.logsumexp", node[0], node[0], whole=False)


@operator("ReduceProd")
def product(node: Call) -> str:
    """torch multiplies along one axis at a time."""
    axes, dtype = _axes(node), _same_type(node)
    keeps = bool(node.integer("keepdims", 1))
    if isinstance(axes, str):
        raise Unsupported("its `axes` are computed by the model")
    if axes is None and not keeps:
        return call(f"{node[0]}.prod", dtype=dtype)
    if axes is None:
        axes = tuple(range(node.known_rank()))
    text = node[0]
    if len(axes) > 1:
        rank = node.known_rank()
        axes = tuple(sorted((axis % rank for axis in axes), reverse=True))
    for axis in axes:
        text = call(f"{text}.prod", dim=axis, keepdim=keeps or None, dtype=dtype)
    return text


def _reduced(
    node: Call, function: str, untouched: str, *first: str, dtype: str | None = None, whole: bool = True
) -> str:
    """Return the call that reduces.

    Args:
        untouched: what it computes where it reduces nothing (ONNX documentation, `noop_with_empty_axes`).
        whole: whether the function takes no axes for all.
    """
    axes = _axes(node)
    keeps = bool(node.integer("keepdims", 1))
    if axes == ():
        return untouched
    if axes is None and (keeps or not whole):
        rank = node.rank()
        axes = f"tuple(range({node[0]}.ndim))" if rank is None else tuple(range(rank))
    dim = axes[0] if isinstance(axes, tuple) and len(axes) == 1 else axes
    return call(function, *first, dim=dim, keepdim=keeps or None, dtype=dtype)


def _axes(node: Call) -> Axes | None:
    """Return the axes, none of them where nothing is reduced, None for all."""
    stays = bool(node.integer("noop_with_empty_axes", 0))
    if not node.has(1):
        axes = node.integers("axes") or ()
    elif node.shape(1) == (0,):
        axes = ()
    elif (found := node.sizes(1)) is not None:
        axes = tuple(axis for axis in found if isinstance(axis, int))
    elif stays:
        raise Unsupported("its `axes` are computed by the model")
    else:
        return f"{node[1]}.tolist()"
    return axes or (() if stays else None)


def _same_type(node: Call) -> str | None:
    """Return the type of a sum where torch would make it int64."""
    dtype = node.dtype()
    return f"torch.{dtype}" if "int" in dtype and dtype != "int64" else None


def _refuse_integers(node: Call) -> None:
    if "int" in node.dtype():
        raise Unsupported("it reduces integers")
