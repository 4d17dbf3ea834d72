"""AIMET's exception rules: what it decides after, and over, everything that the config says."""

from __future__ import annotations

from qsimc.ir.quant import Numeric
from qsimc.planning.effective import effective
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer, Resolution, Site
from qsimc.planning.rules import DYNAMIC_WEIGHT, GROUPED_TRANSPOSE, MATMUL_HARDWARE, NORM_PARAMS, RMS_CONSTANTS
from qsimc.spec.ops import operators


def rms_constants(resolution: Resolution) -> None:
    """Switch off constant operands of RMSNormalization, such as its epsilon, where that graph pass is asked for."""
    if "RMSNormalization" not in resolution.said.pass_names:
        return
    for site in resolution.sites:
        if site.node.op != "RMSNormalization":
            continue
        for quantizer in site.inputs:
            if resolution.graph.tensors[quantizer.tensor].constant:
                reason = Reason(RMS_CONSTANTS, detail=f"a constant operand of `{site.node.name}`")
                quantizer.set("enabled", False, reason)


def dynamic_weights(resolution: Resolution) -> None:
    """Give a computed weight the symmetry that the config gives to stored ones."""
    table = operators()
    for site in resolution.sites:
        position = table[site.node.op].dynamic_weight
        if position is None or position >= len(site.node.inputs) or resolution.is_param(site.node.inputs[position]):
            continue
        quantizer = effective(resolution, site.node.inputs[position])
        if quantizer is None:
            continue
        value, rule = _weight_symmetry(resolution, site)
        detail = f"acts as the weight of `{site.node.name}` ({site.node.op}); {rule}"
        quantizer.set("symmetric", value, Reason(DYNAMIC_WEIGHT, detail=detail))


def _weight_symmetry(resolution: Resolution, site: Site) -> tuple[bool, str]:
    """Return the symmetry of stored weights and the rule that says it.

    AIMET looks at the operator's own `params.weight`, then at the default of all parameters; a `*[weight]`
    rule does not count.
    """
    said = resolution.said
    by_type = said.op_type.get(site.node.op)
    decision = by_type.said("weight", "symmetric") if by_type else None
    decision = decision or said.everything.said("param", "symmetric") or said.everything.said("", "symmetric")
    if decision is not None:
        return bool(decision.value), f"`{decision.reason.rule}`"
    return False, "no rule says that weights are symmetric"


def hardware(resolution: Resolution) -> None:
    """Apply the exception rules of norms, MatMul and grouped ConvTranspose, in node order."""
    table = operators()
    for site in resolution.sites:
        row = table[site.node.op]
        if site.node.op not in table.exceptional:
            continue
        if row.norm == "output":
            _like_output(site)
        elif row.norm == "width":
            _own_width(resolution, site)
        elif row.second_operand:
            _second_operand(resolution, site)
        elif row.per_tensor_if_grouped and site.node.attributes.get("group", 1) != 1:
            _per_tensor(site)


def _integer_params(site: Site) -> list[Quantizer]:
    return [q for q, _ in site.params if q.enabled and q.type is Numeric.INT]


def _like_output(site: Site) -> None:
    """Norm params take the width and symmetry of the norm's output; at least 8 bits when that is off."""
    output = next((q for q in site.outputs[:1] if q.enabled), None)
    for quantizer in _integer_params(site):
        reason = Reason(NORM_PARAMS, detail=f"a param of `{site.node.name}` ({site.node.op}) follows its output")
        quantizer.set("symmetric", output.symmetric if output else False, reason)
        quantizer.set("bits", output.bits if output else max(quantizer.bits, 8), reason)


def _own_width(resolution: Resolution, site: Site) -> None:
    """Norm params have at least 8 bits, exactly 8 on older hardware, and are symmetric from 16 bits on."""
    narrow = _is_eight_bit(resolution)
    for quantizer in _integer_params(site):
        reason = Reason(NORM_PARAMS, detail=f"a param of `{site.node.name}` ({site.node.op})")
        quantizer.set("bits", 8 if narrow else max(quantizer.bits, 8), reason)
        quantizer.set("symmetric", quantizer.bits >= 16, reason)


def _second_operand(resolution: Resolution, site: Site) -> None:
    """The second of two computed operands is symmetric: always on older hardware, else when 16 bits wide."""
    if resolution.said.hardware is None or len(site.node.inputs) < 2 or resolution.is_param(site.node.inputs[1]):
        return
    first, second = (effective(resolution, tensor) for tensor in site.node.inputs[:2])
    if first is None or second is None or Numeric.INT is not first.type or Numeric.INT is not second.type:
        return
    version = resolution.said.hardware.value
    reason = Reason(MATMUL_HARDWARE, detail=f"an operand of `{site.node.name}` ({site.node.op}), hw_version {version}")
    if _is_eight_bit(resolution):
        second.set("symmetric", True, reason)
        second.set("bits", 8, reason)
    elif second.bits == 16:
        second.set("symmetric", True, reason)
        first.set("bits", 16, reason)


def _per_tensor(site: Site) -> None:
    for quantizer, role in site.params:
        if role == "weight" and quantizer.per_channel:
            detail = f"`{site.node.name}` has {site.node.attributes['group']} groups"
            quantizer.set("per_channel", False, Reason(GROUPED_TRANSPOSE, detail=detail))
            quantizer.axis = None


def _is_eight_bit(resolution: Resolution) -> bool:
    option = resolution.said.hardware
    return option is not None and option.value in operators().eight_bit_hardware
