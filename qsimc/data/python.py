"""Calibration data made by Python: a reference to a factory, or an iterable at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc import entry
from qsimc.data import findings
from qsimc.data.check import misfits
from qsimc.data.layout import Arrays, Chunk, Info, Layout, count
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity


class Referenced:
    """Batches from the user's `package.module:factory`, called anew for each pass over the data."""

    samples = None
    digest = None

    def __init__(self, path: str, factory: entry.Factory, layout: Layout, warn: Report) -> None:
        self.path = path
        self._factory = factory
        self._layout = layout
        self._warn = warn

    def chunks(self, size: int | None) -> Iterator[Chunk]:
        failures: list[Diagnostic] = []
        made = entry.run(self.path, self._factory, failures.append)
        if failures:
            raise InputError(failures)
        if not is_iterable_of_batches(made):
            raise InputError([_not_iterable(self.path, made)])
        yield from _chunks(self.path, self._guarded(made), self._layout, self._warn)

    def _guarded(self, made: Iterable[Any]) -> Iterator[Any]:
        """Give what the user's iterable gives; what it raises becomes a diagnostic."""
        try:
            yield from made
        except entry.USER_ERRORS as error:
            message = f"the iterable of `{self.path}` raised an exception"
            raise InputError([entry.raised(self.path, message, error)]) from error


class Wrapped:
    """Batches from an iterable of the caller's; an iterator can be read once."""

    samples = None
    digest = None

    def __init__(self, path: str, batches: Iterable[Any], layout: Layout, warn: Report) -> None:
        self.path = path
        self._batches = batches
        self._layout = layout
        self._warn = warn
        self._spent = False

    def chunks(self, size: int | None) -> Iterator[Chunk]:
        if self._spent:
            helps = ("pass a list, or an object whose `__iter__` starts again",)
            raise InputError([findings.empty(self.path, "the data are an iterator, which was read already", helps)])
        iterator = iter(self._batches)
        self._spent = iterator is self._batches
        yield from _chunks(self.path, iterator, self._layout, self._warn)


def is_iterable_of_batches(made: Any) -> bool:
    """Whether `made` can be iterated for batches; a lone batch can be iterated too, but not for batches."""
    return isinstance(made, Iterable) and not isinstance(made, Mapping | str | bytes) and not _is_array(made)


def as_array(value: Any) -> NDArray[Any]:
    """Return an array or a tensor of any framework as numpy's, wherever it lies, without importing the framework.

    Raises:
        TypeError, ValueError, RuntimeError: numpy has no such array.
    """
    for step in ("detach", "cpu"):
        convert: Callable[[], Any] | None = getattr(value, step, None)
        value = convert() if convert is not None else value
    if not hasattr(value, "__array__") and hasattr(value, "numpy"):
        value = value.numpy()
    return np.asarray(value)


def _chunks(path: str, batches: Iterable[Any], layout: Layout, warn: Report) -> Iterator[Chunk]:
    start = 0
    for batch in batches:
        arrays = _arrays(path, _by_name(path, batch, layout, warn))
        found = {name: Info(array.dtype, array.shape) for name, array in arrays.items()}
        problems = misfits(path, found, layout)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        if errors:
            raise InputError(errors)
        for problem in problems:
            warn(problem)
        yield Chunk(path, start, {name: arrays[name] for name in layout.inputs})
        start += count(arrays, layout)


def _by_name(path: str, batch: Any, layout: Layout, warn: Report) -> Mapping[str, Any]:
    """Return a batch as a mapping; a tuple or a list goes by position, a lone array to the only input."""
    if isinstance(batch, Mapping):
        return batch
    values = batch if isinstance(batch, tuple | list) else (batch,)
    if not values or not all(map(_is_array, values)):
        raise InputError([findings.not_a_batch(path, type(batch).__name__, layout)])
    if len(values) < len(layout.inputs):
        raise InputError([findings.too_few(path, len(values), layout)])
    if len(values) > len(layout.inputs):
        warn(findings.unused_positions(path, len(values), layout))
    return dict(zip(layout.inputs, values, strict=False))


def _arrays(path: str, batch: Mapping[str, Any]) -> Arrays:
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in batch.items():
        try:
            arrays[name] = as_array(value)
        except (TypeError, ValueError, RuntimeError) as error:
            why = entry.one_line(error)
            raise InputError([findings.not_an_array(path, name, type(value).__name__, why)]) from error
    return arrays


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "numpy")


def _not_iterable(path: str, made: Any) -> Diagnostic:
    lone = isinstance(made, Mapping) or _is_array(made)
    message = f"`{path}` returned a `{type(made).__name__}`, not an iterable of batches"
    return entry.faulty_code(path, message, helps=("return `[batch]` for a single batch",) if lone else ())
