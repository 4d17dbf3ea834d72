"""What a config says, as frozen data: no behaviour, no vendor."""
