"""What a module in memory was made of: the ONNX model that it is an image of, and the plan for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Self
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx import BACKEND as ONNX
from qsimc_onnx.model import OnnxModel, open_model
from torch import Tensor, nn

from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.graph import Tensor as Value
from qsimc.planning.plan import Plan
from qsimc_torch.capture import capture

_ATTRIBUTE = "captured"
"""Where a module keeps it; no parameter of a generated module is called so."""

_OPEN_SIZE = 2
"""What an open axis of an input is captured with."""


class Folder:
    """A folder that goes when nobody needs it any more."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="qsimc-"))
        finalize(self, rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Captured:
    """A model and the plan for it.  Copies of a module have it in common, nobody changing it.

    Attributes:
        parameters: name in the module's state dict -> constant of the model.
        folder: where the model lies if it was captured: weights that are too many for one file stay there.
    """

    model: OnnxModel
    plan: Plan
    parameters: Mapping[str, str]
    folder: Folder | None

    def __deepcopy__(self, _: object) -> Self:
        return self


def model_of(plan: Plan, module: nn.Module | str | PathLike[str]) -> tuple[OnnxModel, Folder | None]:
    """Return the model that a plan is for, and the folder that it lies in if that is ours.

    Args:
        module: what the plan was made from, or what `build` and `prepare` made of that, whose weights it has then.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or the file not be opened (Q05xx).
    """
    if isinstance(module, nn.Module) and isinstance(known := getattr(module, _ATTRIBUTE, None), Captured):
        model, folder = trained(module)[0], known.folder
    else:
        model, folder = _opened(plan, module)
    _require_same(plan, model)
    return model, folder


def remember(module: nn.Module, captured: Captured) -> None:
    """Let a module know what it was made of."""
    setattr(module, _ATTRIBUTE, captured)


def trained(module: nn.Module) -> tuple[OnnxModel, Plan]:
    """Return the model that a module was made of, with the weights that the module has now, and the plan.

    Raises:
        ValueError: `module` comes from neither `build` nor `prepare`.
    """
    captured = getattr(module, _ATTRIBUTE, None)
    if not isinstance(captured, Captured):
        raise ValueError("`module` comes from neither `qsimc.torch.build` nor `qsimc.torch.prepare`")
    state = module.state_dict()
    found = {constant: _array(state[name]) for name, constant in captured.parameters.items()}
    values = {
        constant: value.astype(before.dtype, copy=False)
        for constant, value in found.items()
        if (before := captured.model.constant(constant)) is not None and not _same(before, value)
    }
    model = ONNX.with_constants(captured.model, values) if values else captured.model
    assert isinstance(model, OnnxModel)
    return model, captured.plan


def examples(plan: Plan, *, seed: int | None = None) -> tuple[Tensor, ...]:
    """Return one value per input of a plan's model: zeros, or normally distributed floats if there is a seed."""
    random = None if seed is None else torch.Generator().manual_seed(seed)
    return tuple(_example(plan.graph.tensors[name], random) for name in plan.graph.inputs)


def _example(value: Value, random: torch.Generator | None) -> Tensor:
    shape = [_OPEN_SIZE if size is None else size for size in value.shape or ()]
    dtype: torch.dtype = getattr(torch, value.dtype)
    if random is None or not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=random).to(dtype)


def _opened(plan: Plan, module: nn.Module | str | PathLike[str]) -> tuple[OnnxModel, Folder | None]:
    findings: list[Diagnostic] = []
    folder = None
    path: str | Path | None
    if isinstance(module, nn.Module):
        folder = Folder()
        path = capture(lambda: (module, examples(plan)), folder.path, findings.append)
    else:
        path = Path(module)
    model = None if path is None else open_model(str(path), findings.append)
    if model is None:
        raise InputError([d for d in findings if d.severity is Severity.ERROR])
    return model, folder


def _require_same(plan: Plan, model: OnnxModel) -> None:
    if plan.rewrites:
        made_by = ", ".join(plan.rewrites)
        raise ValueError(f"the plan is for another model than `module`, namely for what rewrites made of it: {made_by}")
    found = [(node.op, node.inputs, node.outputs) for node in model.graph.nodes]
    planned = [(node.op, node.inputs, node.outputs) for node in plan.graph.nodes]
    if found != planned:
        nodes = zip(model.graph.nodes, found, planned, strict=False)
        where = next((f"at the {n.op} `{n.name}`" for n, a, b in nodes if a != b), "in the number of nodes")
        raise ValueError(
            f"the plan is for another model than `module`, or for what was made of it: they differ {where}"
        )


def _array(value: Tensor) -> NDArray[Any]:
    value = value.detach().cpu()
    return value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()


def _same(before: NDArray[Any], value: NDArray[Any]) -> bool:
    return bool(np.array_equal(before, value.astype(before.dtype, copy=False)))
