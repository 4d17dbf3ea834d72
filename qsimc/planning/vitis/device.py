"""What a device takes the choice away of: the DPU's grid, scales and rounding, whatever a configuration says.

Source: vai_q_pytorch 3.5: targets DPU and FLEXML run the fix-position quantizer, CPU and GPU the one with scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qsimc.ir.config import Config, Value
from qsimc.ir.quant import Calib, Numeric, Round, ScaleKind
from qsimc.planning.plan import Decision, Mode
from qsimc.planning.rules import VITIS_DEVICE, VITIS_INPUT, VITIS_METHOD, VITIS_ROUNDING, VITIS_WEIGHTS_ONLY

FIX_POSITIONS = ("vitis-dpu", "vitis-flexml")
"""Targets whose scales are powers of two by construction."""

_DEFAULT = "vitis-dpu"


@dataclass(frozen=True, slots=True)
class Device:
    """The device that a configuration is for."""

    target: str
    mode: Mode

    @classmethod
    def of(cls, config: Config, mode: Mode) -> Device:
        """Return the device of a configuration, the DPU if it names none."""
        return cls(config.target or _DEFAULT, mode)

    @property
    def fix_positions(self) -> bool:
        return self.target in FIX_POSITIONS

    def decisions(self, role: str, said: Sequence[Decision], *, network_input: bool = False) -> Iterator[Decision]:
        """Yield what the device decides on top of what was said of a tensor."""
        values = {decision.field: decision.value for decision in said}
        if values["type"] != Numeric.INT:
            return
        if role != "weight" and values["per_channel"]:
            yield Decision("per_channel", False, VITIS_WEIGHTS_ONLY)
        if self.fix_positions:
            yield from _changed(values, self._fixed(role, values))
        if network_input and (self.fix_positions or values["scale"] == ScaleKind.POW2):
            yield Decision("calib", Calib.MINMAX, VITIS_INPUT)

    def _fixed(self, role: str, values: dict[str, Value]) -> Iterator[Decision]:
        is_param = role in ("weight", "bias")
        for name, value in (
            ("symmetric", True),
            ("signed", True),
            ("per_channel", False),
            ("scale", ScaleKind.POW2),
            ("reduce", "modal"),
        ):
            yield Decision(name, value, VITIS_DEVICE)
        if self.target == "vitis-dpu" or not is_param:
            yield Decision("narrow_range", False, VITIS_DEVICE)
        if self.target == "vitis-dpu" or role == "bias":
            yield Decision("round", Round.STD if is_param else Round.HALF_UP, VITIS_ROUNDING)
        if self.mode is Mode.VENDOR or values["calib"] not in (Calib.DIFFS, Calib.MINMAX):
            yield Decision("calib", Calib.DIFFS, VITIS_METHOD)


def _changed(values: dict[str, Value], decisions: Iterator[Decision]) -> Iterator[Decision]:
    return (decision for decision in decisions if values[decision.field] != decision.value)
