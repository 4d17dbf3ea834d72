"""The nodes of a graph while they are being changed: in order, with who makes and who reads each tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from qsimc_onnx.protos import reads


@dataclass(frozen=True, slots=True)
class _Entry:
    """A node as it was last looked at; `slot` is its place, which it shares with what was put beside it."""

    node: NodeProto
    slot: int
    reads: Sequence[str]
    makes: Sequence[str]


class NodeList:
    """Nodes by identity: each is found, replaced and removed without a look at the others.

    What is put beside a node shares its slot, so that no other node has to move.
    """

    def __init__(self, nodes: Iterable[NodeProto]) -> None:
        """Hold nodes in their order."""
        self._slots: list[list[NodeProto]] = []
        self._entries: dict[int, _Entry] = {}
        self._makers: dict[str, NodeProto] = {}
        self._readers: dict[str, dict[int, NodeProto]] = {}
        for node in nodes:
            self.append(node)

    def __iter__(self) -> Iterator[NodeProto]:
        return (node for slot in self._slots for node in slot)

    def maker(self, tensor: str) -> NodeProto | None:
        """Return the node that makes a tensor."""
        return self._makers.get(tensor)

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, each once, in order."""
        return sorted(self._readers.get(tensor, {}).values(), key=self._place)

    def reader_count(self, tensor: str) -> int:
        """Return how many nodes read a tensor."""
        return len(self._readers.get(tensor, ()))

    def _place(self, node: NodeProto) -> tuple[int, int]:
        slot = self._entries[id(node)].slot
        return slot, _position(self._slots[slot], node)

    def append(self, node: NodeProto) -> None:
        """Add a node at the end."""
        self._slots.append([node])
        self._enter(node, len(self._slots) - 1)

    def replace(self, node: NodeProto, nodes: Sequence[NodeProto]) -> None:
        """Put nodes in the place of one, which may be among them."""
        number = self._leave(node)
        slot = self._slots[number]
        place = _position(slot, node)
        slot[place : place + 1] = nodes
        for new in nodes:
            self._enter(new, number)

    def remove(self, node: NodeProto) -> None:
        """Take a node out."""
        self.replace(node, ())

    def reread(self, node: NodeProto) -> None:
        """Look again at what a node reads and makes."""
        self._enter(node, self._leave(node))

    def _enter(self, node: NodeProto, slot: int) -> None:
        entry = _Entry(node, slot, tuple(dict.fromkeys(reads(node))), tuple(filter(None, node.output)))
        self._entries[id(node)] = entry
        for name in entry.makes:
            self._makers[name] = node
        for name in entry.reads:
            self._readers.setdefault(name, {})[id(node)] = node

    def _leave(self, node: NodeProto) -> int:
        """Forget what a node reads and makes; return its slot."""
        entry = self._entries.pop(id(node))
        for name in entry.makes:
            if self._makers.get(name) is node:
                del self._makers[name]
        for name in entry.reads:
            del self._readers[name][id(node)]
        return entry.slot


def _position(slot: Sequence[NodeProto], node: NodeProto) -> int:
    return next(position for position, held in enumerate(slot) if held is node)
