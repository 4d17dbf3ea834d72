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

from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.bias_correction import BiasCorrection
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
from qsimc.pipeline.correction import bias_of, channel_axis, correctable
from qsimc.pipeline.shifts import legal_shifts
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc.planning.vitis.network import Layer, Network

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
    steps = _Steps(model, plan, config, corrects)
    walk, twins = backend.walk(
        model,
        plan,
        [t.tensor for t in steps.activations.values()],
        {name: values for name, values in steps.constants.items() if name not in steps.changing},
        list(steps.changing),
        {layer.output: steps.references(layer) for layer in steps.corrected},
    )
    steps.twins = dict(twins)
    for batch in batches:
        walk.run(batch, steps.changing, steps.settle)
        seen(_samples(batch))
    return steps.finish()


def _samples(batch: Batch) -> int:
    first = next(iter(batch.values()))
    return len(first) if np.ndim(first) else 1


@dataclass(slots=True)
class _Steps:
    """What is known so far; `settle` is called with every tensor that a quantizer waits for."""

    model: Model
    plan: Plan
    config: Config
    corrects: bool
    activations: dict[str, TensorPlan] = field(default_factory=dict)
    observers: dict[str, VitisBatches] = field(default_factory=dict)
    encodings: dict[str, Encoding] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    changing: dict[str, NDArray[Any]] = field(default_factory=dict)
    corrections: dict[str, BiasCorrection] = field(default_factory=dict)
    corrected: tuple[Layer, ...] = ()
    references_of_biases: dict[str, NDArray[Any]] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
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
        if self.corrects:
            self.corrected = tuple(correctable(self.network, self.model))
            for layer in self.corrected:
                bias = bias_of(layer)
                self.references_of_biases[bias] = self._reference(bias)
                fed = self.changing[bias] = self.constants.get(bias, self.references_of_biases[bias])
                self.corrections[layer.output] = BiasCorrection(fed.astype(np.float32))

    def _cast_constant(self, planned: TensorPlan) -> None:
        """Give a parameter as a narrow float; the original calibrates with the float that it was."""
        values = np.asarray(self.model.constant(planned.tensor))
        self.constants[planned.tensor] = values if self.plan.mode is Mode.VENDOR else _cast(planned, values)

    def references(self, layer: Layer) -> Batch:
        """Return the parameters that a layer is compared by: its own, rounded where they are to be narrow floats."""
        return {param.tensor: self._reference(param.tensor) for param in layer.params}

    def _reference(self, tensor: str) -> NDArray[Any]:
        is_cast = tensor in self.plan.tensors and tensor not in self.observers and tensor in self.constants
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
        for output, twin in self.twins.items():
            if output in made and twin in made:
                # A layer that ends its group is compared after its quantizer, another one as it computes.
                self._correct(output, settled.get(output, self._narrowed(output, made[output])), made[twin])
        return settled

    def _narrowed(self, output: str, values: NDArray[Any]) -> NDArray[Any]:
        planned = self.plan.tensors.get(output)
        is_cast = planned is not None and planned.spec.enabled and planned.spec.type is not Numeric.INT
        return _cast(planned, values) if planned is not None and is_cast else values

    def _quantized(self, planned: TensorPlan, values: NDArray[Any]) -> NDArray[Any]:
        name = planned.tensor
        flat = channels_first(values.astype(np.float32, copy=False), None)
        if not np.isfinite(flat).all():
            if np.isnan(flat).any():
                raise InputError([not_finite(self.model, name, "activation")])
            self.infinite.add(name)
            return values
        self.sketches[name] = self.sketches[name].observe(flat[:, :: max(1, flat.size // 4096) | 1])
        try:
            self.observers[name] = self.observers[name].observe(self._reaching_zero(planned, flat))
        except ValueError as error:
            raise InputError([unavailable(name, str(error))]) from error
        self.encodings[name] = self._encoding(planned)
        return self.encodings[name].fake_quantize(values).astype(values.dtype, copy=False)

    def _correct(self, output: str, quantized: NDArray[Any], reference: NDArray[Any]) -> None:
        layer = self.network.by_output[output]
        correction = self.corrections[output].observe(quantized, reference, channel_axis(layer))
        self.corrections[output] = correction
        bias = bias_of(layer)
        self.changing[bias] = correction.bias.astype(self.changing[bias].dtype)

    def finish(self) -> Calibration:
        """Return what calibration found."""
        encodings = {name: e for name, e in self.encodings.items() if name not in self.infinite}
        encodings, moved, filed = legal_shifts(self.plan, self.config, self.network, encodings, self.model.path)
        offsets, biases = {}, {}
        for layer in self.corrected:
            bias = bias_of(layer)
            offsets[layer.output] = self.references_of_biases[bias] - self.corrections[layer.output].bias
            biases[bias] = np.asarray(self.model.constant(bias)) - offsets[layer.output]
        return Calibration(
            encodings={name: self._final(name, encoding) for name, encoding in encodings.items()},
            observers=dict(self.observers),
            sketches=self.sketches,
            plan=left_float(self.plan, sorted(self.infinite)),
            findings=(*(infinite_tensor(self.model, name) for name in sorted(self.infinite)), *moved),
            biases=biases,
            offsets=offsets,
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
