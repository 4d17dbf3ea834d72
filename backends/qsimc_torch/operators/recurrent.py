"""LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

from qsimc_torch.call import Call, Unsupported, call, literal, shortest
from qsimc_torch.operators import operator

_PLAIN = {
    "Elu": "F.elu",
    "HardSigmoid": "F.hardsigmoid",
    "Relu": "torch.relu",
    "Sigmoid": "torch.sigmoid",
    "Softplus": "F.softplus",
    "Softsign": "F.softsign",
    "Tanh": "torch.tanh",
}

_WITH_NUMBERS = {
    "Affine": ("lambda x: {alpha} * x + {beta}", 1.0, 0.0),
    "Elu": ("lambda x: F.elu(x, {alpha})", 1.0, 0.0),
    "HardSigmoid": ("lambda x: torch.clamp({alpha} * x + {beta}, 0, 1)", 0.2, 0.5),
    "LeakyRelu": ("lambda x: F.leaky_relu(x, {alpha})", 0.01, 0.0),
    "ScaledTanh": ("lambda x: {alpha} * torch.tanh({beta} * x)", 1.0, 1.0),
    "ThresholdedRelu": ("lambda x: F.threshold(x, {alpha}, 0.0)", 1.0, 0.0),
}
"""Activations with numbers, and what those are where they are not given; ONNX, RNN, "Activation functions"."""

_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@operator("LSTM")
def lstm(node: Call) -> str:
    options = _options(node) | _states(node, hidden=5, cell=6, peepholes=7)
    return _taken(node, call("lstm", *_weights(node), **options, coupled=_flag(node, "input_forget")), 3)


@operator("GRU")
def gru(node: Call) -> str:
    options = _options(node) | _states(node, hidden=5)
    before = _flag(node, "linear_before_reset")
    return _taken(node, call("gru", *_weights(node), **options, linear_before_reset=before), 2)


@operator("RNN")
def rnn(node: Call) -> str:
    return _taken(node, call("rnn", *_weights(node), **_options(node), **_states(node, hidden=5)), 2)


def _taken(node: Call, text: str, count: int) -> str:
    """Return the results that the node has."""
    named = len(node.node.outputs)
    if node.outputs == 1:
        return f"{text}[0]"
    return text if named == count else f"{text}[:{named}]"


def _weights(node: Call) -> list[str]:
    return [node[position] for position in range(4) if position < 3 or node.has(3)]


def _states(node: Call, **positions: int) -> dict[str, Any]:
    return {name: node[position] if node.has(position) else None for name, position in positions.items()}


def _flag(node: Call, name: str) -> bool | None:
    return True if node.integer(name, 0) else None


def _options(node: Call) -> dict[str, Any]:
    direction = node.word("direction", "forward")
    clip = node.number("clip", 0.0)
    return {
        "lengths": node[4] if node.has(4) else None,
        "direction": None if direction == "forward" else f'"{direction}"',
        "activations": _activations(node, 2 if direction == "bidirectional" else 1),
        "clip": clip or None,
        "batch_first": _flag(node, "layout"),
    }


def _activations(node: Call, directions: int) -> str | None:
    """Return the functions of all gates, direction by direction; None where they are the usual ones."""
    named = node.node.attributes.get("activations")
    usual = _USUAL[node.node.op] * directions
    if not isinstance(named, tuple) or [*named] == usual:
        return None
    numbers = {name: list(_floats(node, f"activation_{name}")) for name in ("alpha", "beta")}
    functions = [_function(str(name), numbers) for name in named]
    return f"({', '.join(functions)},)" if len(functions) == 1 else f"({', '.join(functions)})"


def _floats(node: Call, name: str) -> tuple[float, ...]:
    value = node.node.attributes.get(name)
    return tuple(float(item) for item in value) if isinstance(value, tuple) else ()


def _function(name: str, numbers: dict[str, list[float]]) -> str:
    """Return a function; those that have numbers take theirs from the front of the lists."""
    if name not in _WITH_NUMBERS:
        if name not in _PLAIN:
            raise Unsupported(f"there is no activation `{name}`")
        return _PLAIN[name]
    text, alpha, beta = _WITH_NUMBERS[name]
    given = {
        key: numbers[key].pop(0) if f"{{{key}}}" in text and numbers[key] else default
        for key, default in (("alpha", alpha), ("beta", beta))
    }
    return text.format(**{key: literal(shortest(value)) for key, value in given.items()})
