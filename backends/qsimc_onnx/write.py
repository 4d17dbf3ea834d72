"""Writing models: whole or not at all, with their large tensors beside them when one file cannot hold them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, TypeAlias

import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from qsimc_onnx import external
from qsimc_onnx.protos import byte_size, is_external, tensors

ONE_FILE = 1_500_000_000
"""Bytes of weights up to which a model stays one file; protobuf ends at 2 GiB."""

_LARGE = 1024
"""Bytes from which a tensor goes to the data file, where there is one."""

_ALIGN = 4096
"""Tensors begin on a page, so that readers can map them."""

Deferred: TypeAlias = "Mapping[str, Callable[[], NDArray[Any]]]"
"""Initializer -> what makes its values, which need not be in memory before they are written, nor all at once."""

NOTHING: Deferred = MappingProxyType({})


def defer(tensor: TensorProto, name: str, shape: Sequence[int], data_type: int) -> None:
    """Make a tensor one whose values are made when it is written; until then it is external, and nowhere."""
    tensor.Clear()
    tensor.name = name
    tensor.dims.extend(shape)
    tensor.data_type = data_type
    tensor.data_location = TensorProto.EXTERNAL


def is_deferred(tensor: TensorProto) -> bool:
    """Return whether a tensor waits for its values; one of a model that was opened says where they are."""
    return is_external(tensor) and not tensor.external_data


def save(
    model: ModelProto, folder: Path, path: Path, deferred: Deferred = NOTHING, *, one_file: int = ONE_FILE
) -> Sequence[Path]:
    """Write a model whose external data lies in `folder`; its tensors are changed to point at the new data file.

    Returns the files written, the model first.  The data file exists when the model had one, or needs one.

    Args:
        deferred: the values of the tensors that `defer` left without; each is asked for once, when it is written.
        one_file: bytes of weights up to which they lie in the model's own file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = [t for t in tensors(model) if is_external(t) or t.HasField("raw_data")]
    sizes = [byte_size(t) for t in stored]
    if all(is_deferred(t) or not is_external(t) for t in stored) and sum(sizes) <= one_file:
        for tensor in filter(is_deferred, stored):
            tensor.CopyFrom(_made(tensor, deferred))
        with _replacing(path) as file:
            file.write(model.SerializeToString())
        return (path,)
    data = path.with_name(f"{path.name}.data")
    with _replacing(data) as file:
        for tensor, size in zip(stored, sizes, strict=True):
            if is_deferred(tensor) and size < _LARGE:
                tensor.CopyFrom(_made(tensor, deferred))
            elif is_external(tensor) or size >= _LARGE:
                _move(tensor, folder, deferred, data.name, file)
    with _replacing(path) as file:
        file.write(model.SerializeToString())
    return path, data


def _made(tensor: TensorProto, deferred: Deferred) -> TensorProto:
    made = onnx.numpy_helper.from_array(deferred[tensor.name](), tensor.name)
    promised = tensor.data_type, list(tensor.dims)
    assert (made.data_type, list(made.dims)) == promised, f"`{tensor.name}` was to have other values"
    return made


def _move(tensor: TensorProto, folder: Path, deferred: Deferred, name: str, file: BinaryIO) -> None:
    """Append a tensor's bytes to a data file and make the tensor point at them."""
    file.seek(-(-file.tell() // _ALIGN) * _ALIGN)
    offset = file.tell()
    if is_deferred(tensor):
        size = file.write(_made(tensor, deferred).raw_data)
    elif is_external(tensor):
        size = external.copy(tensor, folder, file)
    else:
        size = file.write(tensor.raw_data)
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    for key, value in (("location", name), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = TensorProto.EXTERNAL


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path`, a link included, once it is complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
