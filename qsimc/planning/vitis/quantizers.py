"""Which quantizers a network gets, in the order of the original's file of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qsimc.diagnostics import Diagnostic, Report, Severity, Vendor
from qsimc.ir.levels import Level
from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Decision, Edge, Kind, Mode, Reason
from qsimc.planning.rules import VITIS_MIXED, VITIS_WIDTHS
from qsimc.planning.vitis.device import Device
from qsimc.planning.vitis.groups import Groups
from qsimc.planning.vitis.kinds import RETURN
from qsimc.planning.vitis.network import EDGE, Layer, Network, Param
from qsimc.planning.vitis.settings import Settings
from qsimc.spec import keymap

_KINDS = {"input": Kind.INPUT, "const": Kind.CONSTANT}

_WIDTHS_COMPARED = ("conv2d", "dense")
"""Layers whose inputs the original quantizes once more where weights have another width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """One quantizer.

    Attributes:
        section, index, label, datatype: see `qsimc.planning.plan.Entry`.
        layer: the layer whose output, parameter or input it quantizes.
        tensor: what it quantizes; empty where the graph has no tensor for it, or it is no number.
        role: `output`, `input`, `weight` or `bias`.
        edge: what lacks a tensor of its own.
    """

    section: str
    layer: Layer
    tensor: str
    kind: Kind
    role: str
    decisions: tuple[Decision, ...]
    axis: int | None = None
    param: Param | None = None
    index: int = 0
    label: int | None = None
    edge: Edge | None = None

    @property
    def datatype(self) -> str:
        """The original's word for the type."""
        said = {decision.field: decision.value for decision in self.decisions}
        family = Numeric(str(said["type"]))
        return family.value if family is Numeric.INT else f"{family.value}{said['bits']}"


def quantizers(
    network: Network, groups: Groups, settings: Settings, device: Device, report: Report
) -> Iterator[Quantizer]:
    """Yield every quantizer of a network: parameters, then outputs, then inputs of single layers."""
    placer = _Placer(network, groups, settings, device, report)
    if settings.mixed:
        yield from placer.mixed()
    else:
        yield from placer.params()
        yield from placer.outputs()
        if settings.mode is Mode.VENDOR:
            yield from placer.inputs_of_other_widths()


@dataclass(frozen=True, slots=True)
class _Placer:
    network: Network
    groups: Groups
    settings: Settings
    device: Device
    report: Report

    # ── integers everywhere ──────────────────────────────────────────────────────────────────

    def params(self) -> Iterator[Quantizer]:
        """Yield the parameters of quantized layers."""
        for layer in self.network.layers:
            if layer.row.quantized:
                found = [self._param(layer, param) for param in layer.params]
                if self.settings.mode is Mode.VENDOR and not self.device.fix_positions:
                    self._report_exceptions(found)
                yield from found

    def outputs(self) -> Iterator[Quantizer]:
        """Yield one quantizer per group, and those of floats that quantized layers read."""
        for ending, layer in self.groups.outputs:
            yield self._output(ending, self.settings.of_group(self.groups.of[layer], self.report))

    def inputs_of_other_widths(self) -> Iterator[Quantizer]:
        """Yield the inputs that the original quantizes once more because weights have another width.

        It then writes that width into the settings of inputs, which other layers share.
        """
        widths: dict[int, int] = {}
        for layer in self.network.layers:
            weight = next((p for p in layer.params if p.role == "weight"), None)
            if layer.kind not in _WIDTHS_COMPARED or weight is None:
                continue
            decisions = self.settings.decisions(layer, "input")
            said = {d.field: d.value for d in decisions}
            wide = {d.field: d.value for d in self.settings.decisions(layer, "weight")}
            entries = self.settings.entries(layer, "input")
            shared = id(entries[-1] if entries else self.settings.general)
            width = widths.get(shared, said["bits"])
            if width == wide["bits"]:
                continue
            label = wide["bits"]
            assert isinstance(label, int), "a width of integers"
            widths[shared] = label
            detail = f"weights of `{layer.node.name}` have {label} bits, inputs {width}"
            # The DPU's quantizer takes the new width, the other one keeps the grid that it made before.
            if self.device.fix_positions:
                decisions = (*decisions, Decision("bits", label, Reason(VITIS_WIDTHS, detail=detail)))
            else:
                decisions = (*decisions, Decision("enabled", True, Reason(VITIS_WIDTHS, detail=detail)))
            yield self._input(layer, 0, decisions, label)

    # ── several datatypes ────────────────────────────────────────────────────────────────────

    def mixed(self) -> Iterator[Quantizer]:
        """Yield what the original quantizes as soon as any block names a float type: every tensor by itself.

        What is an integer is quantized only for the layers that it quantizes otherwise, too.
        """
        inner = [layer for layer in self.network.layers if layer.kind not in ("input", RETURN)]
        parametrised = [layer for layer in inner if layer.row.quantized and layer.kind != "prelu"]
        params = [self._param(layer, param) for layer in parametrised for param in layer.params]
        outputs = [self._output(layer, self.settings.decisions(layer, "output")) for layer in inner]
        last = [layer for layer in self.network.layers if layer.kind == RETURN]
        inputs = [q for layer in (*last, *inner) for q in self._inputs(layer)]
        for section in (params, outputs, inputs):
            taken = [q for q in section if q.datatype != "int" or q.layer.row.quantized]
            yield from (q for q in taken if q.datatype == "int")
            yield from (q for q in taken if q.datatype != "int")

    def _inputs(self, layer: Layer) -> Iterator[Quantizer]:
        decisions = self.settings.decisions(layer, "input")
        reason = Reason(VITIS_MIXED, detail=f"for `{layer.node.name or 'the caller'}`")
        decisions = (*decisions, Decision("enabled", True, reason))
        for index, _ in enumerate(layer.inputs):
            yield self._input(layer, index, decisions, None)
        if layer.kind == "prelu":
            for param in layer.params:
                found = self._param(layer, param, "input")
                yield replace(found, section="input", param=None, index=len(layer.inputs))

    def _report_exceptions(self, params: Sequence[Quantizer]) -> None:
        """Report parameters at which the original's quantizer of scales ends in an exception."""
        for quantizer in params:
            said = {decision.field: decision.value for decision in quantizer.decisions}
            known = self.network.graph.tensors.get(quantizer.tensor)
            shape = known.shape if known is not None else None
            if quantizer.layer.kind == "prelu":
                self.report(_stops(quantizer, "a PReLU", "TypeError", "'NoneType' object is not subscriptable"))
            elif said["per_channel"] and shape and quantizer.axis is not None and shape[quantizer.axis] == 1:
                self.report(_stops(quantizer, "a weight of one channel", "IndexError", "list index out of range"))

    # ── one quantizer ────────────────────────────────────────────────────────────────────────

    def _param(self, layer: Layer, param: Param, said: str = "") -> Quantizer:
        decisions = self.settings.decisions(layer, said or self._role_of(layer, param))
        decisions = (*decisions, *self.device.decisions(param.role, decisions))
        return Quantizer(
            section="param",
            layer=layer,
            tensor=param.tensor,
            kind=Kind.PARAM,
            role=param.role,
            decisions=decisions,
            axis=param.axis,
            param=param,
        )

    def _role_of(self, layer: Layer, param: Param) -> str:
        """Return whose settings a parameter takes: a layer norm's factor and other factors take activations'."""
        if layer.kind == "layer_norm" and param.role == "weight":
            return "output"
        return "output" if layer.kind == "prelu" and self.settings.mode is Mode.VENDOR else param.role

    def _output(self, ending: Layer, decisions: tuple[Decision, ...]) -> Quantizer:
        is_input = ending.kind == "input"
        if is_input and self.settings.mode is Mode.FIXED:
            # The document's `input` is the network's input; the program takes the settings of activations.
            own = [d for level in self.settings.entries(ending, "output") for d in decisions if _is_of(d, level)]
            decisions = (*self.settings.decisions(ending, "input"), *own)
        decisions = (*decisions, *self.device.decisions("output", decisions, network_input=is_input))
        return Quantizer(
            section="output",
            layer=ending,
            tensor=ending.output if self.network.is_float(ending.output) else "",
            kind=_KINDS.get(ending.kind, Kind.ACTIVATION),
            role=ending.kind if ending.kind in _KINDS else "output",
            decisions=decisions,
        )

    def _input(self, layer: Layer, index: int, decisions: tuple[Decision, ...], label: int | None) -> Quantizer:
        tensor = layer.inputs[index]
        node = self.network.graph.producer.get(tensor)
        stands = node is not None and node.origin.function == EDGE
        is_float = self.network.is_float(tensor)
        said = {decision.field: decision.value for decision in decisions}
        # The original quantizes integers where they lie, so that whoever reads them later gets them quantized.
        in_place = self.settings.mode is Mode.VENDOR and said["type"] == Numeric.INT
        return Quantizer(
            section="input",
            layer=layer,
            tensor=tensor if stands and is_float else "",
            kind=Kind.ACTIVATION,
            role="input",
            decisions=(*decisions, *self.device.decisions("input", decisions)),
            index=index,
            label=label,
            edge=None if stands or not is_float else Edge(tensor, layer.output, _reading(layer, tensor), in_place),
        )


def _stops(quantizer: Quantizer, what: str, name: str, text: str) -> Diagnostic:
    return Diagnostic(
        code="Q0548",
        name="vendor-stops",
        severity=Severity.ERROR,
        message=f"vai_q_pytorch stops at `{quantizer.tensor}` of `{quantizer.layer.node.name}`: {what}",
        helps=("quantize with `--mode fixed`, which goes on",),
        vendor=Vendor(keymap.load("vitis").tool, name, text),
    )


def _reading(layer: Layer, tensor: str) -> tuple[str, ...]:
    """Return what those nodes of a layer give that read a tensor."""
    return tuple(node.outputs[0] for node in layer.members if tensor in node.inputs and node.outputs)


def _is_of(decision: Decision, level: Level) -> bool:
    spans = [setting.span for setting in level.own["output"].values()]
    return decision.reason.span in spans
