"""What AIMET's torch half sees of a model: modules with ports, and calls of modules and functions that join them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from qsimc.spec.torch_classes import TorchClass, torch_classes

SPLIT = "CG_Split"
"""Type of the calls that stand where a value goes more than one way."""


class Feed(StrEnum):
    """Where a call's input comes from."""

    CALL = "call"
    INPUT = "input"
    PARAM = "param"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Edge:
    """One input of one call.  `source` names the call that computes it, empty for all other feeds.

    `name` is equal for equal values.  `known` says that the value is a constant that a trace shows,
    `positive_scalar` that it is a tensor of one element above zero.
    """

    name: str
    feed: Feed
    source: str = ""
    shape: tuple[int, ...] | None = None
    known: bool = False
    positive_scalar: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a module, or of a function (`module` is None).

    `type` is a module's first ONNX name, or `Quantized<Class>` if it has none; a function's name in the
    trace, or the ONNX name that a config can call it by; or SPLIT.
    """

    name: str
    type: str
    module: str | None
    inputs: tuple[Edge, ...]
    groups: int | None = None

    @property
    def is_split(self) -> bool:
        return self.type == SPLIT

    @property
    def is_named_function(self) -> bool:
        """Whether it is a function that a config can speak of."""
        return self.module is None and self.type in torch_classes().functional.named.values()

    @property
    def moves(self) -> bool:
        """Whether it is a function that keeps the grid of its input."""
        return self.module is None and (self.is_split or self.type in torch_classes().functional.moves)


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its class by the name in specs/torch_classes.toml, and how it is called.

    `inputs` and `outputs` count arguments and results of a call, `params` gives shapes by name.  A class of
    the user's own is not `known` to AIMET: it has as many ports as it is called with.
    """

    name: str
    cls: str
    inputs: int = 1
    outputs: int = 1
    params: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    groups: int = 1
    known: bool = True

    @property
    def row(self) -> TorchClass:
        return torch_classes()[self.cls] if self.known else TorchClass(inputs=self.inputs, outputs=self.outputs)


def call_type(cls: str) -> str:
    """Return the type of a module's calls."""
    onnx = torch_classes()[cls].onnx
    return onnx[0] if onnx else f"Quantized{cls.rpartition('.')[2]}"


@dataclass(frozen=True)
class PortGraph:
    """A model: its modules in `named_modules` order, and its calls in the order of the trace, splits last.

    `outputs` names the calls that compute the model's outputs; empty when that is not known.
    """

    name: str
    modules: Mapping[str, Module]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Call]:
        return {call.name: call for call in self.calls}

    @cached_property
    def in_order(self) -> tuple[Call, ...]:
        """The calls as they run, without splits."""
        return tuple(call for call in self.calls if not call.is_split)

    @cached_property
    def last_call(self) -> Mapping[str, Call]:
        """Module -> its last call; a module that is never called has none."""
        return {call.module: call for call in self.calls if call.module is not None}

    @cached_property
    def first_call(self) -> Mapping[str, Call]:
        """Module -> its first call."""
        return {call.module: call for call in reversed(self.calls) if call.module is not None}

    @cached_property
    def times_called(self) -> Counter[str]:
        return Counter(call.module for call in self.in_order if call.module is not None)

    @cached_property
    def _readers(self) -> Mapping[str, Sequence[Call]]:
        found: defaultdict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            for edge in call.inputs:
                if edge.source:
                    found[edge.source].append(call)
        return found

    def readers(self, call: Call) -> Sequence[Call]:
        """Return the calls that read what `call` computes, one entry per edge: the split, if there is one."""
        return self._readers.get(call.name, ())

    def source(self, edge: Edge) -> Call | None:
        return self.by_name[edge.source] if edge.source else None

    def is_quantized(self, edge: Edge) -> bool:
        """Whether AIMET takes a value for quantized already: a param, or what is computed and not merely moved."""
        source = self.source(edge)
        while source is not None and source.moves and source.inputs:
            edge = source.inputs[0]
            source = self.source(edge)
        return edge.feed is Feed.PARAM if source is None else not source.moves


def with_splits(calls: Iterable[Call]) -> tuple[Call, ...]:
    """Return the calls with a split behind each one that more than one edge leaves."""
    plain = tuple(calls)
    edges = Counter(edge.source for call in plain for edge in call.inputs)
    split_of = {call.name: f"{SPLIT}_{n}" for n, call in enumerate(c for c in plain if edges[c.name] > 1)}
    joined = [replace(call, inputs=tuple(_redirected(call.inputs, split_of))) for call in plain]
    shapes = {edge.source: edge.shape for call in plain for edge in call.inputs if edge.source}
    splits = [
        Call(split, SPLIT, None, (Edge(f"{name}__to__{split}", Feed.CALL, name, shapes[name]),))
        for name, split in split_of.items()
    ]
    return (*joined, *splits)


def _redirected(edges: Iterable[Edge], split_of: Mapping[str, str]) -> Iterator[Edge]:
    for edge in edges:
        split = split_of.get(edge.source)
        yield replace(edge, name=f"{split}__to__multiple_ops", source=split) if split else edge
