"""Bias correction for any configuration: a second pass over the data, with every quantizer as calibration left it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.bias_correction import BiasCorrection
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.pipeline.calibrate import Calibration
from qsimc.planning.plan import Kind
from qsimc.planning.vitis.network import Layer, Network

CORRECT_BIASES = "correct-biases"
"""The rewrite that needs data: it comes after calibration."""


@dataclass(slots=True)
class BiasCorrections:
    """The corrections of a model's layers while its batches go by.

    Attributes:
        layers: those whose biases are corrected, by their outputs.
        references: output of a layer -> the parameters that it is compared by.
        changing: bias -> its values now, which the next batch is computed with.
        twins: output of a layer -> what it is by its references.
    """

    layers: Mapping[str, Layer]
    references: Mapping[str, Batch]
    changing: dict[str, NDArray[Any]]
    twins: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, BiasCorrection] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, network: Network, model: Model, constants: Batch, reference: Callable[[str], NDArray[Any]]
    ) -> BiasCorrections:
        """Begin to correct every product with a weight and a bias that the model stores.

        Args:
            constants: what the biases are computed with at first, where that is not the model's value.
            reference: gives what a parameter is compared by.
        """
        layers = {layer.output: layer for layer in network.layers if _is_correctable(layer, model)}
        references = {o: {param.tensor: reference(param.tensor) for param in x.params} for o, x in layers.items()}
        changing = {_bias(x): constants.get(_bias(x), references[o][_bias(x)]) for o, x in layers.items()}
        known = {o: BiasCorrection(changing[_bias(x)].astype(np.float32)) for o, x in layers.items()}
        return cls(layers, references, changing, _known=known)

    def observe(self, made: Batch, quantized: Callable[[str], NDArray[Any]]) -> None:
        """Correct the layers among what was just made; `quantized` gives the output that they are judged by."""
        for output in self.layers.keys() & made.keys():
            layer, twin = self.layers[output], self.twins[output]
            axis = -1 if layer.kind == "dense" else 1
            seen = self._known[output] = self._known[output].observe(quantized(output), made[twin], axis)
            self.changing[_bias(layer)] = seen.bias.astype(self.changing[_bias(layer)].dtype)

    def offsets(self) -> dict[str, NDArray[Any]]:
        """Return what is taken off the bias of each layer, by the layer's output."""
        return {o: self.references[o][_bias(x)] - self._known[o].bias for o, x in self.layers.items()}

    def biases(self, model: Model) -> dict[str, NDArray[Any]]:
        """Return the corrected biases, in the model's own precision."""
        offsets = self.offsets()
        own = {output: np.asarray(model.constant(_bias(layer))) for output, layer in self.layers.items()}
        return {_bias(x): (own[o] - offsets[o]).astype(own[o].dtype) for o, x in self.layers.items()}


def _is_correctable(layer: Layer, model: Model) -> bool:
    roles = {param.role: param.tensor for param in layer.params}
    return layer.row.corrected and {"weight", "bias"} <= roles.keys() and all(map(model.stores, roles.values()))


def _bias(layer: Layer) -> str:
    return next(param.tensor for param in layer.params if param.role == "bias")


def correct_biases(backend: Backend, model: Model, found: Calibration, batches: Iterable[Batch]) -> Calibration:
    """Return the calibration with biases corrected; encodings stay as they are.

    Raises:
        InputError: onnxruntime cannot run the model on a batch (Q0508).
    """
    encodings = found.encodings
    constants: dict[str, NDArray[Any]] = {}
    stops: list[str] = []
    for planned in found.plan.enabled():
        if planned.tensor in encodings and planned.kind in (Kind.PARAM, Kind.CONSTANT):
            constants[planned.tensor] = _through(encodings[planned.tensor], np.asarray(model.constant(planned.tensor)))
        elif planned.tensor in encodings:
            stops.append(planned.tensor)
    network = Network.of(found.plan.graph)
    corrections = BiasCorrections.begin(network, model, constants, lambda name: np.asarray(model.constant(name)))

    def settle(made: Batch) -> Batch:
        settled = {name: _through(encodings[name], made[name]) for name in made if name in encodings}
        corrections.observe(made, lambda output: settled.get(output, made[output]))
        return settled

    fixed = {name: values for name, values in constants.items() if name not in corrections.changing}
    walk, corrections.twins = backend.walk(
        model, found.plan, stops, fixed, list(corrections.changing), corrections.references
    )
    try:
        for batch in batches:
            walk.run(batch, corrections.changing, settle)
    except InputError as error:
        if all(finding.code == "Q0605" for finding in error.findings):
            return replace(found, findings=(*found.findings, _read_once(model)))
        raise
    return replace(found, biases=corrections.biases(model))


def _through(encoding: Encoding, values: NDArray[Any]) -> NDArray[Any]:
    return encoding.fake_quantize(values).astype(values.dtype, copy=False)


def _read_once(model: Model) -> Diagnostic:
    return Diagnostic(
        code="Q0617",
        name="biases-not-corrected",
        severity=Severity.WARNING,
        message="biases were not corrected: the data could be read only once",
        helps=("give the data as a list, a file or a folder rather than as a generator",),
        path=model.path,
    )
