"""Data that lies beside a model: where it is, and whether reading it is safe.

A model file names its data files itself, so those names are hostile until proven otherwise.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from qsimc_onnx.protos import BITS, byte_size


class UnsafeError(ValueError):
    """External data that must not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class External:
    """A range of bytes of a regular file; `path` has no symbolic link left in it."""

    path: Path
    offset: int
    size: int


def locate(tensor: TensorProto, folder: Path) -> External:
    """Return where a tensor's bytes are, without reading them.

    Raises:
        FileNotFoundError: the data file does not exist.
        UnsafeError: it lies outside `folder`, is not a regular file, or cannot hold the tensor.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) < len(tensor.external_data):
        raise UnsafeError("a key is given twice")
    path = _inside(entries.get("location", ""), folder)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeError(f"`{entries['location']}` is not a regular file")
    try:
        size = byte_size(tensor)
    except ValueError as problem:
        raise UnsafeError(str(problem)) from None
    offset = _natural(entries, "offset", 0)
    if (length := _natural(entries, "length", size)) != size:
        raise UnsafeError(f"it has {length} bytes, its shape and type need {size}")
    if offset + size > status.st_size:
        raise UnsafeError(f"it ends at byte {offset + size} of a file of {status.st_size}")
    return External(path, offset, size)


def _inside(location: str, folder: Path) -> Path:
    """Return the real path of `location`, which must name something below `folder`."""
    if not location:
        raise UnsafeError("it names no file")
    if "\0" in location or "\\" in location:
        raise UnsafeError(f"{location!r} holds a NUL or a backslash")
    if location.startswith("/") or location[1:2] == ":":
        raise UnsafeError(f"`{location}` is an absolute path")
    if ".." in location.split("/"):
        raise UnsafeError(f"`{location}` climbs out of the model's folder")
    base = folder.resolve()
    try:
        path = (base / location).resolve(strict=True)
    except (RuntimeError, NotADirectoryError):
        raise UnsafeError(f"`{location}` leads nowhere") from None
    if not path.is_relative_to(base):
        raise UnsafeError(f"`{location}` is a link out of the model's folder")
    return path


def _natural(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnsafeError(f"its {key} {text[:40]!r} is not a number of bytes")
    return int(text)


def read(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """Return a tensor's value as a read-only view of its file; only the pages that are used get read.

    Raises:
        OSError, UnsafeError: as `locate`; the file may have changed since the model was opened.
    """
    raw = _map(locate(tensor, folder))
    if tensor.data_type in BITS:
        packed = TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=raw.tobytes())
        return onnx.numpy_helper.to_array(packed)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return raw.view(dtype).reshape(tuple(tensor.dims))


def copy(tensor: TensorProto, folder: Path, file: BinaryIO) -> int:
    """Append a tensor's bytes to a file, without holding them in memory; return how many."""
    return file.write(_map(locate(tensor, folder)).data)


def _map(place: External) -> NDArray[np.uint8]:
    """Map a range of bytes for reading."""
    if place.size == 0:
        return np.empty(0, np.uint8)
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(place.path, flags), "rb") as file:
        # `locate` looked at the path; it can be swapped between a look and an open, a descriptor cannot.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or place.offset + place.size > status.st_size:
            raise UnsafeError("its file changed while it was being read")
        return np.memmap(file, np.uint8, "r", place.offset, (place.size,))
