"""Two configurations, rule by rule: what one says and the other does not, whatever the order of their lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qsimc.ir.config import Config, Rule, Setting, Value, show_rule, show_value
from qsimc.ir.select import AnyOf, OpType, Selector, chains, show
from qsimc.planning.plan import Reason

_Key: TypeAlias = tuple[str, ...]

# Lists whose order means nothing.
_UNORDERED = frozenset({"supergroup_passes"})


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """One thing that two configurations say differently; None where a configuration is silent."""

    subject: str
    before: Reason | None
    after: Reason | None


@dataclass(frozen=True, slots=True)
class _Said:
    """One thing that a configuration says: comparable by `value`, shown as `reason`."""

    value: Value
    reason: Reason


def compare_configs(before: Config, after: Config) -> tuple[RuleDifference, ...]:
    """Return what two configurations say differently, in the order of the first, then of the second.

    The order of lines counts only where it has a meaning: of two that say the same thing of the same nodes
    the later holds, and so it is for globs and for fusions of equal length.
    """
    old, new = _canonical(before), _canonical(after)
    found = [
        RuleDifference(" ".join(filter(None, key[1:])), _reason(old, key), _reason(new, key))
        for key in dict.fromkeys((*old, *new))
        if _value(old, key) != _value(new, key)
    ]
    return (*found, *_orders(old, new))


def _reason(said: Mapping[_Key, _Said], key: _Key) -> Reason | None:
    return said[key].reason if key in said else None


def _value(said: Mapping[_Key, _Said], key: _Key) -> tuple[Value, ...]:
    """Return what is said, nothing for silence: a rule can say that a range is None."""
    return (said[key].value,) if key in said else ()


def _canonical(config: Config) -> Mapping[_Key, _Said]:
    said: dict[_Key, _Said] = {}
    for option in config.options:
        value = _unordered(option.name, option.value)
        reason = Reason(f"option {option.name}={show_value(option.value)}", option.span)
        said["option", option.name] = _Said(value, reason)
    said.update(_rules(config))
    for fusion in config.fusions:
        for ops in chains(fusion.chain):
            text = " -> ".join(ops)
            said["fuse", text] = _Said(True, Reason(f"fuse {text}", fusion.span))
    return said


def _rules(config: Config) -> Iterator[tuple[_Key, _Said]]:
    """Yield every setting of every selector, then the operators that are named without a word about them."""
    silent: dict[str, Reason] = {}
    spoken: set[str] = set()
    for rule in config.rules:
        for selector in _choices(rule.selector):
            subject = show(selector)
            if isinstance(selector, OpType):
                silent.setdefault(subject, Reason(subject, rule.span))
            for role, setting in _settings(rule):
                spoken.add(subject)
                yield ("rule", subject, role, setting.field), _said(selector, role, setting)
    for subject, reason in silent.items():
        if subject not in spoken:  # built-in rules leave alone what a config names, even if it says nothing of it
            yield ("rule", subject), _Said(True, reason)


def _settings(rule: Rule) -> Iterator[tuple[str, Setting]]:
    for clause in rule.clauses:
        for role in clause.roles or ("",):
            yield from ((role, setting) for setting in clause.settings)


def _said(selector: Selector, role: str, setting: Setting) -> _Said:
    return _Said(setting.value, Reason(show_rule(selector, (role,) if role else (), setting), setting.span))


def _choices(selector: Selector) -> tuple[Selector, ...]:
    return selector.choices if isinstance(selector, AnyOf) else (selector,)


def _unordered(name: str, value: Value) -> Value:
    return tuple(sorted(value, key=str)) if name in _UNORDERED and isinstance(value, tuple) else value


def _orders(old: Mapping[_Key, _Said], new: Mapping[_Key, _Said]) -> Iterator[RuleDifference]:
    """Yield differences of order alone, where it matters: among globs, and among fusions of one length."""
    for subject, ranks in (("order of globs", _globs), ("order of fusions", _fusions)):
        before, after = ranks(old), ranks(new)
        if before != after and sorted(before) == sorted(after):
            yield RuleDifference(subject, Reason(", ".join(before)), Reason(", ".join(after)))


def _globs(said: Mapping[_Key, _Said]) -> list[str]:
    return list(dict.fromkeys(key[1] for key in said if key[0] == "rule" and key[1].startswith("~")))


def _fusions(said: Mapping[_Key, _Said]) -> list[str]:
    # Longer ones are tried first whatever the order; among equals the first line wins where both would match.
    return sorted((key[1] for key in said if key[0] == "fuse"), key=lambda chain: -chain.count("->"))
