"""Passes (Config, Report) -> None, one family per file."""
