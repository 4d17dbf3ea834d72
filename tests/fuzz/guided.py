"""Run one target under atheris, which looks for inputs that reach code no other input reached.

A process of its own, because the fuzzer ends the process: `python -m tests.fuzz.guided TARGET [FUZZER OPTIONS]`.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzz import targets


def main() -> None:
    """Instrument the compiler as it is imported, and fuzz until an option says to stop."""
    with atheris.instrument_imports(include=["qsimc", "qsimc_onnx"]):
        target = targets.load(sys.argv[1])
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
