"""Data: a source of samples, checked, limited, and cut into batches that the model takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from qsimc.backend import Batch
from qsimc.data import findings
from qsimc.data.check import conform
from qsimc.data.layout import Arrays, Layout, count
from qsimc.data.source import Source
from qsimc.diagnostics import Diagnostic, InputError, Report


class Data:
    """Calibration data: batches that fit the model, as often as they are iterated, in O(batch) memory.

    Iterating raises InputError for what only the values can tell: Q0601 (a damaged file), Q0603, Q0604
    (NaN or infinity), Q0605 (no samples at all), Q0606, and Q0510 (the user's code failed).
    """

    def __init__(
        self, source: Source, layout: Layout, report: Report, batch_size: int | None, limit: int | None
    ) -> None:
        self._source = source
        self._layout = layout
        self._report = report
        self._size = layout.size or batch_size
        self._limit = limit
        self._content: str | None = None
        self._left_out_said = False

    @property
    def path(self) -> str:
        """Where the data is, in the user's words."""
        return self._source.path

    @property
    def samples(self) -> int | None:
        """How many samples one pass gives, None when the source cannot tell before it ends."""
        available = self._available()
        return None if available is None else available - self._remainder(available)

    def __iter__(self) -> Iterator[Batch]:
        given = 0
        # Bytes on disk are hashed as they lie, when somebody asks; values made by Python pass only here.
        content = hashlib.sha256() if self._source.digest is None else None
        for batch in rebatch(self._checked(), self._size, self._layout, self._source.path):
            samples = count(batch, self._layout)
            if self._layout.size is not None and samples < self._layout.size:
                self.say_left_out(samples)
                break
            given += samples
            if content is not None:
                _add(content.update, batch)
            yield batch
        if given == 0:
            raise InputError([findings.empty(self._source.path, "there are no samples to calibrate with")])
        self._content = content.hexdigest() if content is not None else None

    def digest(self) -> str:
        """Return the SHA-256 of the data in hexadecimal.

        Of files it is that of their bytes, of Python's data that of the batches: taken along during the
        last full pass, or else by a pass of its own (which uses an iterator up).
        """
        if self._content is None and self._source.digest is not None:
            self._content = self._source.digest()
        if self._content is None:
            for _ in self:
                pass
        assert self._content is not None, "a full pass leaves a digest"
        return self._content

    def say_left_out(self, remainder: int | None = None) -> None:
        """Report Q0608, once, if samples are left out; without an argument, as far as is known beforehand."""
        if remainder is None:
            available = self._available()
            remainder = self._remainder(available) if available is not None else 0
        if remainder and self._layout.size is not None and not self._left_out_said:
            self._left_out_said = True
            self._report(findings.left_out(self._source.path, remainder, self._layout.size))

    def _available(self) -> int | None:
        total = self._source.samples
        return total if total is None or self._limit is None else min(total, self._limit)

    def _remainder(self, available: int) -> int:
        return available % self._layout.size if self._layout.size is not None else 0

    def _checked(self) -> Iterator[Arrays]:
        left = self._limit
        for chunk in self._source.chunks(self._size):
            arrays = conform(chunk, self._layout)
            if left is not None:
                arrays = _cut(arrays, 0, left, self._layout)
                left -= count(arrays, self._layout)
            yield arrays
            if left == 0:
                return


def rebatch(chunks: Iterable[Arrays], size: int | None, layout: Layout, path: str) -> Iterator[Arrays]:
    """Give the same samples in batches of `size`, the last one shorter if need be; None keeps the chunks.

    Raises:
        InputError: Q0603, chunks whose other axes differ cannot share a batch.
    """
    held: list[Arrays] = []
    for chunk in chunks:
        held.append(chunk)
        samples = sum(count(arrays, layout) for arrays in held)
        if samples == 0:
            held.clear()
        elif size is None:
            yield held.pop()
        elif samples >= size:
            whole = _join(held, size, layout, path)
            full = samples - samples % size
            for start in range(0, full, size):
                yield _cut(whole, start, start + size, layout)
            held = [_cut(whole, full, samples, layout)] if full < samples else []
    if held:
        yield _join(held, size or 0, layout, path)


def _join(held: list[Arrays], size: int, layout: Layout, path: str) -> Arrays:
    last = held[-1]
    if len(held) == 1:
        return last
    joined = {name: last[name] for name in layout.inputs}
    for name in layout.batched:
        parts = [arrays[name] for arrays in held]
        if len({part.shape[1:] for part in parts}) > 1:
            raise InputError([findings.cannot_join(path, name, size)])
        joined[name] = np.concatenate(parts)
    return joined


def _cut(arrays: Arrays, start: int, stop: int, layout: Layout) -> Arrays:
    return {name: array if name in layout.whole else array[start:stop] for name, array in arrays.items()}


def _add(update: Callable[[bytes], None], batch: Batch) -> None:
    for name, array in batch.items():
        update(f"{name} {array.dtype.str} {array.shape}\n".encode("utf-8", "surrogatepass"))
        update(np.ascontiguousarray(array).tobytes())


class Once:
    """A report that passes each finding on the first time only: iterating twice must not warn twice."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._said: set[Diagnostic] = set()

    def __call__(self, finding: Diagnostic) -> None:
        if finding not in self._said:
            self._said.add(finding)
            self._report(finding)
