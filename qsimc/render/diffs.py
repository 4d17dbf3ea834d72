"""How two configurations differ, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from qsimc.ir.config import Config, Value, show_value
from qsimc.planning.compare import FieldDifference, TensorDifference
from qsimc.planning.config_diff import RuleDifference
from qsimc.planning.plan import Reason
from qsimc.render.text import printable

_COLORS = {"-": "31", "+": "32"}


def text(
    before: Config,
    after: Config,
    rules: Sequence[RuleDifference],
    tensors: Sequence[TensorDifference] | None,
    *,
    color: bool,
) -> str:
    """Return differences as lines: `-` is the first configuration, `+` the second."""
    lines = [f"--- {_name(before)}", f"+++ {_name(after)}", "", *_rules(rules)]
    if tensors is not None:
        lines += ["", *_tensors(tensors)]
    return "".join(f"{_colored(printable(line), color)}\n" for line in lines)


def document(
    before: Config,
    after: Config,
    model: str | None,
    rules: Sequence[RuleDifference],
    tensors: Sequence[TensorDifference] | None,
) -> str:
    """Return differences as JSON; `tensors` is null when no model was given."""
    content = {
        "format_version": "1.0",
        "a": {"path": before.source.path, "format": before.format, "dialect": before.dialect},
        "b": {"path": after.source.path, "format": after.format, "dialect": after.dialect},
        "model": None if model is None else {"path": model},
        "rules": [{"subject": r.subject, "a": _reason(r.before), "b": _reason(r.after)} for r in rules],
        "tensors": None if tensors is None else [_tensor(t) for t in tensors],
    }
    return json.dumps(content, indent=1) + "\n"


def _name(config: Config) -> str:
    return f"{config.source.path} ({config.dialect})"


def _rules(rules: Sequence[RuleDifference]) -> Iterator[str]:
    if not rules:
        yield "the configurations say the same"
        return
    yield f"{_count(len(rules), 'rule')}"
    for rule in rules:
        for sign, reason in (("-", rule.before), ("+", rule.after)):
            if reason is not None:
                yield f"{sign} {_line(reason)}"


def _tensors(tensors: Sequence[TensorDifference]) -> Iterator[str]:
    if not tensors:
        yield "on this model they do the same"
        return
    yield f"{_count(len(tensors), 'tensor')}"
    for tensor in tensors:
        yield ""
        at = tensor.at_before or tensor.at_after
        yield f"{tensor.tensor}  (port {at})" if at else tensor.tensor
        for field in tensor.fields:
            yield f"  {field.field}: {_word(field.before)} -> {_word(field.after)}"
            yield f"-   {_line(field.because_before)}"
            yield f"+   {_line(field.because_after)}"


def _count(number: int, what: str) -> str:
    return f"1 {what} differs" if number == 1 else f"{number} {what}s differ"


def _word(value: Value) -> str:
    return "none" if value is None else show_value(value)


def _line(reason: Reason) -> str:
    span = reason.span
    place = f"  at {span.source.path}:{span.line}:{span.column}" if span is not None else ""
    detail = f"  ({reason.detail})" if reason.detail else ""
    return f"{reason.rule}{place}{detail}"


def _colored(line: str, color: bool) -> str:
    code = _COLORS.get(line[:1]) if color else None
    return f"\x1b[{code}m{line}\x1b[0m" if code else line


def _tensor(tensor: TensorDifference) -> dict[str, Any]:
    return {
        "tensor": tensor.tensor,
        "port_a": tensor.at_before or None,
        "port_b": tensor.at_after or None,
        "fields": [_field(f) for f in tensor.fields],
    }


def _field(field: FieldDifference) -> dict[str, Any]:
    return {
        "field": field.field,
        "a": field.before,
        "b": field.after,
        "because_a": _reason(field.because_before),
        "because_b": _reason(field.because_after),
    }


def _reason(reason: Reason | None) -> dict[str, Any] | None:
    if reason is None:
        return None
    span = reason.span
    return {
        "path": span and span.source.path,
        "line": span and span.line,
        "column": span and span.column,
        "rule": reason.rule,
        "detail": reason.detail,
    }
