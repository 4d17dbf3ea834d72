"""qsimc: the compiler for quantization configurations.

The names below are the public Python interface; each is imported when it is first used, so that
`import qsimc` costs nothing and checking a configuration loads neither numpy nor a runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qsimc.version import VERSION

if TYPE_CHECKING:
    from qsimc import torch as torch
    from qsimc.calibrate.observers import encode as encode
    from qsimc.diagnostics import ConfigError as ConfigError
    from qsimc.diagnostics import InputError as InputError
    from qsimc.ir.quant import QuantSpec as QuantSpec
    from qsimc.pipeline.check import check as check
    from qsimc.pipeline.check import read as read
    from qsimc.pipeline.plan import plan as plan
    from qsimc.pipeline.quantize import quantize as quantize
    from qsimc.pipeline.translate import translate as translate

__version__ = VERSION

_HOME = {
    "ConfigError": "qsimc.diagnostics",
    "InputError": "qsimc.diagnostics",
    "QuantSpec": "qsimc.ir.quant",
    "check": "qsimc.pipeline.check",
    "encode": "qsimc.calibrate.observers",
    "plan": "qsimc.pipeline.plan",
    "quantize": "qsimc.pipeline.quantize",
    "read": "qsimc.pipeline.check",
    "translate": "qsimc.pipeline.translate",
}

__all__ = [
    "ConfigError", "InputError", "QuantSpec", "__version__", "check", "encode", "plan", "quantize", "read", "translate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "torch":
        return import_module("qsimc.torch")
    if name not in _HOME:
        raise AttributeError(f"module `qsimc` has no attribute `{name}`")
    return getattr(import_module(_HOME[name]), name)
