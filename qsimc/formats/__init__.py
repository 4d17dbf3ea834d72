"""Configuration formats, read and written."""
