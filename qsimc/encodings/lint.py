"""What is wrong with an encodings file, by itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.encodings.document import Document
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section

CLOSE = 0.02
"""How far, in steps, a stated range may be from what scale and offset say: files hold rounded numbers."""

SMALLEST = 2.0**-126
"""The smallest normal float32; runtimes take what is below it for zero."""

_FLOAT32 = 2.0**-20
"""The same relative to the range, for numbers that were once float32."""


def lint(document: Document, file: EncodingsFile) -> Iterator[Diagnostic]:
    """Yield everything wrong with a file; nothing for one that AIMET or QNN will use as it is meant."""
    yield from _duplicates(document, file)
    for entry in file.entries:
        if entry.scale:
            yield from _numbers(document, entry, file.layout)
    yield from _unknown_fields(document, file)


def _duplicates(document: Document, file: EncodingsFile) -> Iterator[Diagnostic]:
    first: dict[tuple[Section | None, str], Entry] = {}
    elsewhere: dict[str, Entry] = {}
    for entry in file.entries:
        before = first.get((entry.section, entry.key)) or elsewhere.get(entry.key)
        if before is not None:
            yield document.finding(
                "Q0811",
                "duplicate-encoding",
                Severity.ERROR,
                f"`{entry.key}` has two encodings",
                entry.where,
                notes=("AIMET takes the last one and says nothing",),
                helps=("keep one of them",),
            )
        first[entry.section, entry.key] = entry
        elsewhere[entry.key] = entry


def _numbers(document: Document, entry: Entry, layout: Layout) -> Iterator[Diagnostic]:
    if (message := _wrong_scale(entry)) is not None:
        yield document.finding("Q0806", "bad-scale", Severity.ERROR, message, entry.where)
        return
    if (message := _wrong_length(entry)) is not None:
        yield document.finding("Q0807", "encoding-lengths", Severity.ERROR, message, entry.where)
        return
    if entry.dtype == "int":
        yield from _offsets(document, entry)
        yield from _ranges(document, entry)
    if layout.axes and entry.granularity is Granularity.CHANNEL and len(entry.scale) > 1 and entry.axis is None:
        yield document.finding(
            "Q0816",
            "bad-axis",
            Severity.ERROR,
            f"`{entry.name}` has {len(entry.scale)} scales, but no `axis`",
            entry.where,
            helps=("say which axis of the tensor the scales belong to",),
        )


def _wrong_scale(entry: Entry) -> str | None:
    if math.isfinite(sum(entry.scale)) and min(entry.scale) >= SMALLEST:
        return None
    for scale in entry.scale:
        if not math.isfinite(scale):
            return f"a scale of `{entry.key}` is {scale}"
        if scale <= 0:
            return f"a scale of `{entry.key}` is {'zero' if scale == 0 else 'negative'}"
        if scale < SMALLEST:
            return f"a scale of `{entry.key}` is {scale:g}, too small for a normal 32-bit float"
    return None


def _wrong_length(entry: Entry) -> str | None:
    many = len(entry.scale)
    if len(entry.offset) != many:
        return f"`{entry.key}` has {many} scales and {len(entry.offset)} offsets"
    if any(len(ends) not in (0, many) for ends in (entry.low, entry.high)):
        return f"`{entry.key}` has {many} scales and another number of ranges"
    if entry.granularity is Granularity.TENSOR and many != 1:
        return f"`{entry.key}` is said to be per tensor, and has {many} scales"
    if entry.blocks is not None and entry.blocks.steps and len(entry.blocks.steps) % many:
        return f"`{entry.key}` has {len(entry.blocks.steps)} blocks, which {many} channels cannot share"
    return None


def _offsets(document: Document, entry: Entry) -> Iterator[Diagnostic]:
    alike = entry.offset.count(entry.offset[0]) == len(entry.offset)
    offsets: Collection[float] = entry.offset[:1] if alike else dict.fromkeys(entry.offset)
    fraction = next((o for o in offsets if not float(o).is_integer()), None)
    if fraction is not None:
        yield document.finding(
            "Q0808",
            "zero-not-representable",
            Severity.ERROR,
            f"`{entry.key}` cannot represent zero: its offset {fraction} lies between two integers",
            entry.where,
            notes=("padding and ReLU then put in values that are not on the grid",),
        )
        return
    lowest = -((1 << entry.bits) - 1)
    outside = next((o for o in offsets if not lowest <= o <= 0), None)
    if outside is not None:
        yield document.finding(
            "Q0809",
            "offset-outside-grid",
            Severity.ERROR,
            f"the zero of `{entry.key}` lies outside its grid: its offset is {_shown(outside)}, "
            f"and {entry.bits} bits hold {lowest} to 0",
            entry.where,
            notes=("offsets count from the bottom of the unsigned grid: -zero_point, and -2^(bits-1) more if signed",),
        )
    elif entry.symmetric and (odd := _lopsided(entry, offsets)) is not None:
        yield document.finding(
            "Q0817",
            "symmetry-contradicts",
            Severity.WARNING,
            f"`{entry.key}` is said to be symmetric, and has the offset {_shown(odd)}",
            entry.where,
            notes=(f"a symmetric grid of {entry.bits} bits has the offset {entry.middle}, "
                   f"strict {entry.middle + 1}, unsigned 0",),
        )  # fmt: skip


def _lopsided(entry: Entry, offsets: Iterable[float]) -> float | None:
    return next((o for o in offsets if o not in (entry.middle, entry.middle + 1, 0)), None)


def _ranges(document: Document, entry: Entry) -> Iterator[Diagnostic]:
    """Yield one finding if a stated range is not that of scale and offset, on the full grid or the strict one."""
    ends = {(1 << entry.bits) - 1, entry.steps}
    for scale, offset, low, high in zip(entry.scale, entry.offset, entry.low, entry.high, strict=False):
        fits = _near(low, scale * offset, scale) and any(_near(high, scale * (offset + n), scale) for n in ends)
        if not fits:
            yield document.finding(
                "Q0810",
                "range-contradicts",
                Severity.ERROR,
                f"`{entry.key}` states the range {low:.6g} to {high:.6g}, but its scale and offset "
                f"give {scale * offset:.6g} to {scale * (offset + entry.steps):.6g}",
                entry.where,
                notes=("which of the two counts depends on who reads the file",),
                helps=("leave out the wrong one",),
            )
            return


def _near(stated: float, meant: float, scale: float) -> bool:
    return abs(stated - meant) <= CLOSE * scale + _FLOAT32 * abs(meant)


def _unknown_fields(document: Document, file: EncodingsFile) -> Iterator[Diagnostic]:
    """Yield one finding per name, at its first place."""
    seen: dict[str, tuple[Entry, int]] = {}
    for entry in file.entries:
        for name in entry.extra:
            first, times = seen.get(name, (entry, 0))
            seen[name] = first, times + 1
    known = {"excluded_layers"} if file.layout in (Layout.V0_6_1, Layout.TORCH, Layout.V1_0_0) else set()
    if file.layout is Layout.QSIMC:
        known = {"calib", "numerics"}
    for name, (entry, times) in seen.items():
        if name not in known:
            yield _unknown(document, name, f"in {times} encoding{'s' if times > 1 else ''}", (*entry.where, name))
    for name in file.extra:
        if name not in known:
            yield _unknown(document, name, "at the top", (name,))


def _unknown(document: Document, name: str, place: str, where: tuple[str | int, ...]) -> Diagnostic:
    return document.finding(
        "Q0815",
        "unknown-field",
        Severity.INFO,
        f"the field `{name[:60]}` {place} is not known; it is kept as it is",
        where,
    )


def _shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)
