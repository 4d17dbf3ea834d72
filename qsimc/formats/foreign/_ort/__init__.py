"""What the format `ort` consists of."""
