"""What is found of one model, and what it may not be."""

from __future__ import annotations

from dataclasses import dataclass, field

FLOAT_ERROR = 1e-5
"""How far float values may be off, as a share of the largest one."""

SPREAD = 2
"""How many times further than onnxruntime an output may be off what float64 makes of it.

Which of two orders of the same sums in float32 comes nearer is chance: on some samples it is one, on some the other.
"""

APART = 1e-3
"""The share of a model's values that may be off by one step, each quantizer being fed what the ONNX simulation made.

It is not asked of each tensor.  A value next to the middle between two steps falls on either side by the order of a
sum: with 16 bits a step is 1.5e-5 of the range and a node up to 3e-6 off, whoever computes it; and a mean of a few
values on a grid often is such a middle.
"""


@dataclass(slots=True, kw_only=True)
class Row:
    """What was found of one model.

    Attributes:
        lines: of the generated `forward`.
        operator_error: largest error of a float tensor whose node was fed what onnxruntime made, as a share of the
            largest value that onnxruntime made of it.
        operator: the tensor that has it.
        float_error: the same of an output, when each program runs alone.
        module_error, runtime_error: how far the module and onnxruntime are off an output of float64; of onnxruntime
            with its optimisations and without them, the one that is further off.
        values: what quantizers put out, counted.
        apart: how many of those are off, each quantizer being fed what the ONNX simulation made.
        worst: by how many steps at most.
        worst_share: the largest share of values that are off in one tensor.
        over: tensors of which more than `APART` are off.
        module_apart, runtime_apart: how many values the module and onnxruntime have that float64 has not.
        outputs, outputs_apart, outputs_worst: the same of the outputs, when each program runs alone; only outputs that
            are quantized count.
    """

    model: str
    nodes: int = 0
    lines: int = 0
    operator_error: float = 0.0
    operator: str = ""
    float_error: float = 0.0
    module_error: float = 0.0
    runtime_error: float = 0.0
    values: int = 0
    apart: int = 0
    worst: int = 0
    worst_share: float = 0.0
    over: set[str] = field(default_factory=set)
    module_apart: int = 0
    runtime_apart: int = 0
    outputs: int = 0
    outputs_apart: int = 0
    outputs_worst: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, in words."""
        found = [*self.refusals]
        if self.operator_error > FLOAT_ERROR:
            found.append(f"`{self.operator}` is off by {self.operator_error:.1e} of its largest value")
        if self.float_error > FLOAT_ERROR and self.module_error > max(FLOAT_ERROR, SPREAD * self.runtime_error):
            found.append(
                f"float outputs are off by {self.float_error:.1e} of the largest value, and by {self.module_error:.1e} "
                f"of what float64 makes of them, onnxruntime by {self.runtime_error:.1e}"
            )
        if self.worst > 1 or self.apart > APART * self.values:
            found.append(f"{self.apart} of {self.values} quantized values are off, by up to {self.worst} steps")
        return tuple(found)
