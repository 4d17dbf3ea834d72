"""Calibration in PyTorch: one pass over the data, with the observers that every backend feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.probes import sample_step
from torch import Tensor, nn

from qsimc.backend import Batch, samples
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer, Wants
from qsimc.calibrate.observers import channels_first
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.planning.plan import Kind, Plan, TensorPlan
from qsimc_torch.build import filled, generated_of, tensor_of
from qsimc_torch.runtime import FakeQuantize

Observers: TypeAlias = "Mapping[str, Sequence[Observer]]"

_STORED = (Kind.PARAM, Kind.CONSTANT)


def observe(
    model: OnnxModel,
    plan: Plan,
    params: Mapping[str, Encoding],
    batches: Iterable[Batch],
    observers: Observers,
    sketches: Observers,
    seen: Callable[[int], None],
) -> tuple[Observers, Observers]:
    """Run the module over `batches`, params fake-quantized and activations not, and extend observers and sketches.

    Every tensor has a quantizer of its own here, so that one that shares feeds its owner's observers and its own
    sketches.  A quantizer one of whose tensors held infinity is missing from what is returned: it has no range.

    Raises:
        InputError: operators have no expression (Q0552), or an activation is NaN (Q0607).
    """
    generated = generated_of(model, plan, params, shared=False)
    module = filled(generated, model)
    state = {owner: list(sequence) for owner, sequence in observers.items()}
    drawn = {tensor: list(sequence) for tensor, sequence in sketches.items()}
    infinite: set[str] = set()
    for attribute, quantizer in generated.quantizers.items():
        (tensor,) = quantizer.tensors
        planned = plan[tensor]
        if planned.kind in _STORED:
            continue
        submodule = module.get_submodule(attribute)
        if isinstance(submodule, FakeQuantize):
            fed = (state.get(planned.owner, []), drawn.get(tensor, []))
            submodule.observe(_Feed(planned, model.path, fed, infinite))
        else:  # a cast: activations are observed as the float model makes them
            module.set_submodule(attribute, nn.Identity())
    for batch in batches:
        with torch.no_grad():
            module(*(tensor_of(batch[name]) for name in model.graph.inputs))
        seen(samples(batch))
    return (
        {owner: sequence for owner, sequence in state.items() if owner not in infinite},
        {t: sequence for t, sequence in drawn.items() if plan[t].owner not in infinite},
    )


@dataclass
class _Feed:
    """Shows the values of one tensor to observers, which it replaces in their lists by what they then are."""

    planned: TensorPlan
    path: str
    fed: Sequence[list[Observer]]
    infinite: set[str] = field(default_factory=set)

    def __call__(self, values: Tensor) -> None:
        """Take in one batch.

        Raises:
            InputError: it holds NaN (Q0607).
        """
        array = channels_first(values.float().cpu().numpy(), self.planned.axis)
        if np.isnan(array).any():
            raise InputError([_not_finite(self.planned.tensor, self.path)])
        if not np.isfinite(array).all():
            self.infinite.add(self.planned.owner)
            return
        for sequence in self.fed:
            sequence[:] = [observer.observe(_taken(array, observer.wants)) for observer in sequence]


def _taken(array: NDArray[np.float32], wants: Wants) -> NDArray[np.float32]:
    return array[:, :: sample_step(array.shape[1])] if wants is Wants.SAMPLE else array


def _not_finite(tensor: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0607",
        name="not-finite-tensor",
        severity=Severity.ERROR,
        message=f"the activation `{tensor}` is NaN: the model makes it of the data",
        helps=("check the scaling of the calibration data, and the float model on it",),
        path=path,
    )
