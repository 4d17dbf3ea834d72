"""Running models: onnxruntime behind a function, quiet, and its failures as diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from qsimc import native
from qsimc.backend import Batch
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc_onnx.protos import is_external, tensors

Outputs: TypeAlias = "Mapping[str, NDArray[Any]]"

FAILURES = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
"""Everything onnxruntime raises about a model or its inputs."""

_FATAL_ONLY = 4
"""onnxruntime prints errors that it also raises; below this severity it prints nothing."""


def run(
    model: str | Path | bytes, batches: Iterable[Batch], outputs: Sequence[str] | None = None, *, optimise: bool = True
) -> Iterator[Outputs]:
    """Yield the outputs of each batch, by name: the model's own, or the named tensors of its main graph.

    Without `optimise` every node runs as written, which is what two models must agree on bit for bit.

    Raises:
        InputError: onnxruntime refuses the model or a batch (Q0508); the message is its own, in one line.
    """
    path = "" if isinstance(model, bytes) else str(model)
    source = model if isinstance(model, bytes) else path
    if outputs is not None:
        source = _exposing(source, outputs)
    session = load(source, quiet_options() if optimise else options_with_kernels(), path)
    names = list(outputs) if outputs is not None else [output.name for output in session.get_outputs()]
    for batch in batches:
        yield dict(zip(names, run_once(session, names, batch, path), strict=True))


def size(path: str | Path) -> int:
    """Return the bytes of a model: its file and the data files that it names."""
    file = Path(path)
    proto = onnx.load_model(file, load_external_data=False)
    located = {
        entry.value for t in tensors(proto) if is_external(t) for entry in t.external_data if entry.key == "location"
    }
    return sum(path.stat().st_size for path in (file, *(file.parent / name for name in located)))


def quiet_options() -> onnxruntime.SessionOptions:
    """Return session options under which nothing is printed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def options_with_kernels() -> onnxruntime.SessionOptions:
    """Return quiet options under which a model runs as it is, the operators of the kernels among its nodes, if any."""
    options = quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if native.kernels() is not None:
        options.register_custom_ops_library(str(native.LIBRARY))
    return options


def load(source: str | bytes, options: onnxruntime.SessionOptions, path: str) -> onnxruntime.InferenceSession:
    """Make a session; bytes take their external data from the folder of `path`.

    Raises:
        InputError: onnxruntime refuses the model (Q0508).
    """
    if isinstance(source, bytes) and path:
        folder = str(Path(path).resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except FAILURES as failure:
        raise failed(str(failure), path) from None


def run_once(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], batch: Batch, path: str
) -> list[NDArray[Any]]:
    """Return the named outputs of one batch.

    Raises:
        InputError: a node fails, or the batch does not fit the model (Q0508).
    """
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = _FATAL_ONLY
    try:
        found: list[NDArray[Any]] = session.run(outputs, dict(batch), quiet)
    except (*FAILURES, ValueError) as failure:
        raise failed(str(failure), path) from None
    return found


def failed(message: str, path: str) -> InputError:
    """Return Q0508 with onnxruntime's message in one line."""
    finding = Diagnostic(
        code="Q0508",
        name="model-does-not-run",
        severity=Severity.ERROR,
        message=f"onnxruntime cannot run the model: {' '.join(message.split())}",
        path=path,
    )
    return InputError([finding])


def _exposing(source: str | bytes, outputs: Sequence[str]) -> bytes:
    """Return a model as bytes, with the named tensors among its outputs."""
    if isinstance(source, bytes):
        proto = ModelProto.FromString(source)
    else:
        proto = onnx.load_model(source, load_external_data=False)
    expose(proto, outputs)
    exposed: bytes = proto.SerializeToString()
    return exposed


def expose(proto: ModelProto, outputs: Iterable[str]) -> None:
    """Add tensors to a model's outputs; onnxruntime infers their types."""
    public = {value.name for value in proto.graph.output}
    for name in outputs:
        if name not in public:
            public.add(name)
            proto.graph.output.add(name=name)
