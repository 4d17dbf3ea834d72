"""Config and Graph to Plan."""
