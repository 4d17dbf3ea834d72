"""Opening an ONNX file: checked from outside in, weights left where they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.garbage import uncollected
from qsimc.graph import Graph, Tensor
from qsimc_onnx import external
from qsimc_onnx.check import is_text, problems
from qsimc_onnx.graph import read_graph
from qsimc_onnx.protos import ONNX_DOMAINS, is_external, tensors

_AT_MOST = 20
"""Structural problems reported of one file; the rest follow from the first, as a rule."""

_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


@dataclass(eq=False)
class OnnxModel:
    """An opened model: its protobuf (external data unread), its graph, its constants on demand."""

    path: str
    graph: Graph
    proto: ModelProto

    @property
    def folder(self) -> Path:
        """Where the model's external data lies."""
        return Path(self.path).parent

    @property
    def stem(self) -> str:
        """The model's name in the names of the files made from it."""
        return Path(self.path).stem

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """Name -> dtype and shape of each input that must be fed, in the model's order."""
        return {name: self.graph.tensors[name] for name in self.graph.inputs}

    def stores(self, tensor: str) -> bool:
        """Return whether the main graph holds the value of a tensor, so that `constant` gives it."""
        return tensor in self._constants

    def constant(self, tensor: str) -> NDArray[Any]:
        """Return an initializer's or Constant node's value, memory-mapped when it lies in another file.

        Raises:
            KeyError: the main graph has no such constant.
            OSError, UnsafeError: its file is gone, or changed since the model was opened.
        """
        stored = self._constants[tensor]
        value = external.read(stored, self.folder) if is_external(stored) else onnx.numpy_helper.to_array(stored)
        value.flags.writeable = False
        return value

    def shape_of_constant(self, tensor: str) -> tuple[int, ...]:
        """Return a constant's shape, without reading its value.

        Raises:
            KeyError: the main graph has no such constant.
        """
        return tuple(self._constants[tensor].dims)

    @cached_property
    def _constants(self) -> Mapping[str, TensorProto]:
        stored = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        for node in self.proto.graph.node:
            if node.op_type == "Constant" and node.domain in ONNX_DOMAINS and (value := _value(node)) is not None:
                stored[node.output[0]] = value
        return stored


def _value(node: NodeProto) -> TensorProto | None:
    """Return what a Constant node makes; None for strings and sparse tensors, which nobody quantizes."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                stored: TensorProto = attribute.t
                return stored
            case "value_float":
                return onnx.numpy_helper.from_array(np.array(attribute.f, np.float32))
            case "value_int":
                return onnx.numpy_helper.from_array(np.array(attribute.i, np.int64))
            case "value_floats":
                return onnx.numpy_helper.from_array(np.array(attribute.floats, np.float32))
            case "value_ints":
                return onnx.numpy_helper.from_array(np.array(attribute.ints, np.int64))
    return None


@uncollected()
def open_model(path: str, report: Report) -> OnnxModel | None:
    """Open an ONNX file; None after reporting what is wrong with it (Q0501 to Q0505).

    Weights stored in other files are not read, and no file is opened before its location is known to be safe.
    """
    content = _content(path, report)
    proto = None if content is None else _parse(content, path, report)
    if proto is None:
        return None
    stored = tuple(tensors(proto))
    found = [*_structure(proto, stored, path), *_data_files(stored, path)]
    for finding in found:
        report(finding)
    if found:
        return None
    if (quantized := _quantized(proto)) is not None:
        report(_already_quantized(quantized, path))
    return OnnxModel(path, read_graph(proto), proto)


def _content(path: str, report: Report) -> bytes | None:
    try:
        # A pipe would block and a device never end: look before opening.
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a folder" if os.path.isdir(path) else "not a regular file"
            report(_finding("Q0501", "model-unreadable", f"`{path}` is {kind}", path))
            return None
        return Path(path).read_bytes()
    except (OSError, ValueError) as problem:
        reason = problem.strerror.lower() if isinstance(problem, OSError) and problem.strerror else str(problem)
        report(_finding("Q0501", "model-unreadable", f"cannot read `{path}`: {reason}", path))
        return None


def _parse(content: bytes, path: str, report: Report) -> ModelProto | None:
    proto = ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        report(_finding("Q0502", "not-onnx", f"`{path}` is not an ONNX model, or only a part of one", path))
        return None
    if not content or not (proto.ir_version or proto.HasField("graph")):
        report(_finding("Q0502", "not-onnx", f"`{path}` is not an ONNX model, or only a part of one", path))
        return None
    if not is_text(proto):
        report(_malformed("a text in it, such as a name, is not UTF-8", path))
        return None
    return proto


def _structure(proto: ModelProto, stored: Sequence[TensorProto], path: str) -> Iterator[Diagnostic]:
    for problem in islice(problems(proto, stored), _AT_MOST):
        yield _malformed(problem, path)


def _data_files(stored: Sequence[TensorProto], path: str) -> Iterator[Diagnostic]:
    """Yield one finding per data file that is missing, and one per tensor that points at an unsafe place."""
    missing: set[str] = set()
    for tensor in filter(is_external, stored):
        try:
            external.locate(tensor, Path(path).parent)
        except FileNotFoundError:
            location = next(entry.value for entry in tensor.external_data if entry.key == "location")
            if location not in missing:
                missing.add(location)
                message = f"the data file `{location}` of tensor `{tensor.name}` is missing"
                helps = ("a model with external data is moved together with its data files",)
                yield _finding("Q0503", "external-data-missing", message, path, helps)
        except (OSError, external.UnsafeError) as problem:
            message = f"the external data of tensor `{tensor.name}` is not safe to read: {problem}"
            helps = ("keep the data file beside the model, without links; `cp -rL` copies what links lead to",)
            yield _finding("Q0504", "external-data-unsafe", message, path, helps)


def _quantized(proto: ModelProto) -> NodeProto | None:
    return next((n for n in proto.graph.node if n.op_type in _QUANTIZED or n.op_type.startswith("QLinear")), None)


def _already_quantized(node: NodeProto, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0506",
        name="already-quantized",
        severity=Severity.WARNING,
        message=f"the model is already quantized: it holds `{node.op_type}` nodes (the first is `{node.name}`)",
        helps=("give the float model that it was made from",),
        path=path,
    )


def _malformed(problem: str, path: str) -> Diagnostic:
    return _finding("Q0505", "model-malformed", f"the model is malformed: {problem}", path)


def _finding(code: str, name: str, message: str, path: str, helps: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code=code, name=name, severity=Severity.ERROR, message=message, helps=helps, path=path)
