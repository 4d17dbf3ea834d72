"""Runs of generated modules: alone, and with each quantizer fed what another program made of all that comes before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel
from qsimc_torch.build import filled, tensor_of
from qsimc_torch.runtime import Simulation
from qsimc_torch.source import Generated

from qsimc.backend import Batch
from qsimc.graph import FLOATS
from qsimc.ir.quant import Numeric, QuantSpec
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan

Array = NDArray[Any]


def everywhere(model: OnnxModel) -> Plan:
    """Return a plan with a quantizer at every float tensor that a node makes: without encodings, places to look at."""
    spec = QuantSpec(enabled=True, type=Numeric.INT, bits=8)
    made = [t for t in model.graph.producer if model.graph.tensors[t].dtype in FLOATS and not model.stores(t)]
    tensors = {
        t: TensorPlan(tensor=t, kind=Kind.ACTIVATION, role="output", node=None, op=None, spec=spec) for t in made
    }
    return Plan(graph=model.graph, tensors=tensors, dialect="qsim", mode=Mode.FIXED)


def doubled(generated: Generated, model: OnnxModel) -> Simulation:
    """Return an instance of a generated module that computes in float64; quantizers round to float32 first."""
    return filled(replace(generated, text=generated.text.replace("torch.float32", "torch.float64")), model).double()


def run(module: torch.nn.Module, model: OnnxModel, batch: Batch, dtype: torch.dtype = torch.float32) -> list[Array]:
    """Return the outputs of a module that computes in `dtype`."""
    inputs = (tensor_of(batch[name]) for name in model.graph.inputs)
    with torch.no_grad():
        made = module(*(value.to(dtype) if value.dtype == torch.float32 else value for value in inputs))
    return [output.numpy() for output in (made if isinstance(made, tuple) else (made,))]


def follow(
    module: Simulation,
    model: OnnxModel,
    batch: Batch,
    values: Mapping[str, Array],
    see: Callable[[str, Array], None],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Show what each quantizer of a module puts out, all that comes before having come from `values`."""

    def hook_of(tensors: tuple[str, ...]) -> Callable[..., torch.Tensor]:
        waiting = list(tensors)

        def hook(_: torch.nn.Module, __: Any, made: torch.Tensor) -> torch.Tensor:
            tensor = waiting.pop(0)
            see(tensor, made.numpy())
            return tensor_of(values[tensor]).to(made.dtype)

        return hook

    hooks = [quantizer.register_forward_hook(hook_of(quantizer.tensors)) for quantizer in module.quantizers()]
    run(module, model, batch, dtype)
    for hook in hooks:
        hook.remove()


def followed(
    module: Simulation,
    model: OnnxModel,
    batch: Batch,
    values: Mapping[str, Array],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Array]:
    """Return what `follow` shows, in float32."""
    found: dict[str, Array] = {}
    follow(
        module, model, batch, values, lambda tensor, made: found.update({tensor: np.asarray(made, np.float32)}), dtype
    )
    return found
