"""Calibration as vai_q_pytorch does it: each batch goes through quantizers that are calibrated on the way.

What a quantizer knows after a batch quantizes that very batch, so later layers are calibrated on what they will
get.  Biases are corrected at the same time; fix positions are made legal for the shifters afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.backend import Backend, Batch, Model, samples
from qsimc.calibrate.casts import cast
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observers import channels_first, observer_for
from qsimc.calibrate.sketch import Sketch
from qsimc.calibrate.vitis_batches import VitisBatches
from qsimc.calibrate.vitis_kernels import SCALE_OF_NOTHING
from qsimc.diagnostics import Diagnostic, InputError
from qsimc.ir.config import Config
from qsimc.ir.quant import Numeric
from qsimc.pipeline.calibrate import (
    Calibration,
    Seen,
    infinite_tensor,
    left_float,
    not_finite,
    numerics_of,
    unavailable,
)
from qsimc.pipeline.correction import BiasCorrections
from qsimc.pipeline.shifts import legal_shifts
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc.planning.vitis.network import Network

_CONSTANTS = (Kind.PARAM, Kind.CONSTANT)


def calibrate_stepwise(
    backend: Backend,
    model: Model,
    plan: Plan,
    config: Config,
    batches: Iterable[Batch],
    seen: Seen,
    *,
    corrects: bool,
) -> Calibration:
    """Return the encodings of a plan of the dialect `vitis` on some data, and the biases that were corrected.

    `corrects` says whether any are.  Memory grows with the number of batches by a few numbers per quantizer only.

    Raises:
        InputError: the data or what the model makes of it cannot be used (Q06xx, Q0508).
    """
    steps = _Steps(model, plan, config)
    if corrects:
        steps.correct_biases()
    biases = steps.corrections
    fixed = {name: values for name, values in steps.constants.items() if name not in biases.changing}
    walk, biases.twins = backend.walk(
        model, plan, list(steps.activations), fixed, list(biases.changing), biases.references
    )
    for batch in batches:
        walk.run(batch, biases.changing, steps.settle)
        seen(samples(batch))
    return steps.finish()


@dataclass(slots=True)
class _Steps:
    """What is known so far; `settle` is called with every tensor that a quantizer waits for."""

    model: Model
    plan: Plan
    config: Config
    activations: dict[str, TensorPlan] = field(default_factory=dict)
    observers: dict[str, VitisBatches] = field(default_factory=dict)
    encodings: dict[str, Encoding] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    corrections: BiasCorrections = field(default_factory=lambda: BiasCorrections({}, {}, {}))
    infinite: set[str] = field(default_factory=set)
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        """Calibrate the constants, which are the same in every batch."""
        self.network = Network.of(self.plan.graph)
        for planned in self.plan.enabled():
            if planned.spec.type is not Numeric.INT:
                if planned.kind is Kind.PARAM:
                    self._cast_constant(planned)
                continue
            channels = 1
            if planned.axis is not None:
                channels = np.shape(self.model.constant(planned.tensor))[planned.axis]
            self.observers[planned.tensor] = self._observer(planned, channels)
            if planned.kind in _CONSTANTS:
                self._observe_constant(planned)
            else:
                self.activations[planned.tensor] = planned
                self.sketches[planned.tensor] = Sketch.empty()

    def correct_biases(self) -> None:
        """Begin to correct biases."""
        self.corrections = BiasCorrections.begin(self.network, self.model, self.constants, self._reference)

    def _cast_constant(self, planned: TensorPlan) -> None:
        """Give a parameter as a narrow float; the original calibrates with the float that it was."""
        values = np.asarray(self.model.constant(planned.tensor))
        self.constants[planned.tensor] = values if self.plan.mode is Mode.VENDOR else _cast(planned, values)

    def _reference(self, tensor: str) -> NDArray[Any]:
        """Return what a parameter is compared by: itself, rounded where it is to be a narrow float."""
        is_cast = tensor in self.constants and tensor not in self.observers
        return self.constants[tensor] if is_cast else np.asarray(self.model.constant(tensor))

    def _observer(self, planned: TensorPlan, channels: int) -> VitisBatches:
        try:
            found = observer_for(planned.spec, numerics_of(self.plan, planned.spec), channels)
        except ValueError as error:
            raise InputError([unavailable(planned.tensor, str(error))]) from error
        assert isinstance(found, VitisBatches), "the dialect's own numerics"
        return found

    def _observe_constant(self, planned: TensorPlan) -> None:
        values = np.asarray(self.model.constant(planned.tensor))
        if not values.size:
            return
        try:
            flat = channels_first(values.astype(np.float32), planned.axis)
            observed = self.observers[planned.tensor].observe(self._reaching_zero(planned, flat))
        except ValueError as error:
            raise InputError([_refused(self.model, planned, values, str(error))]) from error
        self.observers[planned.tensor] = observed
        encoding = self._encoding(planned)
        self.encodings[planned.tensor] = encoding
        self.constants[planned.tensor] = encoding.fake_quantize(values).astype(values.dtype, copy=False)

    def _encoding(self, planned: TensorPlan) -> Encoding:
        observer = self.observers[planned.tensor]
        if self.plan.mode is Mode.FIXED and not observer.rules.symmetric:
            return observer.joint_encoding(planned.spec, planned.axis)
        found = observer.encoding(planned.spec, planned.axis)
        if planned.spec.narrow_range and found.signed and found.qmin == -(1 << (found.bits - 1)):
            # Only FLEXML comes here: the DPU's own numerics know the full range alone.
            found = replace(found, qmin=found.qmin + 1)
        return found

    def _reaching_zero(self, planned: TensorPlan, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values, with zero among them where an asymmetric grid must hold it: not so in the original.

        A tensor of nothing but zeros gets the step that it has on a symmetric grid.
        """
        rules = self.observers[planned.tensor].rules
        if self.plan.mode is Mode.VENDOR or rules.symmetric or not flat.size:
            return flat
        least = 0.0 if flat.any() else SCALE_OF_NOTHING * rules.grid[1]
        ends = np.tile(np.array([0.0, least], np.float32), (len(flat), 1))
        return np.concatenate([flat, ends], axis=1)

    def settle(self, made: Batch) -> Batch:
        """Calibrate on what was just made, and return it quantized; correct the biases of layers among it."""
        settled = {n: self._quantized(self.activations[n], made[n]) for n in made if n in self.activations}
        # A layer that ends its group is judged after its quantizer, another one as it computes.
        self.corrections.observe(made, lambda name: settled.get(name, self._narrowed(name, made[name])))
        return settled

    def _narrowed(self, output: str, values: NDArray[Any]) -> NDArray[Any]:
        planned = self.plan.tensors.get(output)
        is_cast = planned is not None and planned.spec.enabled and planned.spec.type is not Numeric.INT
        return _cast(planned, values) if planned is not None and is_cast else values

    def _quantized(self, planned: TensorPlan, values: NDArray[Any]) -> NDArray[Any]:
        name = planned.tensor
        flat = channels_first(values.astype(np.float32, copy=False), None)
        if not flat.size:
            return values
        if not np.isfinite(flat).all():
            if np.isnan(flat).any():
                raise InputError([not_finite(self.model, name, "activation")])
            self.infinite.add(name)
            return values
        self.sketches[name] = self.sketches[name].observe(flat)
        try:
            self.observers[name] = self.observers[name].observe(self._reaching_zero(planned, flat))
        except ValueError as error:
            raise InputError([unavailable(name, str(error))]) from error
        self.encodings[name] = self._encoding(planned)
        return self.encodings[name].fake_quantize(values).astype(values.dtype, copy=False)

    def finish(self) -> Calibration:
        """Return what calibration found."""
        encodings = {name: e for name, e in self.encodings.items() if name not in self.infinite}
        encodings, moved, filed = legal_shifts(self.plan, self.config, self.network, encodings, self.model.path)
        return Calibration(
            encodings={name: self._final(name, encoding) for name, encoding in encodings.items()},
            observers=dict(self.observers),
            sketches=self.sketches,
            plan=left_float(self.plan, sorted(self.infinite)),
            findings=(*(infinite_tensor(self.model, name) for name in sorted(self.infinite)), *moved),
            biases=self.corrections.biases(self.model),
            offsets=self.corrections.offsets(),
            filed=filed,
        )

    def _final(self, name: str, encoding: Encoding) -> Encoding:
        """Return the encoding to deploy: the vendor's arithmetic for constants, the runtime's for what it computes."""
        if self.plan.mode is Mode.VENDOR or self.plan[name].kind in _CONSTANTS:
            return encoding
        return replace(encoding, numerics="onnx")


def _cast(planned: TensorPlan, values: NDArray[Any]) -> NDArray[Any]:
    family, bits = planned.spec.type, planned.spec.bits
    assert family is not None
    assert bits is not None
    return cast(values, family, bits).astype(values.dtype)


def _refused(model: Model, planned: TensorPlan, values: NDArray[Any], message: str) -> Diagnostic:
    if not np.isfinite(values).all():
        return not_finite(model, planned.tensor, "constant")
    return unavailable(planned.tensor, message)
