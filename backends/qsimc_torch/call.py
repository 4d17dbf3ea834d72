"""One call of an operator, as what writes its expression sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qsimc.graph import Node
from qsimc_torch.known import Known
from qsimc_torch.sizes import Item, Size


class Unsupported(Exception):  # noqa: N818 - it is an answer, not a failure
    """A call has no expression; the message says what about it, in one clause."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How an operator with bodies writes statements instead of an expression.

    Attributes:
        name: returns a name for a variable that resembles a text.
        targets: returns the names of the node's outputs, which the statements assign; empty where nobody reads one.
        line: writes a statement.
        block: writes a head and, indented, what a function writes.
        body: writes the nodes of the graph that an attribute holds, with texts for its inputs; returns those of its
            outputs.  Where an output may be assigned as soon as it is computed, it is given a name.
        reads: returns whether the graph that an attribute holds reads its input at a position.
    """

    name: Callable[[str], str]
    targets: Callable[[], Sequence[str]]
    line: Callable[[str], None]
    block: Callable[[str, Callable[[], None]], None]
    body: Callable[[str, Sequence[str], Sequence[str]], Sequence[str]]
    reads: Callable[[str, int], bool]


@dataclass(frozen=True, slots=True)
class Call:
    """One node of the model.

    Attributes:
        node: the node; its attributes are numbers, texts and tuples of them.
        proto: the same as the file has it, for attributes that are tensors.
        opset: version of the operator's domain.
        text: returns the source text of an input.
        known: what is known of the tensors before the model runs.
        outputs: how many outputs are read, counted up to the last one.  If more than one is, the expression is a
            tuple of all that the node has.
        let: writes `name = expression` on a line of its own and returns the name.
        item: returns the source text of a size.
        device: the source text of where the model runs.
        scope: for operators with bodies, which return "" once they have assigned the outputs themselves.
    """

    node: Node
    proto: NodeProto
    opset: int
    text: Callable[[int], str]
    known: Known
    outputs: int
    let: Callable[[str, str], str]
    item: Callable[[Item], str]
    device: str
    scope: Scope

    def __getitem__(self, position: int) -> str:
        """Return the source text of an input that must be there."""
        if not self.has(position):
            raise Unsupported(f"its input {position} is absent")
        return self.text(position)

    def has(self, position: int) -> bool:
        """Return whether an optional input is there."""
        return position < len(self.node.inputs) and self.node.inputs[position] != ""

    def constant(self, position: int) -> NDArray[Any] | None:
        """Return the value of an input that is a constant and not quantized; None for every other."""
        return self.known.constant(self.node.inputs[position]) if self.has(position) else None

    def sizes(self, position: int) -> tuple[int | str, ...] | None:
        """Return the integers in an input, in one row: numbers, or source text where they follow from shapes.

        None where they depend on values that the model computes.
        """
        if not self.has(position) or not self.dtype(position).startswith(("int", "uint")):
            return None
        tensor = self.node.inputs[position]
        if tensor in self.known.values:
            return tuple(i if isinstance(i, int) else self.item(i) for i in self.known.values[tensor].reshape(-1))
        value = self.known.constant(tensor)
        return None if value is None else tuple(int(item) for item in value.reshape(-1))

    def length(self, axis: int, position: int = 0) -> int | str:
        """Return the size of an input along an axis: a number where it is known, source text elsewhere."""
        known = (self.shape(position) or ())[axis : axis + 1]
        if known and known[0] is not None:
            return known[0]
        return self.item(Size(self.node.inputs[position], axis))

    def shape(self, position: int = 0) -> tuple[int | None, ...] | None:
        """Return the shape of an input: None where even the rank is unknown, or a size."""
        return self.known.shape(self.node.inputs[position]) if self.has(position) else None

    def rank(self, position: int = 0) -> int | None:
        """Return the number of dimensions of an input, None where it is unknown."""
        shape = self.shape(position)
        return None if shape is None else len(shape)

    def known_rank(self, position: int = 0) -> int:
        """Return the number of dimensions of an input.

        Raises:
            Unsupported: it is unknown.
        """
        rank = self.rank(position)
        if rank is None:
            raise Unsupported("the rank of its input is unknown")
        return rank

    def dtype(self, position: int = 0) -> str:
        """Return numpy's name of the element type of an input, empty where it is unknown."""
        return self.known.dtype(self.node.inputs[position]) if self.has(position) else ""

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        value = self.node.attributes.get(name, default)
        return int(value) if isinstance(value, int | float) else default

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is a number, as the shortest decimal that float32 reads as the same."""
        value = self.node.attributes.get(name, default)
        return shortest(value) if isinstance(value, int | float) else default

    def word(self, name: str, default: str) -> str:
        """Return an attribute that is a text."""
        return str(self.node.attributes.get(name, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers, None where it is absent."""
        value = self.node.attributes.get(name)
        return tuple(int(item) for item in value) if isinstance(value, tuple) else None

    def listed(self, position: int, name: str) -> tuple[int, ...] | None:
        """Return integers that newer operator sets take as an input and older ones as an attribute.

        Raises:
            Unsupported: they are computed while the model runs.
        """
        if not self.has(position):
            return self.integers(name)
        value = self.constant(position)
        if value is None:
            raise Unsupported(f"its `{name}` are computed by the model")
        return tuple(int(item) for item in np.asarray(value).reshape(-1))

    def listed_sizes(self, position: int, name: str) -> tuple[int | str, ...] | None:
        """Return integers as `listed` does, those that follow from shapes included.

        Raises:
            Unsupported: they depend on values that the model computes.
        """
        if not self.has(position):
            return self.integers(name)
        found = self.sizes(position)
        if found is None:
            raise Unsupported(f"its `{name}` are computed by the model")
        return found

    def only_output(self) -> None:
        """Refuse a call of which more than the first output is read.

        Raises:
            Unsupported: it is.
        """
        if self.outputs > 1:
            raise Unsupported("more than its first output is read")


def call(function: str, *arguments: str, **options: Any) -> str:
    """Return the text of a call; options that are None are left out."""
    named = [f"{name}={literal(value)}" for name, value in options.items() if value is not None]
    return f"{function}({', '.join([*arguments, *named])})"


def literal(value: Any) -> str:
    """Return a number, a tuple or a list of them, or source text that is given as such, as source text."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, float) and not np.isfinite(value):
        return "torch.nan" if np.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    return repr(value)


def same_or_tuple(values: Sequence[int]) -> int | tuple[int, ...]:
    """Return the one number that all of some numbers are, or else all of them, as torch takes strides and pads."""
    return values[0] if len({*values}) == 1 else tuple(values)


def shortest(value: float) -> float:
    """Return the shortest decimal that float32 reads as the same number: 0.1, not 0.10000000149011612.

    That of the largest number is larger still, which torch refuses.
    """
    number = float(str(np.float32(value)))
    return float(np.float32(value)) if abs(number) > float(np.finfo(np.float32).max) else number
