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


class Unsupported(Exception):  # noqa: N818 - it is an answer, not a failure
    """A call has no expression; the message says what about it, in one clause."""


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
    """

    node: Node
    proto: NodeProto
    opset: int
    text: Callable[[int], str]
    known: Known
    outputs: int
    let: Callable[[str, str], str]

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

    def shape(self, position: int = 0) -> tuple[int | None, ...] | None:
        """Return the shape of an input: None where even the rank is unknown, or a size."""
        return self.known.shape(self.node.inputs[position])

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
        return self.known.dtype(self.node.inputs[position])

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
    """Return the shortest decimal that float32 reads as the same number: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))
