"""Values of NNCF's files: of the right type, or reported and None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qsimc.diagnostics import did_you_mean
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

FIELDS = ("mode", "bits", "signed", "per_channel")


@dataclass(frozen=True, slots=True)
class Values:
    """Reads values, and reports those that are none."""

    findings: Findings

    def object(self, member: Member | None, pointer: str) -> Mapping[str, Member]:
        """Return the members of a section, none where it is left out or no object."""
        if member is None:
            return {}
        if isinstance(member.value, Object):
            return members(member.value)
        self.findings.wrong(member.value, f"`{member.key}`", "an object", pointer)
        return {}

    def flag(self, member: Member | None, pointer: str) -> bool | None:
        value = None if member is None else _scalar(member.value)
        if member is None or isinstance(value, bool):
            return value if isinstance(value, bool) else None
        self._wrong(member, "true or false", pointer)
        return None

    def number(self, member: Member | None, pointer: str) -> float | None:
        value = None if member is None else _scalar(member.value)
        if member is None:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        self._wrong(member, "a number", pointer)
        return None

    def choice(self, member: Member | None, words: Sequence[str], pointer: str) -> str | None:
        value = None if member is None else _scalar(member.value)
        if member is None:
            return None
        if isinstance(value, str) and value in words:
            return value
        near = did_you_mean(value, words) if isinstance(value, str) else None
        known = ", ".join(f"`{word}`" for word in words)
        found = f"`{value[:60]}`" if isinstance(value, str) else kind(member.value)
        help_ = f"did you mean `{near}`?" if near else f"known: {known}"
        self.findings.bad(f"`{member.key}` cannot be {found}", member.value.span, pointer, help_)
        return None

    def fields(self, found: Mapping[str, Member], pointer: str) -> list[Setting]:
        """Return the settings of `mode`, `bits`, `signed` and `per_channel`."""
        settings: list[Setting] = []
        for key in FIELDS:
            if (member := found.get(key)) is None:
                continue
            at, span = below(pointer, key), member.value.span
            if key == "mode":
                word = self.choice(member, ("symmetric", "asymmetric"), at)
                if word is not None:
                    settings.append(Setting("symmetric", word == "symmetric", span, at))
            elif key == "bits":
                bits = self.number(member, at)
                if bits is not None and bits in range(2, 33):
                    settings.append(Setting("bits", int(bits), span, at))
                elif bits is not None:
                    self.findings.bad("`bits` is a whole number from 2 to 32", span, at)
            elif (flag := self.flag(member, at)) is not None:
                settings.append(Setting(key, flag, span, at))
        return settings

    def _wrong(self, member: Member, expected: str, pointer: str) -> None:
        self.findings.bad(f"`{member.key}` is {expected}, not {kind(member.value)}", member.value.span, pointer)


def objects(value: Json) -> tuple[Object, ...]:
    """Return an object, or those of an array, one by one."""
    items = value.items if isinstance(value, Array) else (value,)
    return tuple(item for item in items if isinstance(item, Object))


def _scalar(value: Json) -> object:
    return value.value if isinstance(value, Scalar) else None
