"""An encodings file of any vendor version, in one form: what the file says, nothing filled in.

Offsets count from the bottom of the unsigned grid, as versions 0.6.1 and 1.0.0 write them:
x = scale * (q + offset) with q in [0, 2^bits - 1], so symmetric int8 has offset -128.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"
"""Where a value stands in a JSON document: keys and indexes from the top."""


class Section(StrEnum):
    """Which list of a file an entry is in.  Versions 2.x have one list for both."""

    ACTIVATION = "activation"
    PARAM = "param"


class Granularity(StrEnum):
    """What one scale is for."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    BLOCK = "block"


class Layout(StrEnum):
    """How a file is built.

    TORCH is AIMET's private `_torch.encodings`, filed by module and port.  QNN is 0.6.1 as SNPE and QNN take it for
    `quantization_overrides`; such a file is read as 0.6.1, and only written so.
    """

    V0_6_1 = "0.6.1"
    V1_0_0 = "1.0.0"
    V2_0_0 = "2.0.0"
    V2_1_0 = "2.1.0"
    TORCH = "torch"
    QSIMC = "qsimc"
    QNN = "qnn-overrides"
    TENSORRT = "tensorrt-cache"

    @property
    def sections(self) -> bool:
        """Whether params stand apart from activations."""
        return self in (Layout.V0_6_1, Layout.V1_0_0, Layout.TORCH, Layout.QNN, Layout.TENSORRT)

    @property
    def axes(self) -> bool:
        """Whether a per-channel entry says which axis the channels are on."""
        return self in (Layout.V2_0_0, Layout.V2_1_0, Layout.QSIMC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Scales per block of a channel, in the order channel by channel, block by block.

    Attributes:
        size: values per block.
        axis: axis of the tensor that is cut into blocks; None when the file does not say.
        rank: dimensions of the tensor; None when the file does not say.
        channels: how many channels the blocks belong to; None when the file does not say.
        steps: LPBQ (low-power blockwise quantization): the integer by which each block multiplies its channel's
            scale; () when every block has a scale of its own.
        wide_bits: LPBQ: the width that weights are decompressed to.
    """

    size: int
    axis: int | None = None
    rank: int | None = None
    channels: int | None = None
    steps: tuple[int, ...] = ()
    wide_bits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The encoding of one tensor.  None means that the file does not say.

    Attributes:
        name: of the tensor; in a TORCH file the module, and `port` (`input.0`) says which of its tensors.
        dtype: `int`, or the name of a float format (`float`, `float8e4m3fn`).
        bits: width; of the stored integers where blocks are compressed.
        scale: one per tensor, channel or block, as `granularity` says; per channel for LPBQ.
        offset: as many as scales; whole numbers, unless the file is wrong.
        signed: whether the integers are stored with a sign.
        narrow: whether the grid lacks its lowest integer (strict symmetric).
        axis: the channels' axis.
        low, high: the range the file states, as many as scales; () when it states none.
        extra: fields that qsimc does not know, kept as they are.
        channel_extra: the same channel by channel, where channels differ in them; () where they do not.
        where: place in its document.
    """

    name: str
    section: Section | None = None
    port: str = ""
    dtype: str = "int"
    bits: int
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    signed: bool | None = None
    symmetric: bool | None = None
    narrow: bool | None = None
    granularity: Granularity = Granularity.TENSOR
    axis: int | None = None
    blocks: Blocks | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    channel_extra: tuple[Mapping[str, Any], ...] = ()
    where: Path = ()

    @property
    def steps(self) -> int:
        """Steps between the ends of the grid."""
        return (1 << self.bits) - (2 if self.narrow else 1)

    @property
    def middle(self) -> int:
        """The offset that puts zero at the middle of the grid."""
        return -(1 << self.bits - 1)

    @property
    def key(self) -> str:
        """What tells the entries of a file apart."""
        return f"{self.name}.{self.port}" if self.port else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingsFile:
    """All entries of a file, in its order, with the file's own words about itself.

    Attributes:
        version: as written; "" where the file has none.
        producer, quantizer_args: as written; None where the file has none.
        extra: top-level fields that qsimc does not know, kept as they are.
    """

    layout: Layout
    version: str
    entries: tuple[Entry, ...]
    producer: Any = None
    quantizer_args: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def by_name(self) -> dict[str, Entry]:
        """Return the entries by key; of duplicates the last one counts, as AIMET reads them."""
        return {entry.key: entry for entry in self.entries}
