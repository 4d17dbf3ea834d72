"""The deployable model: ONNX's own QuantizeLinear and DequantizeLinear, constants stored as integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.garbage import uncollected
from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Plan, TensorPlan
from qsimc_onnx.build import cast_type, encoding_of, is_identity
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.opsets import raised
from qsimc_onnx.optimiser import report_optimiser
from qsimc_onnx.protos import opset
from qsimc_onnx.qdq import Target, Writer, quantizer
from qsimc_onnx.rewrite import Names, cut, only_fed_inputs, place, sweep
from qsimc_onnx.storage import storage
from qsimc_onnx.write import Deferred, save

_LONE_INITIALIZERS_SINCE = 4
"""The IR version from which an initializer need not be listed among the graph's inputs."""

_LOADS_SINCE = 13
"""The operator set from which onnxruntime's optimiser has what it inserts (per-channel DequantizeLinear, Round)."""


def export(
    model: OnnxModel, plan: Plan, encodings: Mapping[str, Encoding], out: Path, report: Report
) -> Sequence[Path]:
    """Write `<model>.qdq.onnx` into `out`, and its data file when the model has one; return the files.

    Reports tensors that stay float because no ONNX type holds their integers (Q0710), rounding that
    QuantizeLinear does not have (Q0711), a model that onnxruntime may not load optimised (Q0712), and Softmax outputs
    that it computes wrongly when it does (Q0713).
    """
    proto, deferred = to_qdq(model, plan, encodings, report)
    return save(proto, model.folder, out / f"{model.stem}.qdq.onnx", deferred)


@uncollected()
def to_qdq(
    model: OnnxModel, plan: Plan, encodings: Mapping[str, Encoding], report: Report
) -> tuple[ModelProto, Deferred]:
    """Return a copy of the model with the plan's quantizers as QuantizeLinear, DequantizeLinear and Cast.

    With it, the values of the constants that are stored as integers.  The copy is raised to operator set 13, or else
    reported.  What a tensor becomes is decided by the model's own operator set, as in the simulation.
    """
    proto, obstacle = raised(model.proto, _LOADS_SINCE)
    if obstacle is not None:
        report(_old_opset(opset(proto), obstacle, model.path))
    if proto.ir_version < _LONE_INITIALIZERS_SINCE:
        only_fed_inputs(proto.graph)
        proto.ir_version = _LONE_INITIALIZERS_SINCE
    targets: dict[str, Target] = {}
    for planned in plan.enabled():
        encoding = encoding_of(planned, encodings)
        if (target := _target(planned, encoding, opset(model.proto))) is not None:
            targets[planned.tensor] = target
        elif not is_identity(planned.spec):
            report(_stays_float(planned, encoding, model.path))
    _report_rounding([t[0] for t in targets.values() if not isinstance(t, int)], report, model.path)
    _report_softmax(plan, targets, report, model.path)
    report_optimiser(plan, targets, opset(proto), report, model.path)
    names = Names.of(proto)
    cuts = cut(proto.graph, targets, names)
    deferred: dict[str, Callable[[], NDArray[Any]]] = {}
    writers = {t: Writer(model, proto, names, t, deferred) for t in cuts}
    place(proto.graph, [quantizer(writers[t], targets[t], ends) for t, ends in cuts.items()])
    sweep(proto.graph)
    return proto, deferred


def _target(planned: TensorPlan, encoding: Encoding | None, version: int) -> Target | None:
    """Return what a tensor becomes; None when it stays as it is."""
    if is_identity(planned.spec):
        return None
    if (narrow := cast_type(planned.spec, version)) is not None:
        return narrow
    held = None if encoding is None else storage(encoding)
    return None if encoding is None or held is None else (encoding, held)


def _stays_float(planned: TensorPlan, encoding: Encoding | None, path: str) -> Diagnostic:
    kind = f"{planned.spec.type or Numeric.INT}{planned.spec.bits}"
    if encoding is None and planned.spec.type is Numeric.INT:
        reason, helps = "it has no encoding", "calibrate it"
    elif encoding is not None and not _on_grid(encoding):
        reason = f"its zero point {int(encoding.zero_point.min())} is none of its integers, and ONNX stores it as one"
        helps = "calibrate it with `--mode fixed`, whose ranges hold zero"
    else:
        reason, helps = f"ONNX cannot quantize to `{kind}` here", "use int16 or narrower, or float16"
    return Diagnostic(
        code="Q0710",
        name="qdq-stays-float",
        severity=Severity.WARNING,
        message=f"`{planned.tensor}` stays float: {reason}",
        helps=(helps,),
        path=path,
    )


def _on_grid(encoding: Encoding) -> bool:
    return bool(((encoding.qmin <= encoding.zero_point) & (encoding.zero_point <= encoding.qmax)).all())


def _old_opset(version: int, obstacle: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0712",
        name="qdq-old-opset",
        severity=Severity.WARNING,
        message=f"the QDQ model stays at operator set {version}, which onnxruntime's optimiser may refuse: {obstacle}",
        helps=(
            f"export the float model with operator set {_LOADS_SINCE} or later",
            "load the QDQ model with graph optimisations off (`ORT_DISABLE_ALL`)",
        ),
        path=path,
    )


def _report_softmax(plan: Plan, targets: Mapping[str, Target], report: Report, path: str) -> None:
    """Report Softmax outputs that onnxruntime's optimiser gets wrong.

    It fuses DequantizeLinear, Softmax and QuantizeLinear of 8 bits into one operator, which gives 0 for large
    probabilities when the output's scale is below 1/256.  Observed with onnxruntime 1.31.
    """
    narrow = []
    for node in plan.graph.nodes:
        target = targets.get(node.outputs[0]) if node.op == "Softmax" else None
        if target is not None and not isinstance(target, int):
            encoding = target[0]
            if encoding.bits <= 8 and encoding.scale[0] < 1 / 256 and node.inputs[0] in targets:
                narrow.append(node.outputs[0])
    if narrow:
        more = f", and {len(narrow) - 1} more like it" if len(narrow) > 1 else ""
        report(
            Diagnostic(
                code="Q0713",
                name="qdq-softmax-fused",
                severity=Severity.WARNING,
                message=f"onnxruntime's optimiser may compute the Softmax `{narrow[0]}` wrongly{more}",
                notes=("its fused QLinearSoftmax gives 0 for large values when the output's scale is below 1/256",),
                helps=(
                    'fix the range: `"encoding_constraints": {"min": 0.0, "max": 1.0}` for Softmax',
                    "load the QDQ model at `ORT_ENABLE_BASIC`",
                ),
                path=path,
            )
        )


def _report_rounding(encodings: Sequence[Encoding], report: Report, path: str) -> None:
    others = sum(encoding.numerics != "onnx" for encoding in encodings)
    if not others:
        return
    finding = Diagnostic(
        code="Q0711",
        name="qdq-rounds-half-even",
        severity=Severity.INFO,
        message=f"QuantizeLinear rounds ties to even, which {others} of the {len(encodings)} encodings do not ask for",
        notes=("an activation that lies exactly between two integers may come out one step away from the simulation",),
        path=path,
    )
    report(finding)
