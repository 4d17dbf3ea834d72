"""What the format `modelopt` consists of."""
