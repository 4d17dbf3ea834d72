"""Pads that an exporter moved into the convolution after them, back in front of it.

To PyTorch a ZeroPad2d is an operator of its own, whose output has a quantizer.  torch 2.13's dynamo exporter merges
it into the convolution (rule FuseConvPad), and leaves in the metadata what the convolution itself padded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto
from onnx.helper import make_node

from qsimc.backend import Change
from qsimc_onnx.editor import Editor
from qsimc_onnx.origins import tag

_RULE = "pkg.onnxscript.rewriter.rule_name"
_CALL = "pkg.torch.onnx.fx_node"
_PADS_ARE_INPUTS = 11
_LISTS = re.compile(r"args = \(%\w+, %\w+, (?:%\w+|None)((?:, \[[\d, ]*\])*)")
_LIST = re.compile(r"\[([\d, ]*)\]")


def split_pads(editor: Editor) -> Sequence[Change]:
    """Put a Pad before each convolution that an exporter merged one into."""
    changes: list[Change] = []
    for node in editor.nodes:
        said = {entry.key: entry.value for entry in node.metadata_props}
        own = _own_pads(said.get(_CALL, "")) if "FuseConvPad" in said.get(_RULE, "") else None
        pads = next((a for a in node.attribute if a.name == "pads"), None)
        if own is None or pads is None or node.op_type != "Conv" or editor.opset < _PADS_ARE_INPUTS:
            continue
        rank = len(pads.ints) // 2
        inner = (list(own) + [own[-1]] * rank)[:rank] * 2
        outer = [whole - part for whole, part in zip(pads.ints, inner, strict=True)]
        if min(outer) < 0 or not any(outer):
            continue
        amounts = np.array([0, 0, *outer[:rank], 0, 0, *outer[rank:]], np.int64)
        pad = _pad(editor, node, amounts)
        editor.replace(node, [pad, _padding(node, inner, pad.output[0])])
        changes.append(Change("split-pads", node.name, ""))
    return changes


def _own_pads(call: str) -> tuple[int, ...] | None:
    """Return the padding among the arguments of a traced `conv2d(x, weight, bias, stride, padding, ...)`."""
    found = _LISTS.search(call[:10_000])
    if found is None:
        return None
    lists = _LIST.findall(found.group(1))
    return tuple(map(int, lists[1].split(","))) if len(lists) > 1 else (0,)


def _pad(editor: Editor, node: NodeProto, amounts: NDArray[np.int64]) -> NodeProto:
    padded = editor.names.fresh(f"{node.input[0]}_padded")
    name = editor.names.fresh(f"{node.name}/Pad")
    return tag(
        make_node("Pad", [node.input[0], editor.store(f"{padded}/pads", amounts)], [padded], name=name),
        name,
        "aten.pad",
        node,
    )


def _padding(node: NodeProto, pads: list[int], source: str) -> NodeProto:
    """Return the convolution with other pads and another input."""
    for attribute in list(node.attribute):
        if attribute.name in ("pads", "auto_pad"):
            node.attribute.remove(attribute)
    node.attribute.add(name="pads", type=7, ints=pads)
    node.input[0] = source
    return node
