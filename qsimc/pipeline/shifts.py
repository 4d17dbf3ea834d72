"""After calibration: fix positions that the DPU's shifters can realise, and tensors that take another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from qsimc.calibrate import vitis_shift
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.vitis_shift import Change, Form
from qsimc.diagnostics import Diagnostic, Severity, Vendor
from qsimc.ir.config import Config
from qsimc.planning.plan import Plan
from qsimc.planning.vitis.device import Device
from qsimc.planning.vitis.groups import Groups
from qsimc.planning.vitis.network import Layer, Network
from qsimc.planning.vitis.rewrites import is_on
from qsimc.spec import keymap

_FOLLOW = {"change_concat_input_fix": Form.CONCAT, "change_pool_input_fix": Form.POOL}
"""Switches that let inputs take the position of the output."""

_SHIFTS = {"vitis-dpu": vitis_shift.DPU, "vitis-flexml": vitis_shift.FLEXML}


def legal_shifts(
    plan: Plan, config: Config, network: Network, encodings: Mapping[str, Encoding], path: str
) -> tuple[dict[str, Encoding], tuple[Diagnostic, ...], Mapping[str, str]]:
    """Return the encodings after the passes that follow calibration, findings, and whose entry each tensor took.

    Where one block names a float type the original runs no such pass.
    """
    found = dict(encodings)
    taken: dict[str, str] = {}
    if any(entry.datatype != "int" for entry in plan.entries):
        return found, (), taken
    device = Device.of(config, plan.mode)
    layers = tuple(_layers(network, found))
    follow = [form for option, form in _FOLLOW.items() if is_on(config, option)]
    if not device.fix_positions:
        for layer in reversed(layers):
            if layer.form in follow:
                taken |= {name: taken.get(layer.output, layer.output) for name in layer.inputs}
        for layer in layers:
            if layer.form is Form.MOVE:
                taken[layer.output] = taken.get(layer.inputs[0], layer.inputs[0])
        return {name: encodings[taken.get(name, name)] for name in encodings}, (), taken
    positions = {name: int(encoding.fix_position[0]) for name, encoding in found.items()}
    moved, changes = vitis_shift.legalised(layers, positions, inputs_follow=follow, shifts=_SHIFTS[device.target])
    for name, position in moved.items():
        if position != positions[name]:
            found[name] = replace(found[name], scale=np.array([2.0**-position]))
    return found, tuple(_findings(changes, path)), taken


def _layers(network: Network, encodings: Mapping[str, Encoding]) -> Iterator[vitis_shift.Layer]:
    """Yield the quantized layers that the passes look at, all of whose tensors are quantized."""
    groups = Groups.make(network)
    for layer in network.layers:
        form = _form(layer)
        if form is None or not layer.row.quantized:
            continue
        inputs = tuple(
            _quantized_at(groups, tensor, parent)
            for tensor, parent in zip(layer.inputs, layer.parents, strict=True)
            if parent is not None
        )
        params = {param.role: param.tensor for param in layer.params}
        output = groups.quantized(layer).output
        weight, bias = params.get("weight"), params.get("bias")
        named = [*inputs, output, *([weight] if weight else []), *([bias] if bias else [])]
        if not inputs or any(name not in encodings for name in named):
            continue
        if form is Form.PRODUCT and weight is None:
            continue
        yield vitis_shift.Layer(form, inputs, output, weight, bias)


def _form(layer: Layer) -> Form | None:
    if layer.kind == "resize":
        nearest = layer.node.attributes.get("mode", "nearest") == "nearest"
        return Form.MOVE if nearest else None
    return Form(layer.row.form) if layer.row.form else None


def _quantized_at(groups: Groups, tensor: str, parent: Layer) -> str:
    return groups.quantized(parent).output


def _findings(changes: Sequence[Change], path: str) -> Iterator[Diagnostic]:
    for change in changes:
        text = (
            f"{change.role} {change.tensor} value is too small, so adjust the fix position"
            f" from {change.before} to {change.after}"
        )
        yield Diagnostic(
            code="Q0616",
            name="fix-position-moved",
            severity=Severity.WARNING if change.role != "input" else Severity.INFO,
            message=(
                f"the fix position of `{change.tensor}` was moved from {change.before} to {change.after}:"
                f" the DPU cannot shift as far as the calibrated one asks"
            ),
            notes=("nothing was calibrated again: values may saturate, or lose their last bits",),
            helps=("rescale the layer, or leave it float",),
            vendor=Vendor(keymap.load("vitis").tool, "QUANTIZER_TORCH_SHIFT_CHECK", text),
            path=path,
        )
