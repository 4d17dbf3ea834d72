"""What the format `compressed-tensors` consists of."""
