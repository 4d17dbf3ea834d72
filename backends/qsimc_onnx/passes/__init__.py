"""Rewrites of a float model before it is quantized: one pass per module, all reachable by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qsimc.backend import Change
from qsimc.rewrites import REWRITES
from qsimc_onnx.editor import Editor
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.passes.averages import round_averages
from qsimc_onnx.passes.copies import own_copies
from qsimc_onnx.passes.equalize import equalize
from qsimc_onnx.passes.hard import hard_activations
from qsimc_onnx.passes.leaky import leaky_relus
from qsimc_onnx.passes.norms import fold_norms, simplify_norms
from qsimc_onnx.passes.pads import split_pads
from qsimc_onnx.passes.rectifiers import relu6_to_relu, silu_to_hswish

Pass = Callable[[Editor], Sequence[Change]]

_PASSES: Mapping[str, Pass] = {
    "own-copies": own_copies,
    "silu-to-hswish": silu_to_hswish,
    "relu6-to-relu": relu6_to_relu,
    "split-pads": split_pads,
    "fold-norms": fold_norms,
    "simplify-norms": simplify_norms,
    "equalize": equalize,
    "leaky-relu": leaky_relus,
    "round-averages": round_averages,
    "hard-activations": hard_activations,
}


def rewrite(model: OnnxModel, names: Sequence[str]) -> tuple[OnnxModel, tuple[Change, ...]]:
    """Return the model after the named passes, which run in their own order, and what they changed.

    Raises:
        LookupError: no pass is called so; the message names those there are.
    """
    for name in names:
        if name not in REWRITES:
            raise LookupError(f"no rewrite `{name}`; there are {', '.join(REWRITES)}")
    editor = Editor(model)
    changes = [change for name, run in _PASSES.items() if name in names for change in run(editor)]
    return (editor.done() if changes else model), tuple(changes)
