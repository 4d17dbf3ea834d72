"""`python -m qsimc`."""

from qsimc.cli import main

main()
