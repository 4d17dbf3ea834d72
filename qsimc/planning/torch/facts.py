"""A port graph out of plain data: what AIMET's ConnectedGraph and its module classes say of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsimc.planning.torch.graph import Call, Edge, Feed, Module, PortGraph


def port_graph_from_facts(facts: Mapping[str, Any], name: str = "") -> PortGraph:
    """Return the port graph that `facts` describe.

    Args:
        facts: `modules` by name (`cls`, `n_inputs`, `n_outputs`, `params`, `groups`), `ops` (`name`, `type`,
            `module`, `groups`, `inputs`, each with `name`, `producer`, `shape`, what it is and its constant
            value), and `ordered_ops`, the names of the ops in the order in which they run.

    Raises:
        KeyError: a fact is missing.
    """
    ops = {op["name"]: op for op in facts["ops"]}
    order = [*facts["ordered_ops"], *(name for name in ops if name not in set(facts["ordered_ops"]))]
    return PortGraph(
        name=name,
        modules={name: _module(name, row) for name, row in facts["modules"].items()},
        calls=tuple(_call(ops[name]) for name in order),
    )


def _module(name: str, row: Mapping[str, Any]) -> Module:
    return Module(
        name=name,
        cls=_class(row["cls"]),
        inputs=row["n_inputs"],
        outputs=row["n_outputs"],
        params={param: tuple(shape) for param, shape in row["params"].items()},
        groups=row["groups"] or 1,
    )


def _class(qualified: str) -> str:
    """Return the class that one of AIMET's `Quantized...` classes wraps."""
    package, _, name = qualified.rpartition(".")
    family = "custom" if package.endswith(".custom") else "nn"
    return f"{family}.{name.removeprefix('Quantized')}"


def _call(op: Mapping[str, Any]) -> Call:
    return Call(
        name=op["name"],
        type=op["type"],
        module=op["module"],
        inputs=tuple(_edge(product) for product in op["inputs"]),
        groups=op["groups"],
    )


def _edge(product: Mapping[str, Any]) -> Edge:
    value = product["constant_value"]
    number = isinstance(value, int | float)
    return Edge(
        name=product["name"],
        feed=_feed(product),
        source=product["producer"] or "",
        shape=None if product["shape"] is None else tuple(product["shape"]),
        known=value is not None,
        # The facts say of a tensor that it is one, not which: it is taken for positive.
        positive_scalar=value is not None and product["numel"] == 1 and not (number and value <= 0),
    )


def _feed(product: Mapping[str, Any]) -> Feed:
    if product["producer"]:
        return Feed.CALL
    if product["is_parm"]:
        return Feed.PARAM
    return Feed.INPUT if product["is_model_input"] else Feed.CONSTANT
