"""AIMET's exception rules for modules: what it decides after, and over, everything that the config says."""

from __future__ import annotations

from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import Call, Edge
from qsimc.planning.torch.rules import MATMUL_HARDWARE, NORM_PARAMS, SCALAR
from qsimc.planning.torch.state import PortResolution, Ports
from qsimc.spec.ops import operators


def hardware(resolution: PortResolution) -> None:
    """Apply the exception rules of norms, embeddings and MatMul, in the order of modules."""
    for ports in resolution.ports.values():
        if ports.row.norm == "output":
            _like_output(resolution, ports)
        elif ports.row.norm == "width":
            _by_width(ports)
        elif ports.row.second_operand:
            _second_operand(resolution, ports)


def scalars(resolution: PortResolution) -> None:
    """Leave a product or quotient with a positive constant on the grid of its other operand, if that has one."""
    for call in resolution.graph.in_order:
        ports = resolution.of(call)
        if ports is None or ports.row.scalar is None or len(call.inputs) != 2 or len(ports.inputs) != 2:
            continue
        constant = 0 if ports.row.scalar == "either" and not call.inputs[1].known else 1
        if not call.inputs[constant].positive_scalar:
            continue
        other = 1 - constant
        quantizer = _effective(resolution, ports.inputs[other], call.inputs[other])
        if quantizer is not None and quantizer.enabled:
            reason = Reason(SCALAR, detail=f"`{ports.module.name}` only scales `{quantizer.tensor}`")
            ports.inputs[constant].set("enabled", False, reason)
            ports.outputs[0].set("enabled", False, reason)


def _is_eight_bit(resolution: PortResolution) -> bool:
    return resolution.hardware in operators().eight_bit_hardware


def _like_output(resolution: PortResolution, ports: Ports) -> None:
    """Params take the width and symmetry of the module's output; not on older or unnamed hardware."""
    if resolution.hardware is None or _is_eight_bit(resolution):
        return
    output = ports.outputs[0]
    reason = Reason(NORM_PARAMS, detail=f"a param of `{ports.module.name}` follows its output")
    for quantizer in ports.params.values():
        quantizer.set("bits", output.bits, reason)
        quantizer.set("symmetric", output.symmetric, reason)


def _by_width(ports: Ports) -> None:
    """A LayerNorm's weight is symmetric from 16 bits on."""
    weight = ports.params.get("weight")
    if weight is not None:
        weight.set("symmetric", weight.bits >= 16, Reason(NORM_PARAMS, detail=f"`{weight.bits}` bits wide"))


def _second_operand(resolution: PortResolution, ports: Ports) -> None:
    """The second of two computed operands is symmetric: always on older hardware, else when 16 bits wide."""
    call = resolution.graph.last_call.get(ports.module.name)
    if call is None or resolution.hardware is None or len(ports.inputs) != 2 or len(call.inputs) < 2:
        return
    first, second = (_effective(resolution, *pair) for pair in zip(ports.inputs, call.inputs, strict=False))
    if second is None or (first is not None and {first.type, second.type} == {Numeric.FLOAT}):
        return
    reason = Reason(MATMUL_HARDWARE, detail=f"an operand of `{ports.module.name}`, hw_version {resolution.hardware}")
    if _is_eight_bit(resolution):
        second.set("symmetric", True, reason)
        second.set("bits", 8, reason)
    elif first is not None and second.bits == 16:
        second.set("symmetric", True, reason)
        first.set("bits", 16, reason)


def _effective(resolution: PortResolution, own: Quantizer, edge: Edge) -> Quantizer | None:
    """Return the quantizer that an input's values come from: its own, or the nearest one above."""
    if own.enabled:
        return own
    source = resolution.graph.source(edge)
    ports = _nearest(resolution, source)
    if ports is None:
        return None
    return ports.outputs[0] if ports.outputs[0].enabled else ports.inputs[0]


def _nearest(resolution: PortResolution, call: Call | None) -> Ports | None:
    """Return the first module upwards that quantizes its input or output.

    The walk goes through the first input of functions; at a module it goes on only if there is one input to follow.
    """
    while call is not None:
        computed = [edge for edge in call.inputs if edge.source]
        ports = resolution.of(call)
        if ports is not None:
            if ports.outputs[0].enabled or ports.inputs[0].enabled:
                return ports
            if len(computed) != 1:
                return None
        call = resolution.graph.source(computed[0]) if computed else None
    return None
