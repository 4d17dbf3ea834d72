"""Typed views of the data files in specs/."""
