"""What the format `torchao` consists of."""
