"""What a codec returns: a neutral value, and what is wrong with the vendor's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from qsimc.diagnostics import Fix
from qsimc.ir.config import Value
from qsimc.source import Span
from qsimc.syntax.json import Json


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value.

    `vendor` is the vendor's own text, None where it takes the value in silence; `absent` says that it then
    goes on as if the key were not there.
    """

    message: str
    span: Span
    pointer: str = ""
    helps: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    vendor: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """The neutral value (None: there is none to go on with) and the problems met on the way."""

    value: Value
    problems: tuple[Problem, ...] = ()


Codec: TypeAlias = Callable[[Json], Decoded]
