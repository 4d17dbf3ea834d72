"""Calibration: one pass over the data, nothing kept but the observers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from qsimc.backend import Batch, samples
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer, Wants
from qsimc.calibrate.observers import channels_first
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc_onnx.build import instrument
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.order import execution_order
from qsimc_onnx.probes import Readings, attach, sample_step
from qsimc_onnx.session import expose, load, quiet_options, run_once

Observers: TypeAlias = "Mapping[str, Sequence[Observer]]"

_STORED = (Kind.PARAM, Kind.CONSTANT)


def observe(
    model: OnnxModel,
    plan: Plan,
    params: Mapping[str, Encoding],
    batches: Iterable[Batch],
    observers: Observers,
    sketches: Observers,
    seen: Callable[[int], None],
) -> tuple[Observers, Observers]:
    """Run the model over `batches`, params fake-quantized and activations not, and extend observers and sketches.

    An activation that shares a quantizer feeds the observers of its owner, in graph order, and its own sketches.
    Params and constants do not depend on the data and feed nothing.  `seen` gets each batch's number of samples.
    A quantizer one of whose tensors held infinity is missing from what is returned: it has no range.

    Raises:
        InputError: onnxruntime cannot run the model on a batch (Q0508), or an activation is NaN (Q0607).
    """
    state = {owner: list(sequence) for owner, sequence in observers.items()}
    drawn = {tensor: list(sequence) for tensor, sequence in sketches.items()}
    watched = {p.tensor: p for p in _in_order(plan) if p.kind not in _STORED}
    fed = {tensor: (state.get(p.owner, []), drawn.get(tensor, [])) for tensor, p in watched.items()}
    wants = {tensor: wanted for tensor, p in watched.items() if (wanted := _wants(p, [*chain(*fed[tensor])]))}
    if not wants:
        for batch in batches:
            seen(samples(batch))
        return state, drawn
    infinite: set[str] = set()
    with _probed(model, plan, params, wants) as (session, readings):
        for batch in batches:
            # What a batch made is gone before the next one runs: only the observers outlive it.
            for tensor, taken in _read(session, readings, batch, {t: watched[t].axis for t in wants}, model.path):
                if not taken:
                    infinite.add(watched[tensor].owner)
                    continue
                for extended in fed[tensor]:
                    extended[:] = [observer.observe(taken[observer.wants]) for observer in extended]
            del taken
            seen(samples(batch))
    return (
        {owner: sequence for owner, sequence in state.items() if owner not in infinite},
        {t: sequence for t, sequence in drawn.items() if t not in watched or watched[t].owner not in infinite},
    )


def _in_order(plan: Plan) -> Sequence[TensorPlan]:
    """Return what is quantized in graph order; in vendor mode as the vendor's runtime comes upon it."""
    if plan.mode is not Mode.VENDOR:
        return plan.enabled()
    places = execution_order(plan.graph)
    return sorted(plan.enabled(), key=lambda p: places.get(p.tensor, -1))


def _read(
    session: onnxruntime.InferenceSession,
    readings: Readings,
    batch: Batch,
    axes: Mapping[str, int | None],
    path: str,
) -> Iterator[tuple[str, Mapping[Wants, NDArray[np.float32]]]]:
    """Run one batch and yield what was taken of each tensor, nothing of one that holds infinity.

    Raises:
        InputError: a tensor holds NaN (Q0607).
    """
    found = dict(zip(readings.outputs, run_once(session, readings.outputs, batch, path), strict=True))
    for tensor, axis in axes.items():
        taken = _taken(tensor, axis, found, readings)
        if taken is None:
            raise InputError([_not_finite(tensor, path)])
        yield tensor, taken


def _wants(planned: TensorPlan, observers: Sequence[Observer]) -> frozenset[Wants]:
    """Return what to take of a tensor; statistics per channel are made from its values."""
    wanted = frozenset(observer.wants for observer in observers)
    return wanted if planned.axis is None or not wanted else frozenset({Wants.VALUES})


@contextmanager
def _probed(
    model: OnnxModel, plan: Plan, params: Mapping[str, Encoding], wants: Mapping[str, frozenset[Wants]]
) -> Iterator[tuple[onnxruntime.InferenceSession, Readings]]:
    """Open a session of the optimised model with probes in it, and say what its outputs are.

    The optimised model lies in a private folder, weights beside it, so that its size is not limited.
    In vendor mode nothing is optimised: between the vendor's quantizers nothing can be fused, and a
    fused operator rounds differently in the last place.
    """
    stored = [p for p in plan.enabled() if p.kind in _STORED]
    proto = instrument(model, stored, params)
    # onnxruntime fuses nothing across an output, so every tensor to observe survives its optimiser.
    expose(proto, wants)
    with tempfile.TemporaryDirectory(prefix="qsimc-") as private:
        optimised = Path(private) / "optimised.onnx"
        load(proto.SerializeToString(), _optimising(optimised, plan.mode), model.path)
        proto = onnx.load_model(optimised, load_external_data=False)
        readings = attach(proto, wants)
        probed = optimised.with_name("probed.onnx")
        probed.write_bytes(proto.SerializeToString())
        yield load(str(probed), _in_file_order(), model.path), readings


def _optimising(path: Path, mode: Mode) -> onnxruntime.SessionOptions:
    """Return options under which loading a model writes what onnxruntime makes of it."""
    options = quiet_options()
    if mode is Mode.VENDOR:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", f"{path.name}.data")
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
    return options


def _in_file_order() -> onnxruntime.SessionOptions:
    """Return options under which an optimised model runs as it is, each probe right after what it observes.

    The observed tensor is still in the cache then, and its buffer is free at once.
    """
    options = quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    return options


def _taken(
    tensor: str, axis: int | None, found: Mapping[str, NDArray[Any]], readings: Readings
) -> Mapping[Wants, NDArray[np.float32]] | None:
    """Return what was read of one tensor, by what it is, each of shape (C, n).

    Nothing when it holds infinity, None when it holds NaN.
    """
    taken: dict[Wants, NDArray[np.float32]] = {}
    if tensor in readings.values:
        values = channels_first(found[readings.values[tensor]].astype(np.float32, copy=False), axis)
        taken[Wants.VALUES] = taken[Wants.RANGE] = values
        taken[Wants.SAMPLE] = values[:, :: sample_step(values.shape[1])]
    if tensor in readings.samples:
        taken[Wants.SAMPLE] = found[readings.samples[tensor]].reshape(1, -1)
    if tensor in readings.ranged:
        low, high, total = found[readings.ranges].reshape(-1, 3)[readings.ranged[tensor]]
        # The reductions may skip NaN, the sum does not; but infinities of both signs also add up to NaN.
        if np.isnan(total) and (low, high) != (-np.inf, np.inf):
            return None
        # A tensor without elements has an empty range, not one from inf to -inf.
        taken[Wants.RANGE] = np.array([[low, high] if low <= high else []], np.float32)
    # Where all values were taken, the range and the sample are views of them.
    whole = [taken[Wants.VALUES]] if Wants.VALUES in taken else [*taken.values()]
    if any(np.isnan(values).any() for values in whole):
        return None
    return taken if all(np.isfinite(values).all() for values in whole) else {}


def _not_finite(tensor: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0607",
        name="not-finite-tensor",
        severity=Severity.ERROR,
        message=f"the activation `{tensor}` is NaN: the model makes it of the data",
        helps=("check the scaling of the calibration data, and the float model on it",),
        path=path,
    )
