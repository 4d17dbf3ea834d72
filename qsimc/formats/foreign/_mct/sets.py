"""Operator sets of a TPC file, and patterns of them: which ONNX operators they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qsimc.formats.foreign._mct.values import Options, Values
from qsimc.formats.foreign._shared import Findings, below
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, OpType, Selector
from qsimc.source import Span
from qsimc.spec.operator_words import operator_words
from qsimc.syntax.json import Array, Json, Object, Scalar, plain

FAMILY = "mct"

_SET = ("name", "qc_options", "type")
_PATTERN = ("operator_groups", "fuse_op_quantization_config", "name")


@dataclass(frozen=True, slots=True)
class OperatorSet:
    """A set with what it says, None where it only has a name; `raw` is that as plain JSON."""

    name: str
    options: Options | None
    raw: object
    span: Span
    name_span: Span
    pointer: str


class Sets:
    """Reads operator sets and patterns; what they are not in ONNX is reported."""

    def __init__(self, findings: Findings, values: Values) -> None:
        self.findings = findings
        self.values = values

    def operators(self, items: Iterable[tuple[Json, str]]) -> list[tuple[OperatorSet, tuple[str, ...]]]:
        """Return the sets of a file, each with the ONNX operators that it decides."""
        sets: dict[str, OperatorSet] = {}
        for value, pointer in items:
            found = self._set(value, pointer)
            if found is None:
                continue
            if found.name in sets:
                self.findings.bad(f"the set `{found.name}` stands here twice", found.name_span, pointer)
                continue
            sets[found.name] = found
        words = operator_words(FAMILY)
        decided: dict[str, list[str]] = {name: [] for name in sets}
        for operator, names in words.of.items():
            present = [name for name in names if name in sets]
            if not present:
                continue
            first, *others = present
            decided[first].append(operator)
            for name in others:
                if sets[name].raw != sets[first].raw:
                    message = f"ONNX does not tell `{name}` from `{first}`, whose configuration holds for {operator}"
                    self._selector(message, sets[name])
            if (missing := [name for name in names if name not in sets]) and sets[first].raw is not None:
                message = f"{operator} is {' and '.join(missing)} too, which this file leaves to the default"
                self._selector(message, sets[first])
        for name, found in sets.items():
            if name not in words.meant:
                self._selector(f"no operator of ONNX is the set `{name}`, which is left out", found)
        return [(found, tuple(decided[name])) for name, found in sets.items() if decided[name]]

    def fusions(self, items: Iterable[tuple[Json, str]]) -> Iterator[tuple[tuple[Selector, ...], Span]]:
        """Yield the patterns of a file as chains of ONNX operators."""
        for value, pointer in items:
            if not isinstance(value, Object):
                self.findings.wrong(value, "a pattern", "an object", pointer)
                continue
            found = self.values.members(value, _PATTERN, "a pattern", pointer)
            groups = found.get("operator_groups")
            if groups is None or not isinstance(groups.value, Array) or len(groups.value.items) < 2:
                self.findings.bad("a pattern needs two `operator_groups` at least", value.span, pointer)
                continue
            own = found.get("fuse_op_quantization_config")
            if own is not None and plain(own.value) is not None:
                message = "no rule says how the fused operator itself is quantized"
                at = below(pointer, "fuse_op_quantization_config")
                self.findings.lost(LossKind.SUPERGROUP, message, own.value.span, at)
            steps = [self._step(group, below(pointer, "operator_groups")) for group in groups.value.items]
            sound = tuple(step for step in steps if step is not None)
            if len(sound) == len(steps):
                yield sound, value.span

    # ── parts ────────────────────────────────────────────────────────────────────────────────

    def _set(self, value: Json, pointer: str) -> OperatorSet | None:
        if not isinstance(value, Object):
            self.findings.wrong(value, "an operator set", "an object", pointer)
            return None
        found = self.values.members(value, _SET, "an operator set", pointer)
        name = found.get("name")
        if name is None:
            self.findings.bad("an operator set needs a `name`", value.span, pointer)
            return None
        if not (isinstance(name.value, Scalar) and isinstance(name.value.value, str)):
            self.findings.wrong(name.value, "`name`", "a string", below(pointer, "name"))
            return None
        options, raw = None, None
        if "qc_options" in found and (raw := plain(found["qc_options"].value)) is not None:
            options = self.values.options(found["qc_options"].value, "qc_options", below(pointer, "qc_options"))
            if options is None:
                return None
        return OperatorSet(name.value.value, options, raw, value.span, name.value.span, pointer)

    def _step(self, value: Json, pointer: str) -> Selector | None:
        """Return the operators of one step of a pattern; a group holds sets."""
        if not isinstance(value, Object):
            self.findings.wrong(value, "a step of a pattern", "an object", pointer)
            return None
        listed = next((m.value for m in value.members if m.key == "operators_set"), None)
        sets = listed.items if isinstance(listed, Array) else (value,)
        operators: dict[str, None] = {}
        for item in sets:
            names = [m.value for m in item.members if m.key == "name"] if isinstance(item, Object) else []
            name = names[-1].value if names and isinstance(names[-1], Scalar) else None
            meant = operator_words(FAMILY).meant.get(str(name), ())
            if not isinstance(name, str):
                self.findings.bad("an operator set needs a `name`", item.span, pointer)
                return None
            if not meant:
                message = f"no operator of ONNX is the set `{name}`, so the pattern is left out"
                self.findings.lost(LossKind.SUPERGROUP, message, item.span, pointer)
                return None
            operators |= dict.fromkeys(meant)
        if not operators:
            self.findings.bad("a group has at least one set", value.span, pointer)
            return None
        found = tuple(map(OpType, operators))
        return found[0] if len(found) == 1 else AnyOf(found)

    def _selector(self, message: str, found: OperatorSet) -> None:
        self.findings.lost(LossKind.SELECTOR, message, found.name_span, below(found.pointer, "name"))
