"""Operators that read and write at indices."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.operators import operator, otherwise
from qsimc_torch.operators.making import scalar


def index(node: Call, position: int, axis: int) -> str:
    """Return indices as `torch.gather` takes them: of int64, counted from the beginning.

    Those that ONNX counts from the end are only known to be absent in constants.
    """
    value = node.constant(position)
    long = "" if node.dtype(position) == "int64" else ".long()"
    if value is not None and (value >= 0).all():
        return f"{node[position]}{long}"
    return f"{node[position]}{long} % {node[0]}.shape[{axis}]"


@otherwise("Gather")
def gather(node: Call) -> str:
    raise Unsupported("the rank of its input is unknown")


@operator("GatherElements")
def gather_elements(node: Call) -> str:
    axis = node.integer("axis", 0)
    return call("torch.gather", node[0], str(axis), index(node, 1, axis))


@operator("GatherND")
def gather_nd(node: Call) -> str:
    """The last dimension of the indices addresses the first of the data, after those of the batch."""
    batch = node.integer("batch_dims", 0)
    if batch == 0:
        return f"{node[0]}[{node[1]}.unbind(-1)]"
    ones = node.known_rank(1) - batch - 1
    data, indices = node[0], node[1]
    if batch > 1:
        data = node.let("data", f"{data}.flatten(0, {batch - 1})")
        indices = f"{indices}.flatten(0, {batch - 1})"
    row = node.let("row", f"torch.arange({data}.shape[0], device={data}.device)")
    if ones:
        row = f"{row}.reshape({', '.join(['-1', *['1'] * ones])})"
    found = f"{data}[({row}, *{indices}.unbind(-1))]"
    return found if batch == 1 else f"{found}.unflatten(0, {node[0]}.shape[:{batch}])"


_REDUCTIONS = {"add": '"sum"', "mul": '"prod"', "max": '"amax"', "min": '"amin"'}


@operator("Scatter", "ScatterElements")
def scatter_elements(node: Call) -> str:
    axis, reduction = node.integer("axis", 0), node.word("reduction", "none")
    arguments = [str(axis), index(node, 1, axis), node[2]]
    if reduction == "none":
        return call(f"{node[0]}.scatter", *arguments)
    return call(f"{node[0]}.scatter_reduce", *arguments, reduce=_REDUCTIONS[reduction])


@operator("ScatterND")
def scatter_nd(node: Call) -> str:
    reduction = node.word("reduction", "none")
    if reduction in ("none", "add"):
        accumulate = True if reduction == "add" else None
        return call(f"{node[0]}.index_put", f"{node[1]}.unbind(-1)", node[2], accumulate=accumulate)
    return call("scatter_slices", node[0], node[1], node[2], reduce=_REDUCTIONS[reduction])


@operator("TensorScatter")
def tensor_scatter(node: Call) -> str:
    starts = node[2] if node.has(2) else "None"
    circular = True if node.word("mode", "linear") == "circular" else None
    return call("write_at", node[0], node[1], starts, dim=node.integer("axis", -2), circular=circular)


@operator("Compress")
def compress(node: Call) -> str:
    """The condition may be shorter than what it chooses from."""
    chosen = f"{node[1]}.nonzero().squeeze(1)"
    if "axis" not in node.node.attributes:
        return f"{node[0]}.flatten()[{chosen}]"
    return call(f"{node[0]}.index_select", str(node.integer("axis", 0)), chosen)


@operator("NonZero")
def non_zero(node: Call) -> str:
    return f"torch.nonzero({node[0]}).t()"


@operator("TopK")
def top_k(node: Call) -> str:
    """Of equal values ONNX takes the first, which only a stable sort promises."""
    axis = node.integer("axis", -1)
    count = str(node.integer("k", 1)) if node.opset < 10 else scalar(node, 1)
    largest = bool(node.integer("largest", 1))
    if node.outputs == 1:
        return f"{call('torch.topk', node[0], count, dim=axis, largest=None if largest else False)}.values"
    order = call("torch.argsort", node[0], dim=axis, descending=True if largest else None, stable=True)
    first = node.let("order", f"{order}.narrow({axis}, 0, {count})")
    return f"{node[0]}.gather({axis}, {first}), {first}"


@operator("Unique")
def unique(node: Call) -> str:
    """torch has no first places, and sorts in any case."""
    axis = node.integer("axis", 0) if "axis" in node.node.attributes else None
    ordered = bool(node.integer("sorted", 1))
    if node.outputs == 1 and ordered:
        return call("torch.unique", node[0], dim=axis)
    found = call("unique_values", node[0], dim=axis, sort=None if ordered else False)
    count = len(node.node.outputs)
    return f"{found}[0]" if node.outputs == 1 else found if count == 4 else f"{found}[:{count}]"


@operator("ReverseSequence")
def reverse_sequence(node: Call) -> str:
    batch, time = node.integer("batch_axis", 1), node.integer("time_axis", 0)
    return call("reverse_sequences", node[0], node[1], batch_dim=batch, time_dim=time)


@otherwise("Slice")
def slice_(node: Call) -> str:
    """Backwards, or between bounds that the model computes."""
    starts, ends, axes, steps = (_bounds(node, position) for position in range(1, 5))
    if axes is None:
        axes = literal(list(range(_count(node))))
    return call("slice_along", node[0], *(part for part in (starts, ends, axes, steps) if part is not None))


def _bounds(node: Call, position: int) -> str | None:
    names = ("starts", "ends", "axes", "steps")
    if node.opset < 10:
        stated = node.integers(names[position - 1])
        return None if stated is None else literal(list(stated))
    if not node.has(position):
        return None
    found = node.sizes(position)
    return f"{node[position]}.tolist()" if found is None else literal(list(found))


def _count(node: Call) -> int:
    """Return how many dimensions are sliced."""
    shape = node.shape(1)
    if not shape or shape[0] is None:
        raise Unsupported("how many dimensions it slices is unknown")
    return shape[0]
