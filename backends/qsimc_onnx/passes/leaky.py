"""The one slope that the DPU's leaky ReLU has."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc.backend import Change
from qsimc_onnx.editor import Editor

SLOPE = 26 / 256
"""0.1015625.  Source: vai_q_pytorch 3.5, which prints QUANTIZER_TORCH_LEAKYRELU when it changes another."""

_DEFAULT = 0.01
"""ONNX's default slope."""


def leaky_relus(editor: Editor) -> Sequence[Change]:
    """Give every leaky ReLU the DPU's slope."""
    changes: list[Change] = []
    for node in editor.nodes:
        if node.op_type != "LeakyRelu":
            continue
        slope = next((a for a in node.attribute if a.name == "alpha"), None)
        before = _DEFAULT if slope is None else slope.f
        if before == SLOPE:
            continue
        if slope is not None:
            node.attribute.remove(slope)
        node.attribute.add(name="alpha", type=1, f=SLOPE)
        changes.append(Change("leaky-relu", node.name, f"from {before:.7g} to {SLOPE}"))
    return changes
