"""The arguments and options of an ONNX Runtime document, each with its place."""

from __future__ import annotations

from qsimc.formats.foreign._ort.values import strings, taken
from qsimc.formats.foreign._ort.words import TOOL, ort_words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Option, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.value import Value
from qsimc.source import Span
from qsimc.syntax.json import Json, Member, Object, Scalar

_SILENT = ("quant_format", "use_external_data_format", "calibration_providers", "calibration_cache_path")
"""Arguments about files and programs."""

_WHOLE = 100
"""Percent of the values that a percentile range can keep at most."""


class Arguments:
    """The values of a document, each with its place; that of an argument left out is the opening brace."""

    def __init__(self, document: Object, findings: Findings) -> None:
        self.findings = findings
        self.overrides: tuple[Member, str] | None = None
        self.options: list[Option] = []
        self.start = Span(document.span.source, document.span.start, document.span.start + 1)
        self.said: dict[str, tuple[Member, Value, str]] = {}
        words = ort_words()
        for key, member in members(document).items():
            at = below("", key)
            if key == "extra_options":
                self._extra(member.value, at)
            elif key in words.arguments:
                self.said[key] = member, taken(words.arguments[key], member.value, f"`{key}`", at, findings), at
                if key in _SILENT and isinstance(member.value, Scalar) and member.value.value is not None:
                    self.options.append(Option(key, member.value.value, member.value.span))
            else:
                findings.unknown(member, words.arguments, "the arguments of quantize_static", at, refused=True)

    def _extra(self, value: Json, pointer: str) -> None:
        if isinstance(value, Scalar) and value.value is None:
            return
        if not isinstance(value, Object):
            self.findings.wrong(value, "`extra_options`", "an object", pointer)
            return
        words = ort_words()
        for key, member in members(value).items():
            at, where = below(pointer, key), f"`{key}`"
            if key == "TensorQuantOverrides":
                self.overrides = member, at
            elif key in words.options:
                self.said[key] = member, taken(words.options[key], member.value, where, at, self.findings), at
            elif key in words.switches:
                option = taken(words.switches[key], member.value, where, at, self.findings)
                if option is not None:
                    self.options.append(Option(key, option, member.value.span))
            elif key in words.lost:
                self._lost(key, member, at)
            else:
                self.findings.unknown(member, words.extra_options, "`extra_options`", at, refused=False)

    def _lost(self, key: str, member: Member, pointer: str) -> None:
        row = ort_words().lost[key]
        value = taken(row.kind, member.value, f"`{key}`", pointer, self.findings)
        if value is not None and value != row.idle:
            message = f"there is no word for {row.says}: `{key}` is dropped"
            self.findings.lost(LossKind[row.loss.upper()], message, member.value.span, pointer)

    def refused(self) -> None:
        """Report what `quantize_static` stops at although each argument is sound."""
        act, weight = (self.word(key, "QInt8") for key in ("activation_type", "weight_type"))
        floats = [ort_words().types[word].float for word in (act, weight)]
        at = self.said.get("weight_type") or self.said.get("activation_type")
        if at is not None and ((act, weight) == ("QInt8", "QUInt8") or any(floats) is not all(floats)):
            message = f"{TOOL} refuses {weight} weights beside {act} activations"
            self.findings.bad(message, at[0].value.span, at[2], "take both types with a sign, or both floats")
        method, share = self.said.get("calibrate_method"), self.said.get("CalibPercentile")
        if all(floats) and (method is None or method[1] != "Distribution"):
            place = method or at
            assert place is not None, "8-bit floats are no default"
            message = f"{TOOL} calibrates 8-bit floats by `Distribution` only"
            self.findings.bad(message, place[0].value.span, place[2], 'write `"calibrate_method": "Distribution"`')
        if share is not None and isinstance(share[1], float) and not 0 <= share[1] <= _WHOLE:
            self.findings.bad("`CalibPercentile` must be 0 to 100", share[0].value.span, share[2])

    def value(self, key: str) -> Value:
        """Return the value of an argument or option, None if it is not said or cannot be read."""
        return self.said[key][1] if key in self.said else None

    def word(self, key: str, usual: str) -> str:
        """Return a word, the usual one if it is not said."""
        found = self.value(key)
        return usual if found is None else str(found)

    def span(self, key: str) -> Span:
        """Return where a value stands."""
        return self.said[key][0].value.span if key in self.said else self.start

    def strings(self, key: str) -> tuple[Scalar, ...]:
        """Return the strings of a list, each with its place."""
        if self.value(key) is None:
            return ()
        member, _, at = self.said[key]
        return strings(member.value, f"`{key}`", at, Findings(TOOL, lambda _: None))  # reported when it was taken

    def of(self, key: str, values: dict[str, Value]) -> tuple[Setting, ...]:
        """Return settings that stand at an argument."""
        return self.at(key, values, self.span(key))

    def at(self, key: str, values: dict[str, Value], span: Span) -> tuple[Setting, ...]:
        """Return settings that an argument says at a place of their own."""
        pointer = self.said[key][2] if key in self.said else ""
        return tuple(Setting(field, value, span, pointer) for field, value in values.items())

    def acts_symmetric(self) -> bool:
        """Say whether activations are symmetric; 8-bit floats are."""
        return bool(self.value("ActivationSymmetric")) or self.word("activation_type", "QInt8") == "QFLOAT8E4M3FN"
