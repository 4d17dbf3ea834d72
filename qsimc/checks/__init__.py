"""Passes (Config, Report) -> None, one family per file; each module's `check` is found by listing this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qsimc.diagnostics import Report
from qsimc.ir.config import Config

Check: TypeAlias = Callable[[Config, Report], None]
