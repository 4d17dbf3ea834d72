"""Whose defects count: a module of its own, because every command has the option and few have a plan."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """VENDOR: the vendor tool's own verdicts and numbers.  FIXED: what its document intends."""

    VENDOR = "vendor"
    FIXED = "fixed"
