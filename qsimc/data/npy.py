"""One array in the .npy format, read from a stream a few rows at a time."""

from __future__ import annotations

import math
import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from qsimc.data.layout import Info

_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
"""Format version -> reader.  Version 3 only adds Unicode names of fields, and arrays with fields are no data here."""

_LONGEST_HEADER = 10_000

_HEADER_ERRORS = (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)
"""A version without a reader, or what numpy raises for a hostile header: it evaluates a Python literal."""


class UnreadableError(ValueError):
    """The bytes are not an array that can be streamed; the message says why, in lower case."""


def read_header(stream: IO[bytes], size: int) -> Info:
    """Read a header and leave the stream at the first value.

    Nothing is ever unpickled, and nothing is allocated for what the header claims.

    Args:
        stream: at the start of the format's magic bytes.
        size: the length of the stream in bytes, which the header must account for exactly.

    Raises:
        UnreadableError: not an array, or one whose rows do not lie one after the other.
    """
    start = stream.tell()
    try:
        read = _HEADERS[npy_format.read_magic(stream)]
        shape, by_columns, dtype = read(stream, max_header_size=_LONGEST_HEADER)
    except _HEADER_ERRORS as error:
        raise UnreadableError("it is not an .npy array of numbers") from error
    if dtype.hasobject:
        raise UnreadableError("it holds pickled Python objects, which are never loaded")
    if by_columns and len(shape) > 1:
        raise UnreadableError("its array is in Fortran order, so samples do not lie one after the other")
    claimed = math.prod(shape) * dtype.itemsize
    held = size - (stream.tell() - start)
    if min(shape, default=0) < 0 or claimed != held:
        raise UnreadableError(f"its header claims {claimed} bytes of values, and {held} follow")
    return Info(dtype, tuple(shape))


def read_rows(stream: IO[bytes], info: Info, rows: int) -> NDArray[Any]:
    """Read the next `rows` rows of an array, shape (rows, *info.shape[1:]).

    Raises:
        UnreadableError: the stream ends too early.
    """
    return _read(stream, info.dtype, (rows, *info.shape[1:]))


def read_whole(stream: IO[bytes], info: Info) -> NDArray[Any]:
    """Read all of an array, `info.shape`.

    Raises:
        UnreadableError: the stream ends too early.
    """
    return _read(stream, info.dtype, info.shape)


def _read(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    needed = math.prod(shape) * dtype.itemsize
    values = bytearray()
    while len(values) < needed:
        piece = stream.read(needed - len(values))
        if not piece:
            raise UnreadableError("it ends in the middle of an array")
        values += piece
    return np.frombuffer(values, dtype).reshape(shape)
