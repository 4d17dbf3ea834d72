"""Config and graph to plan, as aimet_onnx 2.42 resolves them: one quantizer per tensor, one pass per step."""

from __future__ import annotations

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor, did_you_mean
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.quant import Calib, Round
from qsimc.planning.backward import tie_backward
from qsimc.planning.bare import bare
from qsimc.planning.build import build
from qsimc.planning.chains import supergroups
from qsimc.planning.channels import per_channel
from qsimc.planning.complete import complete
from qsimc.planning.constants import known_ranges
from qsimc.planning.difference import TOOL, AimetError, Difference, Differences
from qsimc.planning.exceptions import dynamic_weights, hardware, rms_constants
from qsimc.planning.folds import foldable_norms
from qsimc.planning.forward import tie_forward
from qsimc.planning.fuse import fuse
from qsimc.planning.initial import initial
from qsimc.planning.matches import report_missing_nodes
from qsimc.planning.plan import Mode, Plan
from qsimc.planning.quantizer import Resolution
from qsimc.planning.recurrent import tie_recurrent
from qsimc.planning.rules import DEFAULT, ROUNDING
from qsimc.planning.sections import chain_rules, defaults, model_input, model_output, named_params, node_names, op_types
from qsimc.planning.shared import shared_weights
from qsimc.planning.tie import depth_first
from qsimc.planning.words import Said, compile_words
from qsimc.planning.written import graph_passes
from qsimc.spec.ops import operators

STEPS = (
    foldable_norms,
    shared_weights,
    defaults,
    named_params,
    op_types,
    chain_rules,
    node_names,
    supergroups,
    model_input,
    model_output,
    per_channel,
    rms_constants,
    graph_passes,
    dynamic_weights,
    hardware,
)
"""AIMET's order, so a later step outranks an earlier one; the ties follow."""


def resolve(
    config: Config,
    graph: Graph,
    report: Report,
    *,
    act: str = "int8",
    param: str = "int8",
    calib: Calib = Calib.MINMAX,
    percentile: float | None = None,
    mode: Mode = Mode.FIXED,
) -> Plan | None:
    """Return what happens to each tensor of a graph, None after reporting an error.

    In vendor mode AIMET's verdict to the letter, its exceptions included; in fixed mode the work goes on
    where AIMET fails, with a warning for each such place.

    Args:
        act, param: precisions of activations and parameters, which AIMET's configs do not state.
        calib, percentile: how ranges are estimated.

    Raises:
        ValueError: `act` or `param` is not a precision.
    """
    differences = Differences(mode)
    said = compile_words(config)
    rounding = (Round.STD, ROUNDING) if mode is Mode.VENDOR else (Round.HALF_EVEN, DEFAULT)
    if not _is_sorted(graph, report):
        return None
    report_missing_nodes(config, graph, report)
    try:
        _check_passes(said, differences)
        fused = fuse(graph, said.pass_names)
        resolution = build(
            fused.graph,
            said,
            differences,
            act=initial("act", act, calib, percentile, rounding),
            param=initial("param", param, calib, percentile, rounding),
        )
        for step in STEPS:
            step(resolution)
        known_ranges(resolution)
        _tie(resolution)
    except AimetError as stop:
        report(stop.diagnostic)
        return None
    differences.flush(report)
    tensors = complete(graph, fused, resolution)
    without = bare(graph, fused, tensors, said.passes)
    return Plan(graph=graph, tensors=tensors, dialect=config.dialect, mode=mode, target=config.target, bare=without)


def _tie(resolution: Resolution) -> None:
    order = depth_first(resolution)
    tie_backward(resolution, order)
    tie_forward(resolution, order)
    tie_recurrent(resolution)


def _check_passes(said: Said, differences: Differences) -> None:
    known = operators().graph_passes
    unknown = [name for name in said.pass_names if name not in known]
    if not unknown or said.passes is None:
        return
    near = [(name, meant) for name in unknown if (meant := did_you_mean(name, known))]
    difference = Difference(
        code="Q0209",
        name="unknown-pass",
        message=f"there is no graph pass {', '.join(f'`{name}`' for name in unknown)}",
        labels=(Label(said.passes.span, f"known are {', '.join(known)}"),),
        aimet="AIMET knows a fixed list of graph passes, and stops",
        instead="qsimc leaves it out",
        helps=tuple(f"did you mean `{meant}` instead of `{name}`?" for name, meant in near),
        vendor=Vendor(TOOL, "ValueError", f"Graph pass requested but not found: {unknown}."),
    )
    differences.fails("Q0209", difference)


def _is_sorted(graph: Graph, report: Report) -> bool:
    """Check that nodes read only what is there: the walks below go upwards and must end."""
    computed: set[str] = set()
    for node in graph.nodes:
        for tensor in (*node.inputs, *node.captures):
            if tensor not in computed and tensor in graph.producer:
                message = f"`{node.name}` ({node.op}) reads `{tensor}` before it is computed"
                help_ = "sort the model's nodes: every ONNX runtime wants them in topological order"
                report(
                    Diagnostic(
                        code="Q0528", name="unsorted-graph", severity=Severity.ERROR, message=message, helps=(help_,)
                    )
                )
                return False
        computed.update(node.outputs)
    return True
