"""Modules in memory: a plan and the module that it was made for -> the same module with quantizers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from qsimc_onnx.model import OnnxModel, open_model
from torch import Tensor, nn

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.graph import Tensor as Value
from qsimc.planning.plan import Plan
from qsimc_torch.build import filled, generated_of
from qsimc_torch.capture import capture
from qsimc_torch.runtime import Simulation

_OPEN_SIZE = 2
"""What an open axis of an input is captured with."""


def build(plan: Plan, module: nn.Module, encodings: Mapping[str, Encoding] | None = None) -> Simulation:
    """Return a module with the quantizers of a plan and copies of another's parameters.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or operators have no expression (Q0552).
    """
    examples = tuple(_example(plan.graph.tensors[name]) for name in plan.graph.inputs)
    findings: list[Diagnostic] = []
    with TemporaryDirectory(prefix="qsimc-") as folder:
        path = capture(lambda: (module, examples), Path(folder), findings.append)
        model = None if path is None else open_model(str(path), findings.append)
        if model is None:
            raise InputError([d for d in findings if d.severity is Severity.ERROR])
        _require_same(plan, model)
        return filled(generated_of(model, plan, encodings or {}), model)


def _example(value: Value) -> Tensor:
    """Return zeros of the type and shape that the plan knows an input by."""
    shape = [_OPEN_SIZE if size is None else size for size in value.shape or ()]
    dtype: torch.dtype = getattr(torch, value.dtype)
    return torch.zeros(shape, dtype=dtype)


def _require_same(plan: Plan, model: OnnxModel) -> None:
    found = [(node.op, node.inputs, node.outputs) for node in model.graph.nodes]
    planned = [(node.op, node.inputs, node.outputs) for node in plan.graph.nodes]
    if found != planned:
        where = next((a[0] for a, b in zip(found, planned, strict=False) if a != b), "the number of nodes")
        raise ValueError(f"the plan is for another model than `module`: they differ in {where}")
