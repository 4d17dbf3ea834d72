"""What a batch must look like to be fed to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qsimc.graph import Tensor

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's inputs, and how batches are cut for them.

    Attributes:
        inputs: name -> dtype and shape, in the model's order.
        size: the number of samples that the model takes at once, None when any number will do.
        whole: inputs whose first axis does not count samples (a scalar, the state of a recurrent cell);
            their array has the model's own shape and goes with every batch.
    """

    inputs: Mapping[str, Tensor]
    size: int | None
    whole: frozenset[str]

    @property
    def batched(self) -> tuple[str, ...]:
        """The inputs whose first axis counts samples."""
        return tuple(name for name in self.inputs if name not in self.whole)


class Info(NamedTuple):
    """What is known of an array before its values are read."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Chunk(NamedTuple):
    """Some consecutive samples as a source gave them: `start` is the index of the first, in `path`."""

    path: str
    start: int
    arrays: Arrays


def layout_of(inputs: Mapping[str, Tensor]) -> Layout:
    """Return the layout of a model's inputs: the first axis of the first input that has one is the batch.

    The others follow it if their first axis has the same size or an open one.
    """
    leading = {name: _leading(tensor) for name, tensor in inputs.items() if tensor.shape != ()}
    size = next(iter(leading.values()), None)
    batched = {name for name, axis in leading.items() if axis in (None, size)}
    return Layout(inputs, size, frozenset(inputs.keys() - batched))


def count(arrays: Arrays, layout: Layout) -> int:
    """Return the number of samples in a batch; a model fed with nothing but whole inputs takes one."""
    return len(arrays[layout.batched[0]]) if layout.batched else 1


def _leading(tensor: Tensor) -> int | None:
    return tensor.shape[0] if tensor.shape else None
