"""From what rules speak of to what AIMET builds: the quantizers that each class of modules really has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from qsimc.diagnostics import Vendor
from qsimc.ir.quant import Numeric
from qsimc.planning.difference import Difference, label
from qsimc.planning.plan import Decision, Kind, Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.rules import SIGNED_GRID, SYMMETRIC_RANGE
from qsimc.planning.torch.rules import INTEGER_RANGE, RANGE_POSITION
from qsimc.planning.torch.state import TOOL, PortResolution, Ports

_UNSUPPORTED = {"narrow_range": "Strict", "unsigned_symmetric": "Unsigned"}
_MIRRORED = Reason(SYMMETRIC_RANGE, detail="the fixed range reaches as far below zero as above")


def realise(resolution: PortResolution) -> None:
    """Replace every module's quantizers by those of its class, and bind each port to its own.

    Rules were applied to as many ports as the call has arguments and results.  A class has a number of its
    own (LSTM three each way, Embedding no input): surplus ports vanish, missing ones are made like the last.

    Raises:
        AimetError: in vendor mode, where a grid is asked for that AIMET's torch half does not have.
    """
    for name, told in resolution.ports.items():
        made = _real_ports(told)
        for quantizer in made.every:
            _check_grid(resolution, quantizer)
            quantizer.decide(Decision("signed", _is_signed(quantizer), SIGNED_GRID))
        _fix_ranges(resolution, told, made)
        resolution.ports[name] = made
        resolution.bound.update((quantizer.tensor, quantizer) for quantizer in made.every)


def _is_signed(quantizer: Quantizer) -> bool:
    return quantizer.symmetric and not quantizer.unsigned_symmetric


def _real_ports(told: Ports) -> Ports:
    row, name = told.row, told.module.name
    inputs = max(row.inputs, len(told.inputs)) if row.any_inputs else row.inputs
    return Ports(
        told.module,
        list(_ports(told.inputs, f"{name}.input", inputs)),
        list(_ports(told.outputs, f"{name}.output", row.outputs)),
        {param: _copy(quantizer, quantizer.tensor) for param, quantizer in told.params.items()},
    )


def _ports(told: Sequence[Quantizer], name: str, count: int) -> Iterator[Quantizer]:
    for i in range(count):
        copy = _copy(told[min(i, len(told) - 1)], f"{name}[{i}]")
        if i >= len(told):
            copy.kind = Kind.ACTIVATION
        yield copy


def _copy(quantizer: Quantizer, port: str) -> Quantizer:
    return replace(quantizer, tensor=port, range=None, history=[d for d in quantizer.history if d.field != "range"])


def _fix_ranges(resolution: PortResolution, told: Ports, made: Ports) -> None:
    """Give each port its fixed range.

    AIMET pairs the quantizers of a class with the ports that rules spoke of by position, although there may
    be more or fewer of them: the range of an LSTM's output goes to its second input.
    """
    shifted = len(told.inputs) != len(made.inputs) or len(told.outputs) != len(made.outputs)
    by_position = list(zip(made.every, told.every, strict=False))
    if shifted and resolution.differences.fixed:
        _report_shift(resolution, by_position)
        by_position = list(_by_port(told, made))
    for quantizer, source in by_position:
        said = source.last("range")
        if shifted and said.value is not None and not resolution.differences.fixed:
            said = replace(said, reason=Reason(RANGE_POSITION, said.reason.span, f"`{said.reason.rule}`"))
        _fix_range(quantizer, said)
    for quantizer in made.every:
        if not any(d.field == "range" for d in quantizer.history):
            quantizer.decide(Decision("range", None, Reason("default")))


def _by_port(told: Ports, made: Ports) -> Iterator[tuple[Quantizer, Quantizer]]:
    for ours, theirs in ((made.inputs, told.inputs), (made.outputs, told.outputs)):
        yield from ((quantizer, theirs[min(i, len(theirs) - 1)]) for i, quantizer in enumerate(ours))
    yield from ((quantizer, told.params[name]) for name, quantizer in made.params.items())


def _fix_range(quantizer: Quantizer, said: Decision) -> None:
    quantizer.decide(said)
    match said.value:
        case None:
            return
        case _ if quantizer.type is not Numeric.INT:
            quantizer.set("range", None, Reason(INTEGER_RANGE, detail="floats have no range to fix"))
        case (int() | float() as low, int() | float() as high) if abs(low + high) <= 1e-8 + 1e-5 * abs(high):
            quantizer.set("symmetric", True, _MIRRORED)


def _report_shift(resolution: PortResolution, pairs: Sequence[tuple[Quantizer, Quantizer]]) -> None:
    for quantizer, source in pairs:
        said = source.last("range")
        if said.value is None or quantizer.tensor == source.tensor:
            continue
        difference = Difference(
            code="Q0534",
            name="range-on-wrong-port",
            message=f"`{said.reason.rule}` fixes the range of `{source.tensor}`",
            labels=label(said, "this range"),
            aimet=f"AIMET counts ports wrongly here and gives the range to `{quantizer.tensor}`",
            instead="qsimc gives it to the port that the rule speaks of",
        )
        resolution.differences.differs(("Q0534", said.reason.rule), difference)


def _check_grid(resolution: PortResolution, quantizer: Quantizer) -> None:
    """Report strict and unsigned symmetric grids, which AIMET's torch half refuses to build."""
    if not quantizer.enabled or not quantizer.symmetric:
        return
    for name, word in _UNSUPPORTED.items():
        if not getattr(quantizer, name):
            continue
        said = quantizer.last(name)
        difference = Difference(
            code="Q0532",
            name="unsupported-symmetric-grid",
            message=f"`{said.reason.rule}` meets the symmetric `{quantizer.tensor}`",
            labels=label(said, f"{word.casefold()} symmetric"),
            aimet="AIMET's torch half has no such grid and stops at the first symmetric quantizer",
            instead="qsimc builds it",
            vendor=Vendor(TOOL, "AssertionError", f"{word} symmetric is not supported in quantsim v2"),
        )
        resolution.differences.fails(("Q0532", name), difference)
