"""Build the kernels with the wheel, where there is a C compiler; without one the wheel is complete, and slower."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("qsimc/native/kernels.c")
LIBRARY = SOURCE.with_name("libkernels.so.1")
"""Not `.so`, which Python would take for a module; `qsimc.native` looks for this name."""

FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-pthread", "-shared")
"""No product may be fused with a sum: it would round once where NumPy, PyTorch and the vendors round twice."""


class KernelsHook(BuildHookInterface[Any]):
    """Compiles the kernels into a library that onnxruntime and ctypes load; it knows nothing of Python."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library beside its source, and say that the wheel is for this platform, but for any Python."""
        if self.target_name != "wheel" or not self._compiled(Path(self.root)):
            return
        build_data["artifacts"].append(f"/{LIBRARY.as_posix()}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def _compiled(self, root: Path) -> bool:
        compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or shutil.which("gcc") or ""]
        unfinished = root / LIBRARY.with_name(f"unfinished-{os.getpid()}")
        try:
            subprocess.run(
                [*compiler, *FLAGS, str(root / SOURCE), "-lm", "-o", str(unfinished)], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            unfinished.unlink(missing_ok=True)
            self.app.display_warning(f"built without kernels, calibration will be slower: {_reason(error)}")
            return False
        # A process that has the old library loaded keeps it.
        os.replace(unfinished, root / LIBRARY)
        return True


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr.decode(errors="replace").strip() or error)
    return f"no C compiler ({error})"
