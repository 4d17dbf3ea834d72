"""Which entry of `op_type` speaks of a module: its backend name, or else its ONNX names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.planning.plan import Decision
from qsimc.planning.rules import GRID_PRESERVING
from qsimc.planning.torch.state import PortResolution
from qsimc.planning.words import Words
from qsimc.spec.ops import operators
from qsimc.spec.torch_classes import TorchClass


class Entries:
    """The entries of `op_type` by name, as AIMET has them once it has met the model's modules.

    Where a config names a class both by its backend name and by an ONNX name, the ONNX entry takes the
    place of the backend entry, for every class of that backend name.  ONNX names of movement operators
    without an entry get one that says `off`, the first time a module without backend entry asks.
    """

    def __init__(self, resolution: PortResolution) -> None:
        self._entries = dict(resolution.said.op_type)
        self._replace_backend_entries(ports.row for ports in resolution.ports.values())

    def _replace_backend_entries(self, rows: Iterator[TorchClass]) -> None:
        replaced: set[str] = set()
        for row in rows:
            if not row.onnx or row.backend not in self._entries or row.backend in replaced:
                continue
            for name in row.onnx:
                if name in self._entries and name != row.backend:
                    self._entries[row.backend] = self._entries[name]
                    replaced.add(row.backend)

    def of_class(self, row: TorchClass) -> Iterator[Words]:
        """Yield the entries that speak of a class, in the order in which they apply."""
        if row.backend in self._entries:
            yield self._entries[row.backend]
            return
        for name in row.onnx:
            if name not in self._entries and name in operators().grid_preserving:
                self._entries[name] = _moves()
            if name in self._entries:
                yield self._entries[name]

    def of_type(self, name: str) -> Words | None:
        """Return the entry of one name."""
        return self._entries.get(name)

    def per_channel(self, row: TorchClass) -> Iterator[Mapping[str, Decision]]:
        """Yield what the entries of a class's ONNX names say about channels, by role."""
        for name in row.onnx:
            words = self._entries.get(name)
            said = (
                {} if words is None else {r: d["per_channel"] for r, d in words.by_role.items() if "per_channel" in d}
            )
            if said:
                yield said


def _moves() -> Words:
    words = Words()
    words.say("output", Decision("enabled", False, GRID_PRESERVING))
    return words
