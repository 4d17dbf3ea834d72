"""Tensors for edges: an Identity between a tensor and one of its readers, where a quantizer can stand."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto
from onnx.helper import make_node

from qsimc.planning.plan import Edge
from qsimc.planning.vitis.network import EDGE
from qsimc_onnx.editor import Editor
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.origins import tag


def split_edges(model: OnnxModel, edges: Sequence[Edge]) -> OnnxModel:
    """Return the model with an Identity on each edge, which is named after both of its ends."""
    editor = Editor(model)
    now: dict[str, str] = {}
    for edge in dict.fromkeys(edges):
        source = now.get(edge.tensor, edge.tensor)
        if not edge.reader:
            _before_caller(editor, edge)
        elif edge.in_place:
            now[edge.tensor] = _from_reader_on(editor, edge, source)
        else:
            _before_reader(editor, edge, source)
    return editor.done()


def _before_reader(editor: Editor, edge: Edge, source: str) -> None:
    """Put an Identity before the nodes of one operator that read the tensor."""
    _insert(editor, edge, source, _reading(editor, edge))


def _from_reader_on(editor: Editor, edge: Edge, source: str) -> str:
    """Put an Identity before the first node of an operator that reads the tensor; all from there on read that."""
    own = _reading(editor, edge)
    readers = editor.readers(source)
    places = [place for place, node in enumerate(readers) if any(node is one for one in own)]
    return _insert(editor, edge, source, readers[places[0] :]) if places else source


def _reading(editor: Editor, edge: Edge) -> list[NodeProto]:
    made = (editor.producer(tensor) for tensor in edge.through)
    return [node for node in made if node is not None]


def _insert(editor: Editor, edge: Edge, source: str, reading: Sequence[NodeProto]) -> str:
    """Put an Identity before nodes, which then read what it gives; return that."""
    if not reading:
        return source
    result = editor.names.fresh(f"{edge.tensor}/for/{edge.reader}")
    for node in reading:
        _read(node, source, result)
    editor.touch(*reading)
    editor.replace(reading[0], [_identity(editor, source, result), reading[0]])
    return result


def _read(node: NodeProto, tensor: str, instead: str) -> None:
    for position, name in enumerate(node.input):
        if name == tensor:
            node.input[position] = instead


def _before_caller(editor: Editor, edge: Edge) -> None:
    """Put an Identity between the tensor and the model's caller, who goes on to read the tensor's name."""
    inner = editor.names.fresh(f"{edge.tensor}/inner")
    made = editor.producer(edge.tensor)
    if made is None:
        return
    readers = editor.readers(edge.tensor)
    for node in readers:
        _read(node, edge.tensor, inner)
    made.output[list(made.output).index(edge.tensor)] = inner
    editor.touch(made, *readers)
    editor.append(_identity(editor, inner, edge.tensor))


def _identity(editor: Editor, source: str, result: str) -> NodeProto:
    name = editor.names.fresh(f"{result}/Identity")
    return tag(make_node("Identity", [source], [result], name=name), name, EDGE)
