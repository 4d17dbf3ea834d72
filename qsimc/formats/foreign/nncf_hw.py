"""NNCF's hardware configurations: what a device can quantize, and how, operator by operator.

The first of several ways is the one that NNCF chooses, so it becomes the settings; all of them together become a
restriction.  An operator that is named without quantizers passes on what it reads; one that is not named stays a float.
Source: the reader and the configurations of nncf 2.17.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.diagnostics import Report
from qsimc.formats.foreign._nncf.spaces import ROLES, Space, chosen, claim, space
from qsimc.formats.foreign._nncf.values import Values
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Clause, Config, Option, Restriction, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, Everything, OpType, Selector
from qsimc.source import Source, Span
from qsimc.spec.operator_words import operator_words
from qsimc.syntax.json import Array, Json, Member, Object, Scalar

TITLE = "NNCF hardware configuration, version 2"
SUFFIX = ".json"

_TOP = ("target_device", "config", "operations")
_OPERATION = ("type", "quantization", "attributes")


def recognises(document: Json) -> bool:
    """Say whether a document lists what a device can do with each operator."""
    found = members(document) if isinstance(document, Object) else {}
    operations, config = found.get("operations"), found.get("config")
    listed = operations is not None and isinstance(operations.value, Array)
    return (
        listed and config is not None and isinstance(config.value, Object) and "quantization" in members(config.value)
    )


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a device does by default, and what it can do at all."""
    reader = _Reader(Findings("NNCF", report))
    if isinstance(document, Object):
        reader.file(members(document))
    else:
        reader.findings.wrong(document, "the whole file", "an object", "")
    return Config(
        source=source,
        dialect="onnx",
        format="nncf-hw",
        options=tuple(reader.options),
        rules=tuple(reader.rules),
        restrictions=tuple(reader.restrictions),
    )


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.values = Values(findings)
        self.spaces: dict[str, Space | None] = {}
        self.unified: list[tuple[Member, str]] = []
        self.options: list[Option] = []
        self.rules: list[Rule] = []
        self.restrictions: list[Restriction] = []

    def file(self, top: Mapping[str, Member]) -> None:
        for member in top.values():
            if member.key not in _TOP:
                self.findings.unknown(member, _TOP, "the top level", below("", member.key), refused=False)
        device = top.get("target_device")
        if device is not None and isinstance(device.value, Scalar) and isinstance(device.value.value, str):
            self.options.append(Option("target_device", device.value.value, device.value.span))
        elif device is not None:
            self.findings.bad("`target_device` is the name of a device", device.value.span, "/target_device")
        config = self.values.object(top.get("config"), "/config")
        aliases = self.values.object(config.get("quantization"), "/config/quantization")
        for alias in aliases.values():
            self.spaces[alias.key] = space(alias.value, below("/config/quantization", alias.key), self.findings)
        operations = top.get("operations")
        if operations is None or not isinstance(operations.value, Array):
            if operations is not None:
                self.findings.wrong(operations.value, "`operations`", "an array", "/operations")
            return
        span = operations.key_span
        off = Setting("enabled", False, span, "/operations")
        self.rules.append(Rule(Everything(), (Clause((), (off,), span),), span))
        for index, item in enumerate(operations.value.items):
            self._operation(item, below("/operations", index))
        self._unified()

    def _operation(self, value: Json, pointer: str) -> None:
        if not isinstance(value, Object):
            self.findings.wrong(value, "an operation", "an object", pointer)
            return
        found = members(value)
        for member in found.values():
            if member.key not in _OPERATION:
                self.findings.unknown(member, _OPERATION, "an operation", below(pointer, member.key), refused=False)
        says = "quantization" in found or "attributes" in found
        selector, subject = self._selector(found.get("type"), value.span, pointer, says=says)
        self._attributes(found.get("attributes"), pointer)
        quantization = self.values.object(found.get("quantization"), below(pointer, "quantization"))
        clauses: list[Clause] = []
        for member in quantization.values():
            at = below(below(pointer, "quantization"), member.key)
            if member.key not in ROLES:
                self.findings.unknown(member, ROLES, "`quantization`", at, refused=False)
                continue
            spaces = list(self._spaces(member.value, at))
            if not spaces or selector is None:
                continue
            role = ROLES[member.key]
            on = Setting("enabled", True, member.value.span, at)
            clauses.append(Clause((role,), (on, *chosen(spaces[0])), member.value.span))
            self._restrict(selector, role, spaces, member.value.span)
        if selector is not None:
            self.rules.append(Rule(selector, tuple(clauses), value.span, subject))

    def _selector(self, member: Member | None, span: Span, pointer: str, *, says: bool) -> tuple[Selector | None, Span]:
        """Return the operators of a type, None if ONNX has none; that is a loss where something is said of them."""
        if member is None:
            self.findings.bad("`type` is missing, which names the operator", span, pointer)
            return None, span
        name, at = member.value.value if isinstance(member.value, Scalar) else None, below(pointer, "type")
        if not isinstance(name, str):
            self.findings.bad("`type` is the name of an operator", member.value.span, at)
            return None, span
        meant = operator_words("openvino").meant.get(name, ())
        if not meant and says:
            message = f"ONNX has no operator that is just `{name}`: what is said of it is dropped"
            self.findings.lost(LossKind.PLACEMENT, message, member.value.span, at, "enabled")
        if not meant:
            return None, span
        operators = tuple(OpType(operator) for operator in meant)
        return operators[0] if len(operators) == 1 else AnyOf(operators), member.value.span

    def _attributes(self, member: Member | None, pointer: str) -> None:
        at = below(pointer, "attributes")
        for attribute in self.values.object(member, at).values():
            place = below(at, attribute.key)
            if attribute.key == "scales":
                self.unified.append((attribute, place))
            elif attribute.key == "adjust_padding":
                message = "nothing else adjusts the padding: `adjust_padding` is dropped"
                self.findings.lost(LossKind.OPTION, message, attribute.value.span, place)
            else:
                message = f"what is said of some of these operators, by `{attribute.key}`, is read as of all of them"
                self.findings.lost(LossKind.SELECTOR, message, attribute.value.span, place)

    def _unified(self) -> None:
        if self.unified:
            member, pointer = self.unified[0]
            count = f"; {len(self.unified)} operators say so" if len(self.unified) > 1 else ""
            message = f"operators whose tensors share one scale cannot be told: `scales` is dropped{count}"
            self.findings.lost(LossKind.PLACEMENT, message, member.value.span, pointer, "shares")

    def _spaces(self, value: Json, pointer: str) -> Iterator[Space]:
        """Yield the ways of quantizing that a list names, or describes on the spot."""
        items = value.items if isinstance(value, Array) else (value,)
        for index, item in enumerate(items):
            at = below(pointer, index) if isinstance(value, Array) else pointer
            found: Space | None = None
            if isinstance(item, Scalar) and isinstance(item.value, str):
                if item.value not in self.spaces:
                    known = ", ".join(f"`{name}`" for name in self.spaces)
                    self.findings.bad(f"`{item.value}` is not in `config`", item.span, at, f"there: {known}")
                found = self.spaces.get(item.value)
            else:
                found = space(item, at, self.findings)
            if found is not None:
                yield found

    def _restrict(self, selector: Selector, role: str, spaces: list[Space], span: Span) -> None:
        predicate = claim(spaces, span)
        message = "the device has no other way of quantizing this"
        self.restrictions.append(Restriction("", "require", selector, (role,), predicate, message, span))
