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
    "correct-biases",
)
"""In the order in which they run, whatever the order in which they are asked for.

All but the last are done to the model alone; biases are corrected with the calibration data, and after it.
"""
