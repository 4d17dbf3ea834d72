"""How NNCF finds ranges: the section `initializer.range`, once for all quantizers or a list for some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._nncf.scopes import Scope, scopes
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar

GROUPS: Mapping[str, tuple[str, ...]] = {"weights": ("weight",), "activations": ("act",)}
"""The tensors that a group of quantizers is about."""

_TYPES: Mapping[str, tuple[str, str]] = {
    "mixed_min_max": ("minmax", ""),
    "min_max": ("minmax", ""),
    "mean_min_max": ("minmax", "mean"),
    "percentile": ("percentile", ""),
    "mean_percentile": ("percentile", "mean"),
    "threesigma": ("", ""),
}
_BASIC = ("num_init_samples", "type", "params")
_SCOPED = (*_BASIC, "target_scopes", "ignored_scopes", "validate_scopes", "target_quantizer_group")
_PERCENTILES = {"min_percentile": 0.1, "max_percentile": 99.9}


@dataclass(frozen=True, slots=True)
class Range:
    """The settings of one entry, the groups that it is about, its scopes (none: all), and the samples it asks for."""

    settings: tuple[Setting, ...]
    roles: tuple[str, ...]
    scopes: tuple[Scope, ...]
    samples: Scalar | None
    span: Span


def ranges(value: Json, pointer: str, findings: Findings) -> Iterator[Range]:
    """Yield the entries of a section; what is wrong with it is reported."""
    if isinstance(value, Object):
        yield _entry(value, _BASIC, pointer, findings)
    elif isinstance(value, Array):
        for index, item in enumerate(value.items):
            if isinstance(item, Object):
                yield _entry(item, _SCOPED, below(pointer, index), findings)
            else:
                findings.wrong(item, "an entry of `range`", "an object", below(pointer, index))
    else:
        findings.wrong(value, "`range`", "an object, or an array of objects", pointer)


def _entry(value: Object, known: tuple[str, ...], pointer: str, findings: Findings) -> Range:
    found = members(value)
    for member in found.values():
        if member.key not in known:
            findings.unknown(member, known, "`range`", below(pointer, member.key), refused=True)
    samples = _number(found, "num_init_samples", pointer, findings)
    of: tuple[Scope, ...] = ()
    roles = tuple(role for group in GROUPS.values() for role in group)
    if known is _SCOPED:
        roles = _group(found, pointer, findings) or roles
        if (target := found.get("target_scopes")) is not None:
            of = tuple(scopes(target.value, "`target_scopes`", below(pointer, "target_scopes"), findings))
        if (ignored := found.get("ignored_scopes")) is not None:
            message = "the range of all but some nodes cannot be told: `ignored_scopes` of a range is dropped"
            findings.lost(LossKind.SELECTOR, message, ignored.value.span, below(pointer, "ignored_scopes"), "calib")
    return Range(tuple(_settings(found, pointer, findings)), roles, of, samples, value.span)


def _group(found: Mapping[str, Member], pointer: str, findings: Findings) -> tuple[str, ...]:
    member = found.get("target_quantizer_group")
    if member is None:
        return ()
    if isinstance(member.value, Scalar) and isinstance(member.value.value, str) and member.value.value in GROUPS:
        return GROUPS[member.value.value]
    at = below(pointer, member.key)
    findings.bad("a group of quantizers is `weights` or `activations`", member.value.span, at)
    return ()


def _settings(found: Mapping[str, Member], pointer: str, findings: Findings) -> Iterator[Setting]:
    """Yield what the type of a range, and its percentiles, say."""
    said = found.get("type")
    if said is None:
        return
    at, span = below(pointer, "type"), said.value.span
    word = said.value.value if isinstance(said.value, Scalar) else None
    if not isinstance(word, str) or word not in _TYPES:
        findings.bad(f"a range is one of {', '.join(f'`{name}`' for name in _TYPES)}", span, at)
        return
    calib, reduce = _TYPES[word]
    if not calib:
        message = f"nothing else finds a range as `{word}` does: min-max takes its place"
        findings.lost(LossKind.ESTIMATOR, message, span, at, "calib")
    yield Setting("calib", calib or "minmax", span, at)
    if reduce:
        yield Setting("reduce", reduce, span, at)
    if calib == "percentile":
        yield from _percentile(found.get("params"), span, below(pointer, "params"), findings)


def _percentile(params: Member | None, span: Span, pointer: str, findings: Findings) -> Iterator[Setting]:
    """Yield the share of values between both percentiles; NNCF's own ones leave 0.1 percent out at either end."""
    found: Mapping[str, Member] = {}
    if params is not None and isinstance(params.value, Object):
        found, span = members(params.value), params.value.span
        for member in found.values():
            if member.key not in _PERCENTILES:
                findings.unknown(member, _PERCENTILES, "`params`", below(pointer, member.key), refused=False)
    elif params is not None:
        findings.wrong(params.value, "`params`", "an object", pointer)
    both: list[float] = []
    for key, default in _PERCENTILES.items():
        number = _number(found, key, pointer, findings)
        both.append(default if number is None or not isinstance(number.value, (int, float)) else number.value)
    low, high = both
    share = round(high - low, 9)
    if not 0 <= low < high <= 100 or share < 50:
        findings.bad(f"the percentiles {low} and {high} leave less than half of the values", span, pointer)
        return
    if abs(low + high - 100) > 1e-9:
        message = f"both ends lose the same share of values: {low} and {high} are read as {share} percent in the middle"
        findings.lost(LossKind.ESTIMATOR, message, span, pointer, "percentile")
    yield Setting("percentile", share, span, pointer)


def _number(found: Mapping[str, Member], key: str, pointer: str, findings: Findings) -> Scalar | None:
    member = found.get(key)
    if member is None:
        return None
    value: Value = member.value.value if isinstance(member.value, Scalar) else None
    if isinstance(member.value, Scalar) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return member.value
    findings.bad(f"`{key}` is a number", member.value.span, below(pointer, key))
    return None
