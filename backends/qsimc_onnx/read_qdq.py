"""Encodings out of a QDQ model: what QuantizeLinear and DequantizeLinear say, by the tensors' own names.

Exporters rename tensors to make room for the pair.  What the float model called `t` is, for a computed value, what
QuantizeLinear reads, or the graph output that DequantizeLinear makes; for a stored one it is the integers' name
without the exporter's suffix.  16-bit floats (Cast pairs) have no encoding and are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.graph import Node
from qsimc.planning.plan import Kind
from qsimc.spec.ops import operators
from qsimc_onnx.model import OnnxModel, open_model
from qsimc_onnx.protos import ONNX_DOMAINS
from qsimc_onnx.storage import CONTRIB

_STORED = re.compile(r"(.+)_(?:quantized|q)(?:_\d+)?")
"""Integers of a stored tensor, as qsimc and onnxruntime (`_quantized`) and AIMET (`_q`) call them."""

_INTEGER = re.compile(r"(u?)int(\d+)")
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def read_qdq(path: str, report: Report) -> dict[str, tuple[Kind, Encoding]] | None:
    """Return tensor -> what it is and its encoding; None after reporting why the model cannot be read.

    A grid that fills its integer type is taken to be all of it: a stored tensor does not show that an exporter
    left out the lowest integer.
    """
    model = open_model(path, lambda finding: None if finding.code == "Q0506" else report(finding))
    if model is None:
        return None
    reader = _Reader(model)
    found: dict[str, tuple[Kind, Encoding]] = {}
    for node in model.graph.nodes:
        if not _is(node, _DEQUANTIZE):
            continue
        try:
            tensor, kind = reader.tensor(node)
            found.setdefault(tensor, (kind, reader.encoding(node)))
        except _UnreadableError as error:
            report(_unreadable(node, str(error), path))
    return found


class _UnreadableError(Exception):
    """A quantizer says something that an encoding cannot."""


@dataclass(frozen=True, slots=True)
class _Reader:
    model: OnnxModel

    def tensor(self, dequantize: Node) -> tuple[str, Kind]:
        """Return the tensor that a pair, or a lone DequantizeLinear, stands for."""
        graph = self.model.graph
        integers = dequantize.inputs[0]
        if self.model.stores(integers):
            match = _STORED.fullmatch(integers)
            return match[1] if match else integers, self._stored_kind(dequantize)
        quantize = graph.producer.get(integers)
        if quantize is None or not _is(quantize, _QUANTIZE):
            raise _UnreadableError("what it reads is neither stored nor made by QuantizeLinear")
        source = self._uncut(quantize.inputs[0])
        if self.model.stores(source):
            return source, self._stored_kind(dequantize)
        result = self._results(dequantize)[-1]
        if result in graph.outputs and source not in graph.outputs:
            return result, Kind.ACTIVATION
        return source, Kind.INPUT if source in graph.inputs else Kind.ACTIVATION

    def encoding(self, dequantize: Node) -> Encoding:
        """Return the encoding that a DequantizeLinear states."""
        if dequantize.attributes.get("block_size", 0):
            raise _UnreadableError("it has a scale per block")
        scale = self._constant(dequantize.inputs[1]).astype(np.float64)
        if scale.ndim > 1 or not scale.size or not (np.isfinite(scale).all() and (scale > 0).all()):
            raise _UnreadableError("its scales are no list of positive numbers")
        zero_point, signed, bits = self._zero_point(dequantize, scale)
        qmin = -(1 << bits - 1) if signed else 0
        qmax = qmin + (1 << bits) - 1
        if (bounds := self._bounds(dequantize, float(scale.reshape(-1)[0]), int(zero_point[0]))) is not None:
            qmin, qmax = max(bounds[0], qmin), min(bounds[1], qmax)
            bits = (qmax - qmin).bit_length()
        return Encoding(
            scale=scale.reshape(-1),
            zero_point=zero_point,
            qmin=qmin,
            qmax=qmax,
            bits=bits,
            symmetric=bool((zero_point == (qmin + qmax + 1) // 2).all()),
            axis=self._axis(dequantize) if scale.size > 1 else None,
        )

    def _constant(self, tensor: str) -> NDArray[Any]:
        if not self.model.stores(tensor):
            raise _UnreadableError("its scale or zero point is computed")
        return self.model.constant(tensor)

    def _zero_point(self, dequantize: Node, scale: NDArray[np.float64]) -> tuple[NDArray[np.int64], bool, int]:
        """Return the zero points, shape (C,), and the sign and width of the integers."""
        name = dequantize.inputs[2] if len(dequantize.inputs) > 2 else ""
        stored = self._constant(name) if name else None
        dtype = str(stored.dtype) if stored is not None else self._integers_dtype(dequantize)
        match = _INTEGER.fullmatch(dtype)
        if match is None:
            raise _UnreadableError(f"its values are {dtype or 'of an unknown type'}")
        zero = np.zeros(scale.size, np.int64) if stored is None else stored.astype(np.int64).reshape(-1)
        if zero.size != scale.size:
            raise _UnreadableError("scales and zero points differ in number")
        return zero, not match[1], int(match[2])

    def _integers_dtype(self, dequantize: Node) -> str:
        known = self.model.graph.tensors.get(dequantize.inputs[0])
        return "uint8" if known is None or not known.dtype else known.dtype

    def _axis(self, dequantize: Node) -> int:
        axis = dequantize.attributes.get("axis", 1)
        assert isinstance(axis, int)
        known = self.model.graph.tensors.get(dequantize.inputs[0])
        return axis % len(known.shape) if known is not None and known.shape else axis

    def _stored_kind(self, dequantize: Node) -> Kind:
        return Kind.PARAM if any(self._is_param(t) for t in self._results(dequantize)) else Kind.CONSTANT

    def _is_param(self, tensor: str) -> bool:
        """Say whether an operator reads a tensor as one of its params, directly or through a transposition."""
        for node in self.model.graph.consumers.get(tensor, ()):
            row = operators()[node.op]
            if any(position < len(node.inputs) and node.inputs[position] == tensor for position in row.params.values()):
                return True
            moved = node.op in ("Identity", "Transpose")
            if moved and any(
                reader.op in operators().with_params
                and node.op in (*operators()[reader.op].through, operators()[reader.op].transposed_through)
                for reader in self.model.graph.consumers.get(node.outputs[0], ())
            ):
                return True
        return False

    def _results(self, dequantize: Node) -> tuple[str, ...]:
        """Return what a DequantizeLinear makes, and that cast to the model's own type."""
        result = dequantize.outputs[0]
        casts = [node for node in self.model.graph.consumers.get(result, ()) if node.op == "Cast"]
        return (result, *(node.outputs[0] for node in casts))

    def _uncut(self, tensor: str) -> str:
        """Return the tensor before the Cast and the Clip that qsimc's own export puts before QuantizeLinear."""
        return [tensor, *(source for _, source in self._cuts(tensor))][-1]

    def _cuts(self, tensor: str) -> Iterator[tuple[Node, str]]:
        """Yield the nodes that export put there, from QuantizeLinear up, with what each of them reads."""
        names = {"Clip": "clipped", "Min": "clipped", "Max": "raised", "Cast": "float"}
        while (node := self.model.graph.producer.get(tensor)) is not None and node.op in names:
            name = re.fullmatch(rf"(.+)_{names[node.op]}(?:_\d+)?", tensor)
            if name is None or not node.inputs[0].startswith(name[1]):
                return
            tensor = node.inputs[0]
            yield node, tensor

    def _bounds(self, dequantize: Node, scale: float, zero_point: int) -> tuple[int, int] | None:
        """Return the integers that a Clip before QuantizeLinear keeps values between."""
        quantize = self.model.graph.producer.get(dequantize.inputs[0])
        if quantize is None:
            return None
        ends: list[float] = []
        for node, _ in self._cuts(quantize.inputs[0]):
            constants = [t for t in node.inputs[1:] if t and self.model.stores(t)]
            ends += [float(self.model.constant(t).reshape(-1)[0]) for t in constants]
        if len(ends) != 2:
            return None
        low, high = sorted(round(end / scale) + zero_point for end in ends)
        return low, high


def _is(node: Node, op: str) -> bool:
    return node.op == op and node.domain in (*ONNX_DOMAINS, CONTRIB)


def _unreadable(node: Node, why: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0818",
        name="quantizer-not-read",
        severity=Severity.WARNING,
        message=f"the encoding of `{node.outputs[0]}` is not read: {why}",
        notes=(f"its quantizer is `{node.name}`",),
        path=path,
    )
