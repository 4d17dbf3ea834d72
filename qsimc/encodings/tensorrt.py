"""TensorRT's calibration cache: the scales of activations as text.

    TRT-8601-EntropyCalibration2
    images: 3c010a14
    (Unnamed Layer* 0) [Convolution]_output: 3d6969df

Eight hexadecimal digits are the bits of a float32, the most significant first: the scale of symmetric int8, a 127th of
the largest value.  Weights are not in it; TensorRT takes their scales from their values.  A name may hold anything but
a line's end, colons too.
Source: a cache in the issue nvdla/sw#201; TensorRT up to 10 reads and writes such files, 11 has no calibrators.
"""

from __future__ import annotations

import math
import re
import struct

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.encodings.document import LOCATED_UP_TO, Document
from qsimc.encodings.entry import EncodingsFile, Entry, Layout, Section
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Scalar

BITS = 8
MIDDLE = -(1 << BITS - 1)
"""The offset of every tensor of a cache."""

HEADER = "TRT-8601-EntropyCalibration2"
"""The first line of a cache that was made from another file: TensorRT 8.6, and the calibrator it recommends."""

_HEADER = re.compile(r"TRT-\d+-\w+")
_LINE = re.compile(r"(.+): ?([0-9A-Fa-f]{1,8})")


def is_cache(text: str) -> bool:
    """Say whether a text begins as a calibration cache does."""
    return _HEADER.match(text) is not None


def read_document(source: Source) -> Document:
    """Return the lines of a cache, each with its place; `where` of an entry is the number of its line, from 0."""
    items: list[Scalar] = []
    at = 0
    for line in source.text.split("\n"):
        said = line.removesuffix("\r")
        items.append(Scalar(said, Span(source, at, at + len(said))))
        at += len(line) + 1
    tree = Array(tuple(items), Span(source, 0, len(source.text))) if len(source.text) <= LOCATED_UP_TO else None
    return Document(source, [item.value for item in items], tree, cache=True)


def read_file(document: Document, report: Report) -> EncodingsFile:
    """Return the entries of a cache; a line that is none is reported (Q0805) and left out."""
    lines = document.value
    assert isinstance(lines, list), "a cache is a list of lines"
    entries: list[Entry] = []
    for number, line in enumerate(lines):
        if number == 0 or not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            report(_malformed(document, number))
            continue
        entries.append(_entry(match[1], scale_of(match[2]), number))
    return EncodingsFile(layout=Layout.TENSORRT, version=str(lines[0]).strip(), entries=tuple(entries))


def _entry(name: str, scale: float, number: int) -> Entry:
    return Entry(
        name=name,
        section=Section.ACTIVATION,
        bits=BITS,
        scale=(scale,),
        offset=(float(MIDDLE),),
        signed=True,
        symmetric=True,
        narrow=False,
        where=(number,),
    )


def write_text(file: EncodingsFile) -> str:
    """Return a cache (qsimc.encodings.convert has seen to it that every entry can stand in one)."""
    return "".join(
        (f"{file.version or HEADER}\n", *(f"{entry.name}: {digits_of(entry.scale[0])}\n" for entry in file.entries))
    )


def scale_of(digits: str) -> float:
    """Return the float32 whose bits are given, leading zeros left out or not."""
    (scale,) = struct.unpack(">f", bytes.fromhex(digits.rjust(8, "0")))
    return float(scale)


def digits_of(scale: float) -> str:
    """Return the bits of the nearest float32.

    Raises:
        OverflowError: it is beyond every float32.
    """
    return struct.pack(">f", scale).hex()


def is_float32(scale: float) -> bool:
    """Say whether a scale is a float32 already."""
    return holds(scale) and scale_of(digits_of(scale)) == scale


def holds(scale: float) -> bool:
    """Say whether a scale has a nearest float32 that is a positive number."""
    try:
        return math.isfinite(scale) and scale_of(digits_of(scale)) > 0
    except OverflowError:
        return False


def _malformed(document: Document, number: int) -> Diagnostic:
    return document.finding(
        "Q0805",
        "malformed-encoding",
        Severity.ERROR,
        "the entry is not read: a line of a calibration cache is a name, a colon and up to 8 hexadecimal digits",
        (number,),
    )
