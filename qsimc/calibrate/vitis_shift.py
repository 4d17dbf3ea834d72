"""Fix positions that the DPU's shifters can realise.

A convolution sums products at position weight + input, shifts its bias onto them and shifts the sum
to the output's position.  When vai_q_pytorch exports its results it moves positions until both shifts
are possible, and calibrates nothing again: what is moved may saturate or lose bits.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `TORCHQuantizer.export_quant_config` and the
passes that it runs, as recordings of its exports show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

GREATEST_SHIFT = 16
"""The greatest shift, in bits to the right, of a sum to its output and of a bias to the sum."""

ACCUMULATOR_BITS = 24
PRODUCT_BITS = 8
"""Of the accumulator, these are taken before a bias is shifted to the left."""

HARD_SIGMOID_OUTPUT = 7
"""Least fix position of a hard sigmoid's output, whose values are at most 1."""


class Form(StrEnum):
    """What a layer is to the DPU's shifters.

    PRODUCT: conv1d, conv2d, conv3d, also transposed or depthwise, and dense.
    MOVE: strided slice, pad, nearest-neighbour resize: values pass unchanged.
    POOL: max and average pools.
    """

    PRODUCT = "product"
    MOVE = "move"
    HARD_SIGMOID = "hard_sigmoid"
    HARD_SWISH = "hard_swish"
    POOL = "pool"
    CONCAT = "concat"
    ADD = "add"


class Role(StrEnum):
    """What a tensor is to the layer for whose sake it was moved."""

    INPUT = "input"
    OUTPUT = "output"
    WEIGHT = "weight"
    BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Layer:
    """One quantized layer, by the names of its tensors.

    Attributes:
        inputs: the quantized tensors that it reads, parameters excluded; one, but for sums and concatenations.
        output: the quantized tensor that its group ends in: of a convolution and its ReLU, the ReLU's.
        weight: of a product, which must have one.
        bias: of a product, which may have one.
    """

    form: Form
    inputs: tuple[str, ...]
    output: str
    weight: str | None = None
    bias: str | None = None

    def __post_init__(self) -> None:
        if self.form == Form.PRODUCT and self.weight is None:
            raise ValueError(f"the product that gives `{self.output}` has no weight")


@dataclass(frozen=True, slots=True)
class Change:
    """A fix position that was moved."""

    tensor: str
    role: Role
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Shifts:
    """What a device's shifters can do.

    Attributes:
        least_cut: least shift of a sum to its output; below 0 the sum is shifted to the left.
        bias_left: whether a bias can be shifted to the left, as far as the accumulator has room.
    """

    least_cut: int = 0
    bias_left: bool = True


DPU = Shifts()
FLEXML = Shifts(least_cut=-1, bias_left=False)
"""Source: the same code; no recordings were made of it."""


def legalised(
    layers: Sequence[Layer], positions: Mapping[str, int], *, inputs_follow: Iterable[Form] = (), shifts: Shifts = DPU
) -> tuple[dict[str, int], tuple[Change, ...]]:
    """Return the fix positions that the DPU can realise, and the changes in the order they were made.

    Args:
        layers: in execution order.
        positions: of every tensor that a layer names.
        inputs_follow: of `CONCAT`, `POOL` and `ADD`, the layers whose inputs take their output's
            position, from the last layer to the first (`change_concat_input_fix` and its like).
        shifts: what the device can do.

    Raises:
        KeyError: a layer names a tensor that has no position.
    """
    shifter = _Shifter(dict(positions), [], shifts)
    following = frozenset(inputs_follow)
    for layer in reversed(layers):
        if layer.form in following:
            shifter.copy_to_inputs(layer)
    for layer in layers:
        shifter.legalise(layer)
    return shifter.positions, tuple(shifter.changes)


@dataclass(slots=True)
class _Shifter:
    """The positions so far; a change is seen by every later layer."""

    positions: dict[str, int]
    changes: list[Change]
    shifts: Shifts

    def copy_to_inputs(self, layer: Layer) -> None:
        for name in layer.inputs:
            self._move(name, Role.INPUT, self.positions[layer.output])

    def legalise(self, layer: Layer) -> None:
        if layer.form == Form.PRODUCT:
            self._legalise_product(layer)
        elif layer.form == Form.MOVE:
            self._move(layer.output, Role.OUTPUT, self.positions[layer.inputs[0]])
        elif layer.form == Form.HARD_SIGMOID:
            self._move(layer.output, Role.OUTPUT, max(self.positions[layer.output], HARD_SIGMOID_OUTPUT))
            self._at_least_zero(layer.inputs[0])
        elif layer.form == Form.HARD_SWISH:
            self._at_least_zero(layer.inputs[0])
            most = self.positions[layer.inputs[0]] + HARD_SIGMOID_OUTPUT
            self._move(layer.output, Role.OUTPUT, min(self.positions[layer.output], most))

    def _legalise_product(self, layer: Layer) -> None:
        """Bring the shift of the sum into [0, 16], then that of the bias into its own range."""
        assert layer.weight is not None
        source = self.positions[layer.inputs[0]]
        cut = self.positions[layer.weight] + source - self.positions[layer.output]
        if cut < self.shifts.least_cut:
            moved = self.positions[layer.output] + cut - self.shifts.least_cut
            self._move(layer.output, Role.OUTPUT, moved)
        elif cut > GREATEST_SHIFT:
            self._move(layer.weight, Role.WEIGHT, self.positions[layer.weight] - (cut - GREATEST_SHIFT))
        if layer.bias is None:
            return
        shift = self.positions[layer.weight] + source - self.positions[layer.bias]
        # The room to the left is reckoned with the cut from before it was legalised.
        least = min(0, PRODUCT_BITS + cut - ACCUMULATOR_BITS) if self.shifts.bias_left else 0
        if shift < least:
            self._move(layer.bias, Role.BIAS, self.positions[layer.bias] + shift - least)
        elif shift > GREATEST_SHIFT:
            self._move(layer.weight, Role.WEIGHT, self.positions[layer.weight] - (shift - GREATEST_SHIFT))

    def _at_least_zero(self, name: str) -> None:
        self._move(name, Role.INPUT, max(self.positions[name], 0))

    def _move(self, name: str, role: Role, after: int) -> None:
        before = self.positions[name]
        if after != before:
            self.positions[name] = after
            self.changes.append(Change(name, role, before, after))
