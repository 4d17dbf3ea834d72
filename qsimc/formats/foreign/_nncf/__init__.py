"""What `nncf`, `nncf-hw` and `nncf-py` consist of."""
