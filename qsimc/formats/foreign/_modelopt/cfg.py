"""Attributes of a quantizer in ModelOpt: every set of them is complete, what it leaves out is ModelOpt's default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, plain

KNOWN = (
    "num_bits", "axis", "block_sizes", "unsigned", "narrow_range", "type", "calibrator", "constant_amax",
    "use_constant_amax", "bias", "rotate", "enable", "effective_bits", "fake_quant", "learn_amax",
    "trt_high_precision_dtype", "pass_through_bwd", "backend", "backend_extra_args",
)  # fmt: skip

_DEFAULTS: Mapping[str, Value] = {
    "type": "int",
    "bits": 8,
    "symmetric": True,
    "signed": True,
    "narrow_range": False,
    "per_channel": False,
    "dynamic": False,
    "scale": "float",
    "calib": "minmax",
}
_FLOATS = {(4, 3): ("float8_e4m3", 8), (5, 2): ("float8_e5m2", 8), (2, 1): ("float4_e2m1", 4)}
_E8M0 = (8, 0)
_IGNORED: Mapping[str, object] = {
    "effective_bits": None,  # any value: it is about a search
    "fake_quant": True,
    "learn_amax": False,
    "trt_high_precision_dtype": "Float",
    "pass_through_bwd": True,
    "backend": None,
    "backend_extra_args": None,
    "rotate": False,
}
_BLOCK_WORDS = ("type", "scale_bits", "scale_block_sizes", "four_over_six")
_FP8_MAX = 448.0


@dataclass(slots=True)
class Attributes:
    """Reads one set of attributes into settings."""

    found: Mapping[str, Member]
    pointer: str
    role: str
    operator: str  # an ONNX operator whose weights it is about, empty for all
    findings: Findings

    def settings(self, span: Span) -> list[Setting]:
        """Return all that holds for a quantizer; `span` is where the attributes stand."""
        said = {field: Setting(field, value, span, self.pointer) for field, value in _DEFAULTS.items()}
        for other in self.found.values():
            at = below(self.pointer, other.key)
            if other.key not in KNOWN:
                self.findings.unknown(other, KNOWN, "the attributes of a quantizer", at, refused=True)
        readers: Mapping[str, Callable[[Member, str], Iterator[Setting]]] = {
            "num_bits": self._width,
            "axis": self._axis,
            "unsigned": self._unsigned,
            "narrow_range": self._narrow,
            "type": self._type,
            "calibrator": self._calibrator,
            "block_sizes": self._blocks,
        }
        for key, reader in readers.items():
            if (member := self.found.get(key)) is not None and not _is_null(member.value):
                said |= {setting.field: setting for setting in reader(member, below(self.pointer, key))}
        said |= {setting.field: setting for setting in self._range(unsigned=said["signed"].value is False)}
        self._others()
        return list(said.values())

    # ── attributes ───────────────────────────────────────────────────────────────────────────

    def _width(self, member: Member, at: str) -> Iterator[Setting]:
        span, value = member.value.span, plain(member.value)
        float_ = _exponent(value)
        if float_ in _FLOATS:
            word, bits = _FLOATS[float_]
            yield Setting("type", word, span, at)
            yield Setting("bits", bits, span, at)
        elif float_ is not None:
            message = f"no type is a float of {float_[0]} and {float_[1]} bits: it is dropped"
            self.findings.lost(LossKind.DTYPE, message, span, at, "type", "bits")
        elif isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= 32:
            yield Setting("bits", value, span, at)
        else:
            help_ = "integers are 2 to 32 bits wide, floats are `e4m3`, `e5m2` or `e2m1`"
            self.findings.bad(f"`num_bits` cannot be `{_short(value)}`", span, at, help_)

    def _axis(self, member: Member, at: str) -> Iterator[Setting]:
        value, span = plain(member.value), member.value.span
        axes = value if isinstance(value, list) else [value]
        if not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
            self.findings.bad("`axis` is a number, an array of numbers, or nothing", span, at)
            return
        if len(axes) != 1:
            message = f"a scale is one per channel or one per tensor: `axis` {axes} is read as one per channel"
            self.findings.lost(LossKind.GRANULARITY, message, span, at, "per_channel")
        elif self.role == "weight" and axes[0] != (1 if self.operator == "ConvTranspose" else 0):
            message = f"the channels of a weight are those of its outputs: axis {axes[0]} is read as these"
            self.findings.lost(LossKind.AXIS, message, span, at, "per_channel")
        yield Setting("per_channel", True, span, at)

    def _unsigned(self, member: Member, at: str) -> Iterator[Setting]:
        if (flag := self._flag(member, at)) is not None:
            yield Setting("signed", not flag, member.value.span, at)

    def _narrow(self, member: Member, at: str) -> Iterator[Setting]:
        if (flag := self._flag(member, at)) is not None:
            yield Setting("narrow_range", flag, member.value.span, at)

    def _type(self, member: Member, at: str) -> Iterator[Setting]:
        word = plain(member.value)
        if word in ("static", "dynamic"):
            yield Setting("dynamic", word == "dynamic", member.value.span, at)
        else:
            self.findings.bad(f"`{member.key}` is `static` or `dynamic`", member.value.span, at)

    def _calibrator(self, member: Member, at: str) -> Iterator[Setting]:
        word = plain(member.value)
        if word == "max":
            yield Setting("calib", "minmax", member.value.span, at)
            return
        if isinstance(word, str) and word != "histogram":
            self.findings.bad("`calibrator` is `max` or `histogram`, or makes one", member.value.span, at)
            return
        message = "what a histogram becomes is said in Python only: min-max takes the calibrator's place"
        self.findings.lost(LossKind.ESTIMATOR, message, member.value.span, at, "calib")

    def _blocks(self, member: Member, at: str) -> Iterator[Setting]:
        if not isinstance(member.value, Object):
            self.findings.wrong(member.value, "`block_sizes`", "an object", at)
            return
        found = members(member.value)
        axes: dict[int, Member] = {}
        for one in found.values():
            if re.fullmatch(r"-?\d{1,3}", one.key):
                axes[int(one.key)] = one
            elif one.key not in _BLOCK_WORDS:
                known = ("-1", *_BLOCK_WORDS)
                self.findings.unknown(one, known, "`block_sizes`", below(at, one.key), refused=True)
        axis, size = next(iter(axes.items()), (-1, None))
        if len(axes) == 1 and axis == -1 and size is not None:
            yield from self._group(size, below(at, size.key))
        else:
            message = "blocks lie along the last axis: others are dropped"
            self.findings.lost(LossKind.GRANULARITY, message, member.value.span, at, "per_group")
        if (kind := found.get("type")) is not None:
            yield from self._type(kind, below(at, "type"))
        yield from self._scales(found, at)

    def _group(self, member: Member, at: str) -> Iterator[Setting]:
        value, span = plain(member.value), member.value.span
        if value is None:
            message = "one scale for each vector along the last axis, such as a token, is read as one per tensor"
            self.findings.lost(LossKind.GRANULARITY, message, span, at, "per_group")
        elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536:
            yield Setting("per_group", value, span, at)
        else:
            self.findings.bad("the size of a block is a number from 1 to 65536", span, at)

    def _scales(self, found: Mapping[str, Member], at: str) -> Iterator[Setting]:
        bits = found.get("scale_bits")
        if bits is not None and _exponent(plain(bits.value)) == _E8M0:
            yield Setting("scale", "e8m0", bits.value.span, below(at, "scale_bits"))
        elif bits is not None and not _is_null(bits.value):
            message = f"scales of `{_short(plain(bits.value))}` are read as any positive scales"
            self.findings.lost(LossKind.SCALE, message, bits.value.span, below(at, "scale_bits"), "scale")
        for key in ("scale_block_sizes", "four_over_six"):
            if (member := found.get(key)) is not None and plain(member.value) not in (None, False):
                message = f"nothing else has `{key}`: it is dropped"
                self.findings.lost(LossKind.SCALE, message, member.value.span, below(at, key), "scale")

    def _range(self, *, unsigned: bool) -> Iterator[Setting]:
        """Yield the range of a quantizer that is never calibrated."""
        constant, fixed = self.found.get("constant_amax"), self.found.get("use_constant_amax")
        if fixed is not None and self._flag(fixed, below(self.pointer, "use_constant_amax")):
            at = below(self.pointer, "use_constant_amax")
            yield Setting("range", (-_FP8_MAX, _FP8_MAX), fixed.value.span, at)
        if constant is None or _is_null(constant.value):
            return
        value, at = plain(constant.value), below(self.pointer, "constant_amax")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            self.findings.bad("`constant_amax` is a positive number", constant.value.span, at)
            return
        yield Setting("range", (0.0 if unsigned else -float(value), float(value)), constant.value.span, at)

    def _others(self) -> None:
        """Lose what no tensor's setting can say."""
        bias = self.found.get("bias")
        if bias is not None and not _is_null(bias.value):
            message = "an offset beside the scale, taken off before, is dropped"
            self.findings.lost(LossKind.SYMMETRY, message, bias.value.span, below(self.pointer, "bias"), "symmetric")
        for key, default in _IGNORED.items():
            member = self.found.get(key)
            if member is None or plain(member.value) == default or (key == "effective_bits"):
                continue
            message = f"nothing else has the attribute `{key}`: it is dropped"
            self.findings.lost(LossKind.OPTION, message, member.value.span, below(self.pointer, key))

    def _flag(self, member: Member, at: str) -> bool | None:
        value = plain(member.value)
        if isinstance(value, bool):
            return value
        self.findings.bad(f"`{member.key}` is true or false", member.value.span, at)
        return None


def default_settings(span: Span) -> list[Setting]:
    """Return what holds for a quantizer that no entry says anything of."""
    return [Setting(field, value, span) for field, value in _DEFAULTS.items()]


def located(value: object, span: Span) -> Json:
    """Return a plain value as if it stood at `span`."""
    if isinstance(value, dict):
        return Object(tuple(Member(str(k), span, located(v, span)) for k, v in value.items()), span)
    if isinstance(value, list):
        return Array(tuple(located(item, span) for item in value), span)
    assert value is None or isinstance(value, (str, int, float, bool))
    return Scalar(value, span)


def _exponent(value: object) -> tuple[int, int] | None:
    """Return the bits of exponent and mantissa of `e4m3` or `[4, 3]`."""
    if isinstance(value, str) and (match := re.fullmatch(r"[Ee](\d{1,2})[Mm](\d{1,2})", value)):
        return int(match[1]), int(match[2])
    if isinstance(value, list) and len(value) == 2 and all(type(bits) is int for bits in value):
        return value[0], value[1]
    return None


def _is_null(value: Json) -> bool:
    return isinstance(value, Scalar) and value.value is None


def _short(value: object) -> str:
    return str(value)[:40]
