"""The values that settings, options and predicates speak of."""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | None"
