"""What the format `litert` consists of."""
