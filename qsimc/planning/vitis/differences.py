"""Where fixed mode does as the document of Vitis AI says and its program does otherwise, on one network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qsimc.diagnostics import Diagnostic, Label, Severity
from qsimc.ir.levels import Level
from qsimc.ir.quant import Numeric
from qsimc.ir.select import show
from qsimc.planning.plan import Decision
from qsimc.planning.vitis.device import Device
from qsimc.planning.vitis.network import Layer, Network
from qsimc.planning.vitis.quantizers import Quantizer
from qsimc.planning.vitis.rewrites import is_on
from qsimc.planning.vitis.settings import Settings
from qsimc.source import Span

_DPU_ARITHMETIC = ("leaky_relu", "hswish", "hsigmoid", "avgpool", "adaptive_avg_pool2d")
"""Layers that the program gives the DPU's constants on every device."""

_ROLES = ("weight", "bias", "output", "input")


@dataclass(frozen=True, slots=True)
class _View:
    network: Network
    settings: Settings
    device: Device
    quantizers: tuple[Quantizer, ...]


def differences(
    network: Network, settings: Settings, device: Device, quantizers: Iterable[Quantizer]
) -> Iterator[Diagnostic]:
    """Yield Q0547 for each thing that `--mode vendor` would do otherwise here; what a file says alone is checked."""
    view = _View(network, settings, device, tuple(quantizers))
    yield from _rectifiers(view)
    yield from _arithmetic(view)
    yield from _network_inputs(view)
    yield from _entries_by_name(view)
    yield from _asymmetric(view)
    yield from _shared_inputs(view)


def _rectifiers(view: _View) -> Iterator[Diagnostic]:
    found = _of_kinds(view.network, ("relu6",))
    if found and is_on(view.settings.config, "include_cle"):
        option = view.settings.config.option("include_cle")
        yield _difference(
            f"{_first(found)} keeps its bound, since `convert_relu6_to_relu` is off",
            "vai_q_pytorch makes every ReLU6 a ReLU while `include_cle` is on",
            (option.span,) if option is not None else (),
        )


def _arithmetic(view: _View) -> Iterator[Diagnostic]:
    found = _of_kinds(view.network, _DPU_ARITHMETIC)
    if found and not view.device.fix_positions:
        yield _difference(
            f"{_first(found)} computes as in the float model",
            "vai_q_pytorch gives leaky ReLUs, average pools and hard activations the DPU's constants on every device",
            (),
        )


def _network_inputs(view: _View) -> Iterator[Diagnostic]:
    for layer in _of_kinds(view.network, ("input",)):
        said, others = (_values(view.settings.decisions(layer, role)) for role in ("input", "output"))
        fields = sorted(name for name, decision in said.items() if others[name].value != decision.value)
        # How ties are rounded is the device's matter.
        fields = [name for name in fields if name != "round"]
        if fields:
            spans = [d.reason.span for name in fields for d in (said[name], others[name]) if d.reason.span is not None]
            yield _difference(
                f"the model input `{layer.output}` takes `{fields[0]}` from the settings of `input`",
                "vai_q_pytorch quantizes the model's inputs by the settings of `activation`",
                spans,
            )
            return


def _entries_by_name(view: _View) -> Iterator[Diagnostic]:
    for layer, by_name in view.settings.by_layer.items():
        by_type = view.settings.by_kind.get(layer.kind)
        if by_type is None:
            continue
        roles = [role for role in _ROLES if by_type.own[role] and not by_name.own[role]]
        if roles:
            yield _difference(
                f"`{layer.node.name}` takes its {roles[0]} from the entry for `{show(by_type.selector)}`",
                "in vai_q_pytorch an entry by name takes the one by type away, also for what it does not speak of",
                [span for level in (by_name, by_type) for span in _span(level)],
            )


def _asymmetric(view: _View) -> Iterator[Diagnostic]:
    for quantizer in view.quantizers:
        said = _values(quantizer.decisions)
        if said["type"].value == Numeric.INT and said["symmetric"].value is False and said["enabled"].value:
            span = said["symmetric"].reason.span
            yield _difference(
                "asymmetric ranges are widened to hold zero, and a zero point belongs to its scale",
                "vai_q_pytorch widens none, and over several batches finds scale and zero point apart",
                () if span is None else (span,),
            )
            return


def _shared_inputs(view: _View) -> Iterator[Diagnostic]:
    readers = Counter(tensor for layer in view.network.layers for tensor in dict.fromkeys(layer.inputs))
    for quantizer in view.quantizers:
        tensor = quantizer.edge.tensor if quantizer.edge is not None else ""
        if tensor and readers[tensor] > 1 and quantizer.datatype == "int":
            yield _difference(
                f"`{tensor}` is quantized for `{quantizer.layer.node.name}` alone",
                "vai_q_pytorch quantizes it where it lies, so that later layers read the result",
                (),
            )
            return


def _of_kinds(network: Network, kinds: Iterable[str]) -> list[Layer]:
    return [layer for layer in network.layers if layer.kind in kinds]


def _first(layers: list[Layer]) -> str:
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    return f"`{layers[0].node.name}`{more}"


def _values(decisions: Iterable[Decision]) -> dict[str, Decision]:
    return {decision.field: decision for decision in decisions}


def _span(level: Level) -> Iterator[Span]:
    if level.span is not None:
        yield level.span


def _difference(message: str, vendor: str, spans: Iterable[Span]) -> Diagnostic:
    return Diagnostic(
        code="Q0547",
        name="differs-from-vendor",
        severity=Severity.INFO,
        message=message,
        labels=tuple(map(Label, dict.fromkeys(spans))),
        notes=(vendor,),
        helps=("`--mode vendor` does as vai_q_pytorch",),
    )
