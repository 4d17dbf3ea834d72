"""Parameters that an exporter found to be equal, and wrote as copies of one: each its own again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsimc.backend import Change
from qsimc_onnx.editor import Editor


def own_copies(editor: Editor) -> Sequence[Change]:
    """Store what an Identity of a constant gives as a constant of its own."""
    changes: list[Change] = []
    for node in editor.nodes:
        if node.op_type != "Identity" or not editor.stores(node.input[0]) or editor.is_output(node.output[0]):
            continue
        source, copy = node.input[0], node.output[0]
        editor.set_constant(copy, np.array(editor.constant(source)))
        changes.append(Change("own-copies", node.name, ""))
    return changes
