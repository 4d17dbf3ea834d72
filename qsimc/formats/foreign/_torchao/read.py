"""Read the configurations of torchao: objects with a name, a version and arguments, within each other.

The names are data: they are looked up in specs/formats/torchao.toml, and nothing is imported or made by them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from qsimc import resources
from qsimc.diagnostics import did_you_mean
from qsimc.formats.foreign._shared import Findings, below, members, whole
from qsimc.ir.config import Clause, Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

TOOL = "torchao"

_PER_ROW = ("PerRow", "PerToken")


@cache
def spec() -> Mapping[str, Any]:
    """Return specs/formats/torchao.toml."""
    return tomllib.loads(resources.read("specs", "formats/torchao.toml"))


@dataclass(frozen=True, slots=True)
class Named:
    """An object with `_type` and `_data`: its name, its arguments, and where they stand."""

    name: str
    said: Mapping[str, Member]
    version: Scalar | None
    span: Span
    name_span: Span
    pointer: str


def named(value: Json, pointer: str) -> Named | None:
    """Return an object with a name and arguments, None if a value is no such object."""
    if not isinstance(value, Object):
        return None
    said = members(value)
    name, data = said.get("_type"), said.get("_data")
    if name is None or data is None or not isinstance(name.value, Scalar) or not isinstance(name.value.value, str):
        return None
    version = said.get("_version")
    arguments = members(data.value) if isinstance(data.value, Object) else {}
    found = version.value if version is not None and isinstance(version.value, Scalar) else None
    return Named(name.value.value, arguments, found, value.span, name.value.span, below(pointer, "_data"))


def enum(value: Json) -> str | None:
    """Return the word of an enumeration or of a type of torch: `{"_type": "torch.dtype", "_data": "int4"}`."""
    if isinstance(value, Object):
        data = members(value).get("_data")
        value = data.value if data is not None else value
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None


def read_config(value: Json, pointer: str, findings: Findings) -> tuple[Clause, ...] | None:
    """Return what a configuration says of the tensors of a layer; None if it is none that can be said."""
    config = named(value, pointer)
    if config is None:
        findings.wrong(value, "a configuration", "an object with `_type` and `_data`", pointer)
        return None
    known = spec()["configs"]
    if config.name in spec()["others"]["names"]:
        message = f"what `{config.name}` means has no words here"
        findings.lost(LossKind.DTYPE, message, config.name_span, below(pointer, "_type"))
        return None
    if config.name not in known:
        near = did_you_mean(config.name, tuple(known))
        helps = (f"did you mean `{near}`?",) if near else ()
        message = f"no configuration is called `{config.name[:60]}`"
        findings.bad(message, config.name_span, below(pointer, "_type"), *helps)
        return None
    return _Config(config, known[config.name], findings).clauses()


@dataclass(frozen=True, slots=True)
class _Config:
    config: Named
    spec: Mapping[str, Any]
    findings: Findings

    def clauses(self) -> tuple[Clause, ...]:
        self._version()
        self._keys()
        found = []
        for role in ("weight", "input", "output"):
            rows = self.spec.get(role)
            if rows is None:
                settings: tuple[Setting, ...] = (self._setting("enabled", False, None),)
            else:
                settings = (self._setting("enabled", True, None), *self._tensor(role, rows))
            found.append(Clause((role,), settings, self.config.span))
        return tuple(found)

    def _version(self) -> None:
        said = self.config.version
        version = self.spec["version"]
        if said is not None and said.value != version:
            pointer = self.config.pointer.removesuffix("/_data") + "/_version"
            message = f"torchao 0.18 has version {version} of `{self.config.name}`"
            self.findings.lost(LossKind.DROPPED, message, said.span, pointer)

    def _keys(self) -> None:
        other = self.spec["other"]
        keys = [row[key] for row in self._rows() for key in row if key.endswith("_key")]
        known = tuple(dict.fromkeys((*keys, *other)))
        for key, member in self.config.said.items():
            pointer = below(self.config.pointer, key)
            if key not in known:
                self.findings.unknown(member, known, f"`{self.config.name}`", pointer, refused=True)
            elif key in other and key not in keys and not self._usual(member.value, other[key]):
                what = LossKind.CONSTRAINT if key.startswith("activation_value") else LossKind.DROPPED
                self.findings.lost(what, f"`{key}` has no word here", whole(member), pointer)

    def _rows(self) -> Iterator[Mapping[str, str]]:
        for role in ("weight", "input"):
            yield self.spec.get(role, {})

    @staticmethod
    def _usual(value: Json, default: object) -> bool:
        """Say whether a value is null, or the default."""
        if isinstance(value, Object):
            name = members(value).get("_type")
            return default in (enum(value), name is not None and enum(name.value))
        return isinstance(value, Scalar) and (value.value is None or value.value == default)

    # ── tensors ──────────────────────────────────────────────────────────────────────────────

    def _tensor(self, role: str, rows: Mapping[str, Any]) -> Iterator[Setting]:
        yield from self._type(rows)
        yield from self._symmetric(rows)
        yield from self._granularity(role, rows)
        yield self._setting("dynamic", rows.get("dynamic", False), None)
        yield self._setting("calib", "minmax", None)
        yield self._setting("scale", "float", None)

    def _type(self, rows: Mapping[str, Any]) -> Iterator[Setting]:
        member = self._said(rows.get("type_key"))
        word = enum(member.value) if member is not None else str(rows["type"])
        key = rows.get("type_key")
        word = word.removeprefix("torch.") if word is not None else None
        if word in spec()["types"]:
            yield self._setting("type", spec()["types"][word], key)
        elif word is not None and (match := re.fullmatch(r"int([2-8])", word)):
            yield self._setting("type", "int", key)
            yield self._setting("bits", int(match[1]), key)
        else:
            assert member is not None
            what = f"the type `{word[:40]}`" if word is not None else kind(member.value)
            self._bad(member, f"{what} is no type that a tensor can have here")

    def _symmetric(self, rows: Mapping[str, Any]) -> Iterator[Setting]:
        member = self._said(rows.get("symmetric_key"))
        if member is None:
            yield self._setting("symmetric", rows["symmetric"], None)
            return
        word = enum(member.value)
        if word not in ("SYMMETRIC", "ASYMMETRIC", "SYMMETRIC_NO_CLIPPING_ERR"):
            self._bad(member, "a mapping is SYMMETRIC or ASYMMETRIC")
            return
        if word == "SYMMETRIC_NO_CLIPPING_ERR":
            message = "a scale that clips nothing has no word here"
            self.findings.lost(LossKind.ESTIMATOR, message, member.value.span, self._at(member), "calib")
        yield self._setting("symmetric", word != "ASYMMETRIC", rows["symmetric_key"])

    def _granularity(self, role: str, rows: Mapping[str, Any]) -> Iterator[Setting]:
        key = rows.get("group_key") or rows.get("granularity_key")
        member = self._said(key)
        if member is None:
            yield from self._per(role, str(rows["granularity"]), rows.get("group"), None)
            return
        if "group_key" in rows:
            said = member.value.value if isinstance(member.value, Scalar) else None
            yield from self._per(role, "PerGroup", said, member)
            return
        value = member.value
        if isinstance(value, Array):
            if len(value.items) != 2:
                self._bad(member, "two granularities are expected: that of activations and that of weights")
                return
            value = value.items[0 if role == "input" else 1]
        per = named(value, "")
        if per is None or per.name not in (*self.spec["allowed"], "PerToken"):
            self._bad(member, f"a granularity is one of {', '.join(self.spec['allowed'])}")
            return
        argument = per.said.get("group_size") or per.said.get("block_size")
        size = argument.value if argument is not None else None
        if isinstance(size, Array):
            size = size.items[-1] if size.items else None
        yield from self._per(role, per.name, size.value if isinstance(size, Scalar) else None, member)

    def _per(self, role: str, name: str, size: object, member: Member | None) -> Iterator[Setting]:
        key = member.key if member is not None else None
        if name == "PerTensor":
            yield self._setting("per_channel", False, key)
        elif name in ("PerGroup", "PerBlock"):
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 65536:
                if member is not None:
                    self._bad(member, "the size of a group is an integer from 1 to 65536")
                return
            if name == "PerBlock":
                message = f"blocks become groups of {size}, as if they had one row"
                self._lost_granularity(message, member)
            yield self._setting("per_group", size, key)
        elif role == "weight":
            yield self._setting("per_channel", True, key)  # a row of a weight is an output channel
        else:
            self._lost_granularity("a scale per token has no word here", member)

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _said(self, key: str | None) -> Member | None:
        """Return what a key says, None if it is absent or null."""
        member = self.config.said.get(key) if key is not None else None
        if member is None or (isinstance(member.value, Scalar) and member.value.value is None):
            return None
        return member

    def _at(self, member: Member) -> str:
        return below(self.config.pointer, member.key)

    def _setting(self, field: str, value: Value, key: str | None) -> Setting:
        member = self._said(key)
        if member is None:
            return Setting(field, value, self.config.span, self.config.pointer)
        return Setting(field, value, member.value.span, self._at(member))

    def _bad(self, member: Member, message: str) -> None:
        self.findings.bad(message, member.value.span, self._at(member))

    def _lost_granularity(self, message: str, member: Member | None) -> None:
        span = member.value.span if member is not None else self.config.name_span
        pointer = self._at(member) if member is not None else self.config.pointer
        self.findings.lost(LossKind.GRANULARITY, message, span, pointer, "per_channel")
