"""Read AIMET's second configuration format: the types that each operator supports, by its formal names.

    {"Conv": {"supported_qtypes": [{"X": "uint8|uint16", "W": "int8[channel_axis=0]", "B": "int32", "Y": "uint8"}]}}

AIMET ships the reader of this format, and nothing yet that uses it.  It limits types instead of choosing them,
so it becomes `kernels` settings, and a plan is not changed by it.
Source: the parser that comes with aimet_onnx 2.42.0.
"""

from __future__ import annotations

import re

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, did_you_mean
from qsimc.ir.config import Clause, Config, Rule, Setting, Value
from qsimc.ir.select import OpType
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

KEY = "supported_qtypes"

_TYPE = re.compile(r"(u?int(?:[2-9]|[12]\d|3[0-2])|float(?:8|16|32)?|bfloat16)(?:\[([^\[\]]*)\])?")
_INTEGERS = ("channel_axis", "block_axis", "block_size")
_BOUNDS = ("min", "max")


def recognises(document: Json) -> bool:
    """Say whether some operator of a document has the key of this format."""
    return isinstance(document, Object) and any(
        isinstance(m.value, Object) and any(inner.key == KEY for inner in m.value.members) for m in document.members
    )


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says: a rule per operator, one `kernels` setting in each."""
    reader = _Reader(report)
    rules: list[Rule] = []
    if isinstance(document, Object):
        rules = [reader.operator(member) for member in document.members]
    else:
        reader.wrong(document, "an object of operators")
    return Config(source=source, dialect="aimet", format="aimet-qtypes", rules=tuple(rules))


class _Reader:
    def __init__(self, report: Report) -> None:
        self.report = report

    def operator(self, member: Member) -> Rule:
        """Return the rule of one operator."""
        span = Span(member.key_span.source, member.key_span.start, member.value.span.end)
        clauses: list[Clause] = []
        if not isinstance(member.value, Object):
            self.wrong(member.value, f'an object with `"{KEY}"`')
            return Rule(OpType(member.key), (), span)
        for inner in member.value.members:
            if inner.key != KEY:
                self._unknown(inner)
            elif isinstance(inner.value, Array):
                kernels = tuple(self._kernel(item) for item in inner.value.items)
                pointer = f"/{member.key.replace('~', '~0').replace('/', '~1')}/{KEY}"
                setting = Setting("kernels", kernels, inner.value.span, pointer)
                clauses.append(Clause((), (setting,), inner.value.span))
            else:
                self.wrong(inner.value, "an array of kernels")
        return Rule(OpType(member.key), tuple(clauses), span)

    def _kernel(self, item: Json) -> Value:
        """Return one kernel: formal name and alternatives, in file order."""
        if not isinstance(item, Object):
            self.wrong(item, "an object of formal names, such as `X`, and types")
            return ()
        return tuple((member.key, self._types(member)) for member in item.members)

    def _types(self, member: Member) -> Value:
        if not (isinstance(member.value, Scalar) and isinstance(member.value.value, str)):
            self.wrong(member.value, "a type such as `uint8|uint16`")
            return ()
        words = [word.strip() for word in member.value.value.split("|")]
        return tuple(word for word in words if self._is_type(word, member.value.span))

    def _is_type(self, word: str, span: Span) -> bool:
        match = _TYPE.fullmatch(word)
        if match is None:
            help_ = "types are int8, uint8, float16, ..., with attributes as in `int8[channel_axis=0]`"
            self._bad(f"`{word}` is no type", span, help_)
            return False
        return all(self._is_attribute(part.strip(), span) for part in (match[2] or "").split(",") if part.strip())

    def _is_attribute(self, part: str, span: Span) -> bool:
        name, equals, value = part.partition("=")
        if name not in (*_INTEGERS, *_BOUNDS) or not equals:
            near = did_you_mean(name, (*_INTEGERS, *_BOUNDS))
            self._bad(f"`{part}` is no attribute of a type", span, f"did you mean `{near}`?" if near else "")
            return False
        # A bound may also be a name, which the caller of AIMET's parser gives a value.
        pattern = r"-?\d+" if name in _INTEGERS else r"-?\d+(\.\d*)?([eE][-+]?\d+)?|[A-Za-z_]\w*"
        if re.fullmatch(pattern, value.strip()) is None:
            self._bad(f"`{name}` cannot be `{value}`", span, "")
            return False
        return True

    def wrong(self, value: Json, expected: str) -> None:
        """Report a value of the wrong kind."""
        self._bad(f"expected {expected}, found {kind(value)}", value.span, "")

    def _unknown(self, member: Member) -> None:
        self.report(
            Diagnostic(
                code="Q0201",
                name="unknown-key",
                severity=Severity.ERROR,
                message=f"no key is called `{member.key}` here",
                labels=(Label(member.key_span),),
                helps=(f"the only key of an operator is `{KEY}`",),
            )
        )

    def _bad(self, message: str, span: Span, help_: str) -> None:
        self.report(
            Diagnostic(
                code="Q0202",
                name="bad-value",
                severity=Severity.ERROR,
                message=message,
                labels=(Label(span),),
                helps=(help_,) if help_ else (),
            )
        )
