"""Losses; targets are indices of any integer type, torch wants int64."""

from __future__ import annotations

from qsimc_torch.call import Call, call
from qsimc_torch.operators import operator


@operator("NegativeLogLikelihoodLoss")
def nll_loss(node: Call) -> str:
    return call("F.nll_loss", node[0], _target(node), **_options(node))


@operator("SoftmaxCrossEntropyLoss")
def cross_entropy(node: Call) -> str:
    """The logarithms of the probabilities are the second output."""
    loss = call("F.cross_entropy", node[0], _target(node), **_options(node))
    return loss if node.outputs == 1 else f"{loss}, F.log_softmax({node[0]}, dim=1)"


def _target(node: Call) -> str:
    return node[1] if node.dtype(1) == "int64" else f"{node[1]}.long()"


def _options(node: Call) -> dict[str, object]:
    reduction = node.word("reduction", "mean")
    ignored = node.integer("ignore_index", -100)
    return {
        "weight": node[2] if node.has(2) else None,
        "ignore_index": None if ignored == -100 else ignored,
        "reduction": None if reduction == "mean" else f'"{reduction}"',
    }
