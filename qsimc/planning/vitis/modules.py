"""Which layers a configuration's `layer_type` and `layer_name` mean on a network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, did_you_mean
from qsimc.formats.vitis import last_part
from qsimc.ir.levels import Level
from qsimc.ir.select import NodeName, OpType
from qsimc.planning.plan import Mode
from qsimc.planning.vitis.network import Layer, Network
from qsimc.spec.vitis_ops import vitis_operators

_ATTRIBUTE = re.compile(r"\[([^\]]*)\]")
"""What a traced name puts a module's attribute in: `ResNet/Sequential[layer1]/BasicBlock[0]/Conv2d[conv1]/ret.7`."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A name as vai_q_pytorch writes it: `<Model>::<Scope>/<Class>[attribute]/.../<value>`."""

    model: str
    path: str
    classes: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> Traced | None:
        """Return the parts of a traced name, None if it is no such name."""
        model, separator, scope = name.partition("::")
        if not separator:
            return None
        parts = scope.split("/")[1:-1]
        return cls(
            model,
            ".".join(found for part in parts for found in _ATTRIBUTE.findall(part)),
            tuple(part.partition("[")[0] for part in parts),
        )


def of_type(network: Network, level: Level, mode: Mode, report: Report) -> frozenset[str]:
    """Return the kinds of layers that a `layer_type` means, after reporting one that means none of the model's.

    To the original "Conv2d" is either the ordinary or the depthwise one, whichever it came upon first in the
    process; its document means both.
    """
    assert isinstance(level.selector, OpType), "a level of an operator type"
    word = last_part(level.selector.name)
    present = list(dict.fromkeys(layer.kind for layer in network.layers))
    meant = [kind for kind in present if word in vitis_operators()[kind].words]
    if not meant:
        report(_no_such_type(network, level, word))
    elif len(meant) > 1:
        report(_ambiguous(level, word, meant, mode))
    return frozenset(meant[:1] if mode is Mode.VENDOR else meant)


def of_name(network: Network, level: Level, model: str, mode: Mode, report: Report) -> tuple[Layer, ...]:
    """Return the layers that a `layer_name` means, after reporting one that means none.

    A name of a value in a trace is matched by its module path, since the value's own number changes with the
    version of PyTorch; so are plain module paths and names of nodes, which a glob may stand for.
    """
    assert isinstance(level.selector, NodeName), "a level of a node's name"
    name = level.selector.pattern
    traced = Traced.read(name)
    if level.selector.glob:
        found = tuple(
            layer for layer in network.layers if any(fnmatchcase(n, name) for n in (layer.node.name, _path(layer)))
        )
    elif traced is None:
        found = tuple(layer for layer in network.layers if name in (layer.node.name, _path(layer)))
    elif traced.model != model and (network.graph.source or mode is Mode.VENDOR):
        found = ()
    else:
        found = tuple(_traced(network, name, traced))
    if not found:
        report(_no_such_layer(network, level, name, traced, model))
    return found


def _traced(network: Network, name: str, traced: Traced) -> Iterator[Layer]:
    value = name.rpartition("::")[2]
    inputs = [layer for layer in network.layers if layer.kind == "input"]
    if value.startswith("input_") and value[6:].isdigit():
        yield from inputs[int(value[6:]) : int(value[6:]) + 1]
        return
    for layer in network.layers:
        if (
            traced.path
            and _path(layer) == traced.path
            and (not layer.row.words or traced.classes[-1] in layer.row.words)
        ):
            yield layer


def _path(layer: Layer) -> str:
    """Return the module path of a layer: that of its parameters where they have one, else that of its node."""
    for param in layer.params:
        path, _, leaf = param.tensor.rpartition(".")
        if path and leaf == param.role and "::" not in path:
            return path
    return layer.node.origin.path


def _no_such_type(network: Network, level: Level, word: str) -> Diagnostic:
    words = list(dict.fromkeys(word for layer in network.layers for word in layer.row.words))
    known = word in vitis_operators().words()
    near = None if known else did_you_mean(word, vitis_operators().words())
    return Diagnostic(
        code="Q0542",
        name="no-such-layer-type",
        severity=Severity.WARNING,
        message=f"the model has no layer of type `{word}`, so this entry has no effect on it",
        labels=_labels(level),
        notes=(f"types in the model: {', '.join(words)}",),
        helps=(f"did you mean `{near}`?",) if near else (),
    )


def _ambiguous(level: Level, word: str, meant: Sequence[str], mode: Mode) -> Diagnostic:
    taken = f"`{meant[0]}`, the first in this model" if mode is Mode.VENDOR else " and ".join(f"`{k}`" for k in meant)
    return Diagnostic(
        code="Q0543",
        name="ambiguous-layer-type",
        severity=Severity.WARNING,
        message=f"`{word}` is taken for {taken}",
        labels=_labels(level),
        notes=(
            "to vai_q_pytorch a type is whichever of its operators it came upon first in the process,"
            " in this model or one before it; its document means all of them",
        ),
    )


def _no_such_layer(network: Network, level: Level, name: str, traced: Traced | None, model: str) -> Diagnostic:
    paths = list(dict.fromkeys(path for layer in network.layers if (path := _path(layer))))
    if traced is not None and traced.model != model:
        note = f"it is about a model `{traced.model}`, and this one is called `{model}`"
    elif traced is not None and not traced.path:
        note = "it names a value of a trace outside all modules, which no exported model keeps"
    else:
        note = f"modules: {', '.join(paths[:6])}{', ...' if len(paths) > 6 else ''}"
    wanted = traced.path if traced is not None else name
    near = did_you_mean(wanted, tuple(paths)) if wanted not in paths else None
    return Diagnostic(
        code="Q0544",
        name="no-such-layer",
        severity=Severity.WARNING,
        message=f"no layer of the model is called `{name}`, so this entry has no effect on it",
        labels=_labels(level),
        notes=(note, "vai_q_pytorch says nothing of a name that it does not find"),
        helps=(f"did you mean `{near}`?",) if near else (),
    )


def _labels(level: Level) -> tuple[Label, ...]:
    return (Label(level.span),) if level.span is not None else ()
