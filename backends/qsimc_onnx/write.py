"""Writing models: whole or not at all, with their large tensors beside them when one file cannot hold them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, TensorProto

from qsimc_onnx import external
from qsimc_onnx.protos import byte_size, is_external, tensors

ONE_FILE = 1_500_000_000
"""Bytes of weights up to which a model stays one file; protobuf ends at 2 GiB."""

_LARGE = 1024
"""Bytes from which a tensor goes to the data file, where there is one."""

_ALIGN = 4096
"""Tensors begin on a page, so that readers can map them."""


def save(model: ModelProto, folder: Path, path: Path) -> Sequence[Path]:
    """Write a model whose external data lies in `folder`; its tensors are changed to point at the new data file.

    Returns the files written, the model first.  The data file exists when the model had one, or needs one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = [t for t in tensors(model) if is_external(t) or t.HasField("raw_data")]
    sizes = [byte_size(t) for t in stored]
    if not any(map(is_external, stored)) and sum(sizes) <= ONE_FILE:
        with _replacing(path) as file:
            file.write(model.SerializeToString())
        return (path,)
    data = path.with_name(f"{path.name}.data")
    with _replacing(data) as file:
        for tensor, size in zip(stored, sizes, strict=True):
            if is_external(tensor) or size >= _LARGE:
                _move(tensor, folder, data.name, file)
    with _replacing(path) as file:
        file.write(model.SerializeToString())
    return path, data


def _move(tensor: TensorProto, folder: Path, name: str, file: BinaryIO) -> None:
    """Append a tensor's bytes to a data file and make the tensor point at them."""
    file.seek(-(-file.tell() // _ALIGN) * _ALIGN)
    offset = file.tell()
    size = external.copy(tensor, folder, file) if is_external(tensor) else file.write(tensor.raw_data)
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
