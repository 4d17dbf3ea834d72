"""Modules in memory, for people with a training loop of their own: what `qsimc.torch` offers, done."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np
from torch import nn

from qsimc.calibrate.encoding import Encoding
from qsimc.ir.quant import Round
from qsimc.planning.plan import Plan
from qsimc_torch.build import filled, generated_of
from qsimc_torch.captured import Captured, model_of, remember, trained
from qsimc_torch.prepare import prepare
from qsimc_torch.runtime import FakeQuantize, Quantized, Simulation

__all__ = ["build", "encodings", "model_of", "prepare", "trained"]


def build(
    plan: Plan, module: nn.Module | str | PathLike[str], encodings: Mapping[str, Encoding] | None = None
) -> Simulation:
    """Return a module with the quantizers of a plan and copies of another's parameters.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or operators have no expression (Q0552).
    """
    model, folder = model_of(plan, module)
    generated = generated_of(model, plan, encodings or {})
    simulation = filled(generated, model)
    stored = {name: constant for name, constant in generated.parameters.items() if model.stores(constant)}
    remember(simulation, Captured(model, plan, stored, folder))
    return simulation


def encodings(module: Quantized) -> dict[str, Encoding]:
    """Return the encoding of each tensor that is quantized by one now, trained or not."""
    quantizers = [quantizer for quantizer in module.quantizers() if quantizer.calibrated]
    return {tensor: _encoding(quantizer) for quantizer in quantizers for tensor in quantizer.tensors}


def _encoding(quantizer: FakeQuantize) -> Encoding:
    said = quantizer.encoding()
    return Encoding(
        scale=np.asarray(said["scale"], np.float64),
        zero_point=np.asarray(said["zero_point"], np.int64),
        qmin=said["qmin"],
        qmax=said["qmax"],
        bits=said["bits"],
        symmetric=said["symmetric"],
        axis=said["axis"],
        numerics=said["numerics"],
        rounding=Round(quantizer.rounding),
    )
