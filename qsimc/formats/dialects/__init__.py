"""Configurations between dialects: out of a vendor's into the neutral one, and from there into another's."""
