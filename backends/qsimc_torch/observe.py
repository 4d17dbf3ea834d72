"""Calibration in PyTorch: one pass over the data, with the observers that every backend feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from qsimc_onnx.model import OnnxModel
from torch import Tensor, nn

from qsimc import native
from qsimc.backend import Batch, samples
from qsimc.calibrate.derive import derived
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.feeds import Feeds, Observers, Stream
from qsimc.planning.plan import Kind, Plan
from qsimc_torch.build import filled, generated_of, tensor_of
from qsimc_torch.runtime import FakeQuantize
from qsimc_torch.runtime.native import parallel

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
    tensors = {attribute: quantizer.tensors[0] for attribute, quantizer in generated.quantizers.items()}
    watched = [plan[tensor] for tensor in tensors.values() if plan[tensor].kind not in _STORED]
    feeds = Feeds(
        [Stream(p.tensor, p.owner, p.axis) for p in watched], observers, sketches, derived(plan.graph), model.path
    )
    for attribute, tensor in tensors.items():
        if plan[tensor].kind in _STORED:
            continue
        submodule = module.get_submodule(attribute)
        if isinstance(submodule, FakeQuantize):
            submodule.observe(_Show(feeds, tensor))
        else:  # a cast: activations are observed as the float model makes them
            module.set_submodule(attribute, nn.Identity())
    for batch in batches:
        with torch.no_grad(), native.threads(parallel(), torch.get_num_threads()):
            module(*(tensor_of(batch[name]) for name in model.graph.inputs))
        seen(samples(batch))
    return feeds.finish()


@dataclass(frozen=True, slots=True)
class _Show:
    """Shows the values of one tensor to its observers."""

    feeds: Feeds
    tensor: str

    def __call__(self, values: Tensor) -> None:
        # On the CPU the array is the tensor's own memory.
        self.feeds.show(self.tensor, values.float().cpu().numpy())
