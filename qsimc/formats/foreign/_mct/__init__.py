"""What the format `mct-tpc` consists of."""
