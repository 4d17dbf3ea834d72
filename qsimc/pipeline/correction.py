"""Bias correction for any configuration: a second pass over the data, with every quantizer as calibration left it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.bias_correction import BiasCorrection
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.pipeline.calibrate import Calibration
from qsimc.planning.plan import Kind
from qsimc.planning.vitis.network import Layer, Network

CORRECT_BIASES = "correct-biases"
"""The rewrite that needs data: it comes after calibration."""

_CONSTANTS = (Kind.PARAM, Kind.CONSTANT)


def correctable(network: Network, stores: Model) -> Iterator[Layer]:
    """Yield the layers whose biases can be corrected: products with a weight and a bias that the model stores."""
    for layer in network.layers:
        roles = {param.role: param.tensor for param in layer.params}
        if layer.row.corrected and {"weight", "bias"} <= roles.keys() and all(map(stores.stores, roles.values())):
            yield layer


def channel_axis(layer: Layer) -> int:
    """Return the axis of the channels in a layer's output."""
    return -1 if layer.kind == "dense" else 1


def bias_of(layer: Layer) -> str:
    """Return the tensor of a layer's bias."""
    return next(param.tensor for param in layer.params if param.role == "bias")


def correct_biases(backend: Backend, model: Model, found: Calibration, batches: Iterable[Batch]) -> Calibration:
    """Return the calibration with biases corrected; encodings stay as they are.

    Raises:
        InputError: onnxruntime cannot run the model on a batch (Q0508).
    """
    steps = _Steps(model, found)
    walk, twins = backend.walk(
        model,
        found.plan,
        steps.stops(),
        {name: values for name, values in steps.constants.items() if name not in steps.changing},
        list(steps.changing),
        {layer.output: steps.references(layer) for layer in steps.layers},
    )
    steps.twins = dict(twins)
    try:
        for batch in batches:
            walk.run(batch, steps.changing, steps.settle)
    except InputError as error:
        if all(finding.code == "Q0605" for finding in error.findings):
            return replace(found, findings=(*found.findings, _read_once(model)))
        raise
    return replace(found, biases=steps.biases())


@dataclass(slots=True)
class _Steps:
    model: Model
    found: Calibration
    layers: tuple[Layer, ...] = ()
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    changing: dict[str, NDArray[Any]] = field(default_factory=dict)
    corrections: dict[str, BiasCorrection] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Quantize the constants, and begin to correct the biases."""
        plan, encodings = self.found.plan, self.found.encodings
        for planned in plan.enabled():
            if planned.kind in _CONSTANTS and planned.tensor in encodings:
                values = np.asarray(self.model.constant(planned.tensor))
                self.constants[planned.tensor] = (
                    encodings[planned.tensor].fake_quantize(values).astype(values.dtype, copy=False)
                )
        self.layers = tuple(correctable(Network.of(plan.graph), self.model))
        for layer in self.layers:
            bias = bias_of(layer)
            fed = self.changing[bias] = self.constants.get(bias, np.asarray(self.model.constant(bias)))
            self.corrections[layer.output] = BiasCorrection(fed.astype(np.float32))

    def stops(self) -> list[str]:
        encodings = self.found.encodings
        return [t.tensor for t in self.found.plan.enabled() if t.kind not in _CONSTANTS and t.tensor in encodings]

    def references(self, layer: Layer) -> Batch:
        """Return a layer's own parameters."""
        return {param.tensor: np.asarray(self.model.constant(param.tensor)) for param in layer.params}

    def settle(self, made: Batch) -> Batch:
        """Return what was just made, quantized; correct the biases of layers among it."""
        quantized = {n: self.found.encodings[n] for n in made if n in self.found.encodings}
        settled = {
            name: e.fake_quantize(made[name]).astype(made[name].dtype, copy=False) for name, e in quantized.items()
        }
        for layer in self.layers:
            output, twin = layer.output, self.twins[layer.output]
            if output in made and twin in made:
                known = self.corrections[output]
                seen = known.observe(settled.get(output, made[output]), made[twin], channel_axis(layer))
                self.corrections[output] = seen
                bias = bias_of(layer)
                self.changing[bias] = seen.bias.astype(self.changing[bias].dtype)
        return settled

    def biases(self) -> dict[str, NDArray[Any]]:
        """Return the corrected biases."""
        return {
            bias_of(layer): self.corrections[layer.output].bias.astype(self.model.constant(bias_of(layer)).dtype)
            for layer in self.layers
        }


def _read_once(model: Model) -> Diagnostic:
    return Diagnostic(
        code="Q0617",
        name="biases-not-corrected",
        severity=Severity.WARNING,
        message="biases were not corrected: the data could be read only once",
        helps=("give the data as a list, a file or a folder rather than as a generator",),
        path=model.path,
    )
