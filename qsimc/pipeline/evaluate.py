"""How much quantization changes: float model, simulation and deployable model on the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.data import Data, open_data
from qsimc.diagnostics import Diagnostic, InputError, Severity, in_order
from qsimc.outputs import safe_name
from qsimc.pipeline.results import Saved, saved
from qsimc.planning.plan import Kind

Values = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Powers:
    """Signal and error of a tensor, summed over batches; `finite` as long as both sides are where the first is."""

    signal: float = 0.0
    noise: float = 0.0
    worst: float = 0.0
    finite: bool = True

    def add(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Take in one batch of values of the same shape."""
        known = np.isfinite(reference)
        signal = np.where(known, reference, 0).astype(np.float64)
        found = np.where(known, other, 0).astype(np.float64)
        if not np.isfinite(found).all():
            self.finite = False
            return
        error = found - signal
        self.signal += float(np.square(signal).sum())
        self.noise += float(np.square(error).sum())
        self.worst = max(self.worst, float(np.abs(error).max(initial=0.0)))

    @property
    def sqnr(self) -> float:
        """Signal to error in dB; infinite without error, NaN without signal or with values that are not finite."""
        if not self.finite:
            return math.nan
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else math.nan


@dataclass(frozen=True, slots=True)
class TensorQuality:
    """The error that has gathered at one activation of the simulation, its own quantizer's included."""

    tensor: str
    op: str | None
    sqnr: float


@dataclass(frozen=True, slots=True)
class OutputQuality:
    """One model output: error of simulation and QDQ against float, and the distance between the two."""

    name: str
    sqnr_float_simulation: float
    sqnr_float_qdq: float
    max_abs_simulation_qdq: float
    finite: bool
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Tensors worst first; `samples` counts what was run."""

    samples: int
    outputs: tuple[OutputQuality, ...]
    tensors: tuple[TensorQuality, ...]
    qdq_equals_simulation: bool
    findings: tuple[Diagnostic, ...]


@dataclass(slots=True)
class _Sums:
    simulation: dict[str, Powers] = field(default_factory=dict)
    qdq: dict[str, Powers] = field(default_factory=dict)
    between: dict[str, Powers] = field(default_factory=dict)
    equal: dict[str, bool] = field(default_factory=dict)
    tensors: dict[str, Powers] = field(default_factory=dict)
    samples: int = 0


def evaluate(
    folder: Path, *, model: str, data: str, limit: int | None = None, batch_size: int | None = None
) -> Evaluation:
    """Run the float model, the simulation and the QDQ model over data, batch by batch, optimisations off.

    Raises:
        InputError: the folder, the model or the data cannot be used.
    """
    with saved(folder, model) as result, TemporaryDirectory(prefix="qsimc-") as private:
        findings = list(result.findings)
        batches = open_data(data, result.model.inputs, findings.append, batch_size=batch_size, limit=limit)
        if batches is None:
            raise InputError(in_order(findings))
        simulation = result.backend.build(result.model, result.plan, Path(private), result.encodings)[0]
        qdq = _deployable(result, Path(private), findings)
        sums = _compare(result, batches, simulation, qdq)
        findings += _not_finite(sums)
        return _evaluation(result, sums, findings)


def _deployable(result: Saved, private: Path, findings: list[Diagnostic]) -> Path:
    """Return the QDQ model of the result; one that was only calibrated has none, and gets it for the occasion."""
    stem = safe_name(result.original.stem)
    written = result.folder / f"{stem}.qdq.onnx"
    if written.is_file():
        return written
    return result.backend.export(result.model, result.plan, result.encodings, private, findings.append)[0]


def _not_finite(sums: _Sums) -> Iterator[Diagnostic]:
    """Yield a finding for the first tensor where the simulation leaves the finite numbers."""
    named = {**sums.tensors, **sums.simulation}
    first = next((tensor for tensor, powers in named.items() if not powers.finite), None)
    if first is not None:
        yield Diagnostic(
            code="Q0615",
            name="simulation-not-finite",
            severity=Severity.WARNING,
            message=f"the simulation is not finite at `{first}`",
            helps=("give the inputs of its operator more bits, or calibrate them by `minmax`",),
        )


def _compare(result: Saved, batches: Data, simulation: Path, qdq: Path) -> _Sums:
    outputs = list(result.model.graph.outputs)
    quantizers = result.backend.quantized(simulation)
    inner = [t.tensor for t in result.plan.enabled() if t.kind is Kind.ACTIVATION and t.tensor in quantizers]
    tapped = [t for t in inner if t not in outputs]
    sums = _Sums(tensors={t: Powers() for t in inner})
    # Each run reads the data again, so that no more than one batch of each is in memory.
    rows = zip(
        _truth(result, batches, outputs, tapped),
        _run(result, simulation, batches, [*outputs, *(quantizers[t] for t in tapped)]),
        _run(result, qdq, batches, outputs),
        strict=True,
    )
    for truth, simulated, deployed in rows:
        for name in outputs:
            _add(sums, name, truth[name], simulated[name], deployed[name])
        for tensor in inner:
            found = simulated[tensor if tensor in outputs else quantizers[tensor]]
            sums.tensors[tensor].add(truth[tensor], found)
        sums.samples += _samples(truth, outputs)
    return sums


def _truth(result: Saved, batches: Data, outputs: Sequence[str], tapped: Sequence[str]) -> Iterator[Values]:
    """Yield what the user's own model gives, and what its tensors hold in the model that the encodings are for."""
    floats = Path(result.model.path)
    if floats == result.original:
        yield from _run(result, floats, batches, [*outputs, *tapped])
        return
    given = _run(result, result.original, batches, outputs)
    for truth, inner in zip(given, _run(result, floats, batches, tapped), strict=True):
        yield {**inner, **truth}


def _run(result: Saved, model: Path, batches: Data, outputs: Sequence[str]) -> Iterator[Values]:
    return result.backend.run(model, batches, list(dict.fromkeys(outputs)), optimise=False)


def _samples(values: Values, outputs: Sequence[str]) -> int:
    first = values[outputs[0]]
    return len(first) if first.ndim else 1


def _add(sums: _Sums, name: str, truth: NDArray[Any], simulated: NDArray[Any], deployed: NDArray[Any]) -> None:
    sums.simulation.setdefault(name, Powers()).add(truth, simulated)
    sums.qdq.setdefault(name, Powers()).add(truth, deployed)
    sums.between.setdefault(name, Powers()).add(simulated, deployed)
    same = simulated.shape == deployed.shape and simulated.tobytes() == deployed.tobytes()
    sums.equal[name] = sums.equal.get(name, True) and same


def _evaluation(result: Saved, sums: _Sums, findings: list[Diagnostic]) -> Evaluation:
    outputs = tuple(
        OutputQuality(
            name=name,
            sqnr_float_simulation=sums.simulation[name].sqnr,
            sqnr_float_qdq=sums.qdq[name].sqnr,
            max_abs_simulation_qdq=sums.between[name].worst,
            finite=sums.simulation[name].finite and sums.qdq[name].finite,
            equal=sums.equal[name],
        )
        for name in sums.equal
    )
    tensors = (TensorQuality(t, result.plan[t].op, powers.sqnr) for t, powers in sums.tensors.items())
    return Evaluation(
        samples=sums.samples,
        outputs=outputs,
        tensors=tuple(sorted(tensors, key=lambda t: (math.isnan(t.sqnr), t.sqnr))),
        qdq_equals_simulation=all(o.equal for o in outputs),
        findings=tuple(in_order(findings)),
    )
