"""Say of files whether Sony's MCT takes them as target platform capabilities: `python mct_tpc.py FILE...` beside MCT.

Prints one line of JSON per file.  The package's own `__init__` imports PyTorch and torchvision, which has no build for
the CPU of the same version; what reads these files needs neither, so the packages are entered without their `__init__`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

_PACKAGES = ("model_compression_toolkit", "model_compression_toolkit.target_platform_capabilities")


def enter(package: str) -> None:
    """Make a package importable from without running its `__init__`."""
    outer = sys.modules.get(package.rpartition(".")[0])
    spec = PathFinder.find_spec(package, None if outer is None else outer.__path__)
    assert spec is not None, f"{package} is not installed"
    bare = ModuleType(package)
    bare.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[package] = bare


with contextlib.redirect_stdout(sys.stderr):
    for name in _PACKAGES:
        enter(name)
    from model_compression_toolkit.target_platform_capabilities import tpc_io_handler


def complaint(path: str) -> str:
    """Return what MCT says against a file, empty if it takes it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            # MCT reads files of this suffix only.
            copy = shutil.copy(path, Path(folder) / "target.json")
            tpc_io_handler.load_target_platform_capabilities(str(copy))
    except Exception as error:  # whatever it raises is its answer
        return f"{type(error).__name__}: {error}"
    return ""


def main(paths: list[str]) -> None:
    for path in paths:
        error = complaint(path)
        print(json.dumps({"file": path, "accepted": not error, "error": error}))


if __name__ == "__main__":
    main(sys.argv[1:])
