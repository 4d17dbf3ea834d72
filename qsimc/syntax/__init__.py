"""Text to located values."""
