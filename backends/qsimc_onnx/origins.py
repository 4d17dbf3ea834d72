"""Where nodes come from: what PyTorch's two exporters write beside them, and what qsimc's own rewrites add.

Sources: torch 2.13, `torch.onnx.export`: with dynamo the metadata `pkg.torch.onnx.name_scopes` and
`pkg.torch.onnx.class_hierarchy` of each node, without it the node's name, which is a path of module names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from onnx import NodeProto

from qsimc.graph import Origin

CALL = "qsimc.call"
FUNCTION = "qsimc.function"
"""Metadata keys of nodes that a rewrite made: the call that they are, and what it computes."""

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_LONGEST = 10_000
"""Characters of a metadata value that is looked at: real ones are below a thousand."""


def origin(node: NodeProto) -> Origin:
    """Return where a node comes from, as far as the file says."""
    said = {entry.key: entry.value for entry in node.metadata_props}
    found = _dynamo(said) if _SCOPES in said else Origin(path=_path(node.name))
    if CALL in said:
        return Origin(found.path, found.module, said[CALL], said.get(FUNCTION, ""))
    return found


def tag(node: NodeProto, call: str, function: str, like: NodeProto | None = None) -> NodeProto:
    """Say on a node what call it is a part of, and that it comes from where `like` does; return the node."""
    if like is not None:
        for entry in like.metadata_props:
            if entry.key in (_SCOPES, _CLASSES):
                node.metadata_props.add(key=entry.key, value=entry.value)
    node.metadata_props.add(key=CALL, value=call)
    node.metadata_props.add(key=FUNCTION, value=function)
    return node


def source_class(nodes: Iterable[NodeProto]) -> str:
    """Return the class of the model that nodes were exported from, without its module."""
    for node in nodes:
        for entry in node.metadata_props:
            if entry.key == _CLASSES and (classes := _strings(entry.value)):
                return classes[0].rpartition(".")[2]
    return ""


def _dynamo(said: Mapping[str, str]) -> Origin:
    scopes, classes = _strings(said[_SCOPES]), _strings(said.get(_CLASSES, ""))
    if len(scopes) < 2:
        return Origin()
    path = scopes[-2]
    module = classes[-2] if len(classes) >= 2 else ""
    return Origin(path, module, ".".join(filter(None, (path, scopes[-1]))), classes[-1] if classes else "")


def _strings(text: str) -> list[str]:
    """Return the strings of a Python list that is written as text; nothing if it is anything else."""
    if len(text) > _LONGEST:
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _path(name: str) -> str:
    """Return the module path in the name of a node: `layer1.0.conv1` of `/layer1/layer1.0/conv1/Conv`.

    A child of a Sequential repeats its parent's name before its number.
    """
    if not name.startswith("/"):
        return ""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)
