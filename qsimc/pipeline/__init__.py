"""The stages in order: one module per thing that a user asks for, each also a function of the Python interface."""
