"""The encodings of many tensors, searched for together where that is faster."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc.calibrate.bits import BitHistogram, encodings
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer
from qsimc.ir.quant import QuantSpec


def encode_all(asked: Sequence[tuple[Observer, QuantSpec, int | None]]) -> list[Encoding]:
    """Return what `encoding` of each observer returns for the spec and channel axis beside it.

    The observers that imitate a vendor are asked one by one.

    Raises:
        ValueError: an observer has no encoding for its spec.
    """
    together = iter(encodings([(o, spec, axis) for o, spec, axis in asked if isinstance(o, BitHistogram)]))
    return [next(together) if isinstance(o, BitHistogram) else o.encoding(spec, axis) for o, spec, axis in asked]
