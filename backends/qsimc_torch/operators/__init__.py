"""Operators that need more than an expression with holes: one function each, found by the name of the operator.

A file in this folder is all that a new one needs: its functions are registered by `operator`, and every module of the
folder is imported when the table is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeAlias

from qsimc_torch.call import Call, Unsupported

Writer: TypeAlias = Callable[[Call], str]
"""Returns the expression of a call; raises `Unsupported` where it has none."""

_WRITERS: dict[str, Writer] = {}
_OTHERWISE: dict[str, Writer] = {}


def operator(*names: str) -> Callable[[Writer], Writer]:
    """Register what writes the calls of some operators: `Conv`, or `com.microsoft.Gelu` of another domain."""

    def register(writer: Writer) -> Writer:
        for name in names:
            assert name not in _WRITERS, f"two functions write {name}"
            _WRITERS[name] = writer
        return writer

    return register


def otherwise(*names: str) -> Callable[[Writer], Writer]:
    """Register what writes the calls that the operator's own function refuses: a general form, longer or slower."""

    def register(writer: Writer) -> Writer:
        for name in names:
            assert name not in _OTHERWISE, f"two functions write what is refused of {name}"
            _OTHERWISE[name] = writer
        return writer

    return register


@cache
def writers() -> Mapping[str, Writer]:
    """Return all functions of the modules beside this one, by operator."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {name: _with_otherwise(writer, _OTHERWISE.get(name)) for name, writer in _WRITERS.items()}


def _with_otherwise(writer: Writer, general: Writer | None) -> Writer:
    if general is None:
        return writer

    def either(call: Call) -> str:
        try:
            return writer(call)
        except Unsupported:
            return general(call)

    return either
