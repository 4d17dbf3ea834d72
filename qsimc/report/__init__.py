"""What happened to every tensor, as one self-contained HTML page."""
