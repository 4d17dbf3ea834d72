"""What can be done to a float model before it is quantized, by name; backends say how."""

from __future__ import annotations

REWRITES = (
    "own-copies",
    "silu-to-hswish",
    "relu6-to-relu",
    "split-pads",
    "fold-norms",
    "simplify-norms",
    "equalize",
    "leaky-relu",
    "round-averages",
    "hard-activations",
)
"""In the order in which they run, whatever the order in which they are asked for."""
