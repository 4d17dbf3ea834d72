"""Encodings files, qsimc's own and the vendors'."""
