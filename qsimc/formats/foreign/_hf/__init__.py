"""What the format `hf` consists of."""
