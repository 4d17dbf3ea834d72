"""`qsimc.torch.build(plan, module)`: PyTorch modules in memory.  Importing this does not import PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsimc.backend import load_builder
from qsimc.calibrate.encoding import Encoding
from qsimc.planning.plan import Plan


def build(plan: Plan, module: Any, encodings: Mapping[str, Encoding] | None = None) -> Any:
    """Return an `nn.Module` that computes what a module computes, with the quantizers of a plan in it.

    It has copies of the module's parameters, under their names, and can be trained.  Without encodings its
    quantizers pass values on.

    Args:
        plan: made from the same module: `qsimc.plan(config, "package.module:factory")`.
        module: an `nn.Module`.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or operators have no expression (Q0552).
        LookupError: PyTorch is not installed.
    """
    return load_builder("torch")(plan, module, encodings)
