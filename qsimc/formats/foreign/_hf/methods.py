"""What a quantization method of Hugging Face says of a layer, by specs/formats/hf.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from qsimc import resources
from qsimc.formats.foreign._shared import Findings, below
from qsimc.ir.config import Clause, Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Member, Scalar, kind

_NF4 = "nf4"


@cache
def spec() -> Mapping[str, Any]:
    """Return specs/formats/hf.toml."""
    return tomllib.loads(resources.read("specs", "formats/hf.toml"))


@dataclass(frozen=True, slots=True)
class Layer:
    """One object of a file that says how layers are quantized: `said` its keys, `pointer` that of the object.

    `span` is where its method is named, and `named` the pointer of that.
    """

    said: Mapping[str, Member]
    span: Span
    named: str
    pointer: str
    findings: Findings

    def clauses(self, table: Mapping[str, Any]) -> tuple[Clause, ...]:
        """Return what the layers have: a clause for each tensor, all of it spelt out."""
        found = []
        for role in ("weight", "input", "output"):
            settings = tuple(self._tensor(role, table[role])) if role in table else ()
            on = any(setting.field == "type" for setting in settings)
            enabled = Setting("enabled", on, self.span, self.named)
            found.append(Clause((role,), (enabled, *settings) if on else (enabled,), self.span))
        return tuple(found)

    def _tensor(self, role: str, rows: Mapping[str, Any]) -> Iterator[Setting]:
        types = list(self._type(rows["type"]))
        yield from types
        if not types:
            return
        if "bits" in rows and (bits := self._find("bits", rows["bits"])) is not None:
            yield from self._bits(bits)
        yield self._find("symmetric", rows.get("symmetric", True)) or self._fixed("symmetric", True)
        dynamic = self._find("dynamic", rows.get("dynamic", False))
        yield from self._granularity(role, rows, dynamic is not None and dynamic.value is True)
        if dynamic is not None:
            yield dynamic
        yield self._fixed("calib", "minmax")
        yield self._find("scale", rows.get("scale", "float")) or self._fixed("scale", "float")

    def _type(self, row: object) -> Iterator[Setting]:
        found = self._find("type", row)
        if found is None or not found.value:
            return
        word = str(found.value)
        if match := re.fullmatch(r"int(\d)", word):
            yield Setting("type", "int", found.span, found.pointer)
            yield Setting("bits", int(match[1]), found.span, found.pointer)
        elif word == _NF4:
            message = "the values of NF4 have no word here: a float of 4 bits is taken"
            self.findings.lost(LossKind.DTYPE, message, found.span, found.pointer, "type")
            yield Setting("type", "float4_e2m1", found.span, found.pointer)
        else:
            yield found

    def _bits(self, found: Setting) -> Iterator[Setting]:
        if isinstance(found.value, int) and 2 <= found.value <= 32:
            yield found
        else:
            self.findings.bad("a weight has 2 to 32 bits", found.span, found.pointer)

    def _granularity(self, role: str, rows: Mapping[str, Any], dynamic: bool) -> Iterator[Setting]:
        if "group" in rows:
            found = self._find("per_group", rows["group"])
            size = found.value if found is not None else None
            if found is not None and size == -1:
                yield Setting("per_channel", True, found.span, found.pointer)
            elif found is not None and isinstance(size, int) and 1 <= size <= 65536:
                yield found
            elif found is not None:
                self.findings.bad("the size of a group is positive, or -1 for a channel", found.span, found.pointer)
        elif "block" in rows:
            yield from self._block(rows["block"])
        elif "per_channel" in rows:
            yield self._fixed("per_channel", rows["per_channel"])
        elif role == "input" and dynamic:
            message = "a scale per token, or per group of it, has no word here"
            self.findings.lost(LossKind.GRANULARITY, message, self.span, self.named, "per_channel")
        else:
            yield self._fixed("per_channel", False)

    def _block(self, row: Mapping[str, Any]) -> Iterator[Setting]:
        member = self.said.get(row["key"])
        pointer = below(self.pointer, row["key"])
        if member is not None and isinstance(member.value, Scalar) and member.value.value is None:
            yield Setting("per_channel", False, member.value.span, pointer)
            return
        size, span = row["default"], self.span
        if member is not None:
            items = member.value.items if isinstance(member.value, Array) else ()
            sides = [i.value for i in items if isinstance(i, Scalar) and type(i.value) is int and 1 <= i.value <= 65536]
            if len(sides) != 2 or len(items) != 2:
                self.findings.bad("a block has two positive sides, such as `[128, 128]`", member.value.span, pointer)
                return
            size, span = sides[1], member.value.span
        message = f"blocks become groups of {size}, as if they had one row"
        self.findings.lost(LossKind.GRANULARITY, message, span, pointer, "per_group")
        yield Setting("per_group", size, span, pointer)

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _fixed(self, field: str, value: Value) -> Setting:
        return Setting(field, value, self.span, self.named)

    def _find(self, field: str, row: Any) -> Setting | None:
        """Return the setting of a row: its fixed value, or what its key says; None after a report."""
        if not isinstance(row, Mapping):
            return self._fixed(field, row)
        default, words = row["default"], row.get("words")
        member = self.said.get(row["key"])
        if member is None or (isinstance(member.value, Scalar) and member.value.value is None):
            value = words.get(default, default) if words is not None else default
            return self._fixed(field, value != row["not"] if "not" in row else value)
        pointer = below(self.pointer, row["key"])
        said = member.value.value if isinstance(member.value, Scalar) else None
        known = tuple(words) if words is not None else row.get("among")
        if type(said) is not type(default) or said is None:
            expected = {bool: "true or false", int: "an integer", str: "a string"}[type(default)]
            self.findings.bad(f"{expected} is expected, found {kind(member.value)}", member.value.span, pointer)
            return None
        said = said.lower() if isinstance(said, str) else said
        if known is not None and said not in known:
            listed = ", ".join(map(str, known))
            self.findings.bad(
                f"`{row['key']}` cannot be `{str(said)[:40]}`", member.value.span, pointer, f"known: {listed}"
            )
            return None
        value = words[said] if words is not None else said
        return Setting(field, value != row["not"] if "not" in row else value, member.value.span, pointer)
