"""Plan and data to encodings: params from their values, activations from what the model makes of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc import native
from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.accumulator import Raised, raise_weight_scales
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.jointly import encode_all
from qsimc.calibrate.observed import Observed
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.observers import AVAILABLE, channels_first, observer_for
from qsimc.calibrate.ranges import fixed_range
from qsimc.calibrate.sketch import Sketch
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.ir.quant import Numeric, QuantSpec
from qsimc.planning.plan import Decision, Kind, Mode, Plan, Reason, TensorPlan
from qsimc.planning.rules import INFINITE
from qsimc.planning.vitis.device import FIX_POSITIONS

Seen = Callable[[int], None]

_NUMERICS: dict[str, Numerics] = {"aimet": "aimet"}
"""Whose range rules the configurations of a dialect mean."""

_VITIS = "vitis"

_RAISES_WEIGHT_SCALES = "aimet"
"""The dialect whose hardware has int32 accumulators that weight scales are fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What calibration found.

    Attributes:
        encodings: tensor -> encoding, for every tensor quantized to integers, sharing ones included.
        observers: quantizer owner -> the statistic its encoding came from; mergeable with other shards'.  Quantizers
            of nothing but constants have none: theirs is gone with the encoding made of it.
        sketches: activation -> a sample of its values, for the report.
        plan: the plan, less the quantizers that found infinity.
        findings: what calibration changed after the fact.
        biases: corrected bias -> its values, which are to take the place of the model's.
        offsets: output of a layer -> what was taken off its bias.
        filed: tensor -> the one whose entry it took over after calibration.
    """

    encodings: Mapping[str, Encoding]
    observers: Mapping[str, Observer]
    sketches: Mapping[str, Sketch]
    plan: Plan
    findings: tuple[Diagnostic, ...] = ()
    biases: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    offsets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    filed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What is known without data: the tensors of each quantizer, and what the constants among them give.

    Attributes:
        groups: quantizer owner -> the tensors that it quantizes.
        live: owner of a quantizer to integers that depends on data -> its statistic so far.
        encodings: owner of a quantizer of nothing but constants -> its encoding.
    """

    groups: Mapping[str, Sequence[TensorPlan]]
    live: Mapping[str, Observer]
    encodings: Mapping[str, Encoding]


def calibrate(backend: Backend, model: Model, plan: Plan, batches: Iterable[Batch], seen: Seen) -> Calibration:
    """Return the encodings of a plan on some data.

    Memory does not grow with the number of batches.  As AIMET does, the model runs with its params
    quantized and its activations, constant ones included, not.

    Raises:
        InputError: the data or what the model makes of it cannot be used (Q06xx, Q0508).
    """
    constants = observe_constants(model, plan)
    return encode(model, plan, constants, observe(backend, model, plan, constants, batches, seen))


def observe_constants(model: Model, plan: Plan) -> Constants:
    """Return what is known of a plan's quantizers without data.

    Raises:
        InputError: a constant is not a number (Q0607), or a quantizer cannot be calibrated as asked (Q0610).
    """
    groups = _groups(plan)
    encodings: dict[str, Encoding] = {}
    live: dict[str, Observer] = {}
    for owner, members in groups.items():
        if plan[owner].spec.type is not Numeric.INT:
            continue
        observer = _constants_observed(model, members, unobserved(plan, owner))
        if all(is_constant(t) for t in members):
            # A histogram for each channel of each weight would take more memory than the weights.
            encodings |= _encoded(plan, {owner: observer})
        else:
            live[owner] = observer
    return Constants(groups=groups, live=live, encodings=encodings)


def observe(
    backend: Backend,
    model: Model,
    plan: Plan,
    constants: Constants,
    batches: Iterable[Batch],
    seen: Seen,
    live: Mapping[str, Observer] | None = None,
) -> Observed:
    """Return what a pass over some data leaves.

    Args:
        live: the observers to extend, and with them the only quantizers to watch; all by default.

    Raises:
        InputError: the data or what the model makes of it cannot be used (Q06xx, Q0508).
    """
    live = constants.live if live is None else live
    groups, encodings = constants.groups, constants.encodings
    drawn = {t.tensor: (Sketch.empty(),) for owner, t in _members(groups) if owner in live and not is_constant(t)}
    params = {t.tensor: encodings[o] for o, t in _members(groups) if o in encodings and t.kind is Kind.PARAM}
    fed = {owner: (observer,) for owner, observer in live.items()}
    found, sampled = backend.observe(model, plan, params, batches, fed, drawn, seen)
    return Observed(
        observers={owner: observer for owner, (observer,) in found.items()},
        sketches={tensor: sketch for tensor, (sketch,) in sampled.items()},
    )


def encode(model: Model, plan: Plan, constants: Constants, observed: Observed) -> Calibration:
    """Return the encodings of what was observed."""
    groups = constants.groups
    encodings = {**constants.encodings, **_encoded(plan, observed.observers)}
    infinite = [owner for owner in constants.live if owner not in observed.observers]
    by_tensor = {t.tensor: encodings[owner] for owner, t in _members(groups) if owner in encodings}
    raised: tuple[Raised, ...] = ()
    if plan.dialect == _RAISES_WEIGHT_SCALES:
        by_tensor, raised = raise_weight_scales(plan.graph, by_tensor, model.constant)
    return Calibration(
        encodings=by_tensor,
        observers=observed.observers,
        sketches={t: s for t, s in observed.sketches.items() if t in by_tensor and isinstance(s, Sketch)},
        plan=left_float(plan, infinite),
        findings=(
            *_slow_path(),
            *(infinite_tensor(model, owner) for owner in infinite),
            *(_weight_scale_raised(model, change) for change in raised),
        ),
    )


def numerics_of(plan: Plan, spec: QuantSpec) -> Numerics:
    """Return whose range rules a spec's encoding follows: its dialect's, where that tool has the calibration."""
    if plan.dialect == _VITIS:
        return "vitis-dpu" if (plan.target or FIX_POSITIONS[0]) in FIX_POSITIONS else "vitis-cpu"
    numerics = _NUMERICS.get(plan.dialect, "onnx")
    return numerics if spec.calib in AVAILABLE[numerics] else "onnx"


def _groups(plan: Plan) -> dict[str, list[TensorPlan]]:
    """Return the tensors of each quantizer, by the tensor that owns it."""
    groups: dict[str, list[TensorPlan]] = {}
    for t in plan.enabled():
        groups.setdefault(t.owner, []).append(t)
    return groups


def _members(groups: Mapping[str, Sequence[TensorPlan]]) -> Iterator[tuple[str, TensorPlan]]:
    return ((owner, t) for owner, members in groups.items() for t in members)


def is_constant(t: TensorPlan) -> bool:
    """Return whether the model stores a tensor."""
    return t.kind in (Kind.PARAM, Kind.CONSTANT)


def unobserved(plan: Plan, owner: str) -> Observer:
    """Return the observer of a quantizer that has seen nothing.

    Raises:
        InputError: it cannot be calibrated as asked (Q0610).
    """
    t = plan[owner]
    shape = plan.graph.tensors[owner].shape
    channels = 1 if t.axis is None else (shape or ())[t.axis]
    assert channels is not None, f"channels of {owner} are not known"
    try:
        return observer_for(t.spec, numerics_of(plan, t.spec), channels)
    except ValueError as error:
        raise InputError([unavailable(owner, str(error))]) from error


def _constants_observed(model: Model, members: Iterable[TensorPlan], observer: Observer) -> Observer:
    for t in members:
        if is_constant(t):
            values = np.asarray(model.constant(t.tensor), dtype=np.float32)
            try:
                observer = observer.observe(channels_first(values, t.axis))
            except ValueError as error:
                raise InputError([not_finite(model, t.tensor, "constant")]) from error
    return observer


def _encoded(plan: Plan, observers: Mapping[str, Observer]) -> dict[str, Encoding]:
    """Return the encodings of quantizers by their owners."""
    found: dict[str, Encoding] = {}
    searched: list[str] = []
    for owner in observers:
        spec = plan[owner].spec
        if spec.range is not None and None not in spec.range:
            found[owner] = fixed_range(spec, numerics_of(plan, spec), plan[owner].axis)
        else:
            searched.append(owner)
    asked = [(observers[owner], plan[owner].spec, plan[owner].axis) for owner in searched]
    found.update(zip(searched, encode_all(asked), strict=True))
    # The range follows the vendor's rules; the arithmetic is the runtime's, unless the vendor's is asked for.
    vendor = plan.mode is Mode.VENDOR
    return {o: replace(e, numerics=numerics_of(plan, plan[o].spec) if vendor else "onnx") for o, e in found.items()}


def _slow_path() -> Iterator[Diagnostic]:
    """Yield Q0623 if the kernels should be there and are not."""
    if native.wanted() and native.kernels() is None:
        yield Diagnostic(
            code="Q0623",
            name="kernels-not-installed",
            severity=Severity.INFO,
            message="calibration counts with NumPy, which takes longer: the kernels are not installed",
            helps=("install a C compiler, and then qsimc again",),
        )


def left_float(plan: Plan, infinite: Sequence[str]) -> Plan:
    """Return the plan with the quantizers of some tensors switched off, because no grid holds infinity."""
    if not infinite:
        return plan

    def off(t: TensorPlan) -> TensorPlan:
        if t.owner not in infinite or not t.spec.enabled:
            return t
        decision = Decision("enabled", False, Reason(INFINITE, detail=f"`{t.owner}` held infinity in calibration"))
        return replace(
            t,
            spec=replace(t.spec, enabled=False),
            because={**t.because, "enabled": decision.reason},
            history=(*t.history, decision),
        )

    return replace(plan, tensors={name: off(t) for name, t in plan.tensors.items()})


def infinite_tensor(model: Model, owner: str) -> Diagnostic:
    """Return Q0614: a tensor stays float because it held infinity."""
    return Diagnostic(
        code="Q0614",
        name="infinite-tensor",
        severity=Severity.WARNING,
        message=f"`{owner}` holds infinity, so it stays float",
        helps=("if a mask adds -inf, let it add a large finite number, such as -10000",),
        path=model.path,
    )


def _weight_scale_raised(model: Model, change: Raised) -> Diagnostic:
    if change.of == 1:
        what = f"the scale of `{change.weight}` was"
    else:
        what = f"{change.channels} of {change.of} scales of `{change.weight}` were"
    return Diagnostic(
        code="Q0613",
        name="weight-scale-raised",
        severity=Severity.INFO,
        message=f"{what} raised, up to {change.factor:.3g} times: {change.why}",
        notes=(f"the accumulator of `{change.node}` counts in steps of input scale x weight scale",),
        path=model.path,
    )


def unavailable(tensor: str, message: str) -> Diagnostic:
    """Return Q0610: a tensor cannot be calibrated as its settings ask."""
    return Diagnostic(
        code="Q0610",
        name="no-such-calibration",
        severity=Severity.ERROR,
        message=f"`{tensor}` cannot be calibrated as asked: {message}",
        helps=("choose another method with `--calib`",),
    )


def not_finite(model: Model, tensor: str, what: str) -> Diagnostic:
    """Return Q0607: a constant or an activation is not a number."""
    return Diagnostic(
        code="Q0607",
        name="not-finite-tensor",
        severity=Severity.ERROR,
        message=f"the {what} `{tensor}` holds NaN",
        helps=("look where the model was trained or converted: a weight is not a number",),
        path=model.path,
    )
