"""Where the tensors of a model are to be found in a live module: which port each goes through.

The graph's names lead to a part of the module, and values say whether a tensor goes in or out of it: the module runs
beside its captured graph, on the same example.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx import BACKEND as ONNX
from qsimc_onnx.model import OnnxModel
from torch import Tensor, nn

from qsimc.graph import Node
from qsimc.planning.plan import Plan
from qsimc_torch.captured import examples
from qsimc_torch.example import evaluating
from qsimc_torch.hooks import Hooks, Port

_TOLERANCE = 1e-4
"""How far two runtimes may be apart, as a part of the largest value: no rounding to a grid has happened yet."""

_SEED = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where tensors are: the ports of each, or why it has none."""

    ports: Mapping[str, tuple[Port, ...]]
    reasons: Mapping[str, str]


def places(module: nn.Module, model: OnnxModel, plan: Plan, tensors: Collection[str]) -> Places:
    """Return where activations and inputs of a plan are in the module that it was made from."""
    inputs = examples(plan, seed=_SEED)
    finder = _Finder(module, plan, _values(model, plan, tensors, inputs), _seen(module, inputs))
    found: dict[str, tuple[Port, ...]] = {}
    reasons: dict[str, str] = {}
    for tensor in tensors:
        if ports := finder.ports(tensor):
            found[tensor] = ports
        else:
            reasons[tensor] = finder.reason(tensor)
    return Places(found, reasons)


def _values(
    model: OnnxModel, plan: Plan, tensors: Collection[str], inputs: Sequence[Tensor]
) -> dict[str, NDArray[np.generic]]:
    """Return the values of tensors in the captured model."""
    batch = {name: value.numpy() for name, value in zip(plan.graph.inputs, inputs, strict=True)}
    made = [tensor for tensor in tensors if tensor not in batch]
    with TemporaryDirectory(prefix="qsimc-") as folder:
        path = ONNX.save(model, Path(folder) / "model.onnx")[0]
        (found,) = ONNX.run(path, [batch], made, optimise=False) if made else ({},)
    return {**found, **{tensor: batch[tensor] for tensor in tensors if tensor in batch}}


def _seen(module: nn.Module, inputs: Sequence[Tensor]) -> dict[Port, NDArray[np.generic]]:
    """Return what goes through each port, in the order in which it does."""
    seen: dict[Port, NDArray[np.generic]] = {}

    def note(port: Port, tensor: Tensor) -> Tensor:
        kept = tensor.detach().cpu()
        seen[port] = np.array((kept.float() if kept.dtype is torch.bfloat16 else kept).numpy(), copy=True)
        return tensor

    device = next((parameter.device for parameter in module.parameters()), None)
    hooks = Hooks(module, note)
    try:
        with evaluating(module), torch.no_grad():
            module(*(value.to(device) for value in inputs))
    finally:
        hooks.remove()
    return seen


@dataclass(frozen=True)
class _Finder:
    module: nn.Module
    plan: Plan
    values: Mapping[str, NDArray[np.generic]]
    seen: Mapping[Port, NDArray[np.generic]]

    def ports(self, tensor: str) -> tuple[Port, ...]:
        """Return the ports at which quantizing is to quantize the tensor for all that read it; none if there are none.

        That is the innermost output that it comes out of, if nothing inside reads it; or else the outermost inputs
        that all of its readers lie behind.
        """
        same = [port for port, value in self.seen.items() if _same(value, self.values[tensor])]
        return self._output(tensor, [p for p in same if not p.inward]) or self._inputs(
            tensor, [p for p in same if p.inward]
        )

    def _output(self, tensor: str, ports: Iterable[Port]) -> tuple[Port, ...]:
        maker = self.plan.graph.producer.get(tensor)
        if maker is None:
            return ()
        found = [
            port
            for port in ports
            if _is_in(maker.origin.path, port.path)
            and not any(_is_in(reader.origin.path, port.path) for reader in self._readers(tensor))
        ]
        return (max(found, key=lambda port: len(port.path)),) if found else ()

    def _inputs(self, tensor: str, ports: Iterable[Port]) -> tuple[Port, ...]:
        waiting = {reader.name: reader.origin.path for reader in self._readers(tensor)}
        if tensor in self.plan.graph.outputs:
            return ()
        found = []
        for port in sorted(ports, key=lambda port: len(port.path)):
            if behind := [name for name, path in waiting.items() if _is_in(path, port.path)]:
                found.append(port)
                for name in behind:
                    del waiting[name]
        return () if waiting else tuple(found)

    def _readers(self, tensor: str) -> Sequence[Node]:
        return self.plan.graph.consumers.get(tensor, ())

    def reason(self, tensor: str) -> str:
        """Return why a tensor has no port."""
        maker = self.plan.graph.producer.get(tensor)
        if maker is None:
            return "the module does not read it as the graph does"
        part = dict(self.module.named_modules()).get(maker.origin.path, self.module)
        where = f"`{maker.origin.path}` ({_class(part)})" if maker.origin.path else f"`{_class(part)}`"
        if next(part.children(), None) is None:
            return f"`{maker.op}` is a step inside of {where}, which neither takes nor gives it"
        return f"`{maker.op}` is a step of `forward` in {where}, and not all that reads it is a module of its own"


def _class(module: nn.Module) -> str:
    return type(module).__name__


def _is_in(path: str, part: str) -> bool:
    """Return whether a path is that of a part, or leads into it."""
    return not part or path == part or path.startswith(f"{part}.")


def _same(value: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    if value.shape != other.shape or value.dtype.kind != other.dtype.kind:
        return False
    if value.dtype.kind != "f":
        return bool(np.array_equal(value, other))
    largest = np.abs(other, where=np.isfinite(other), out=np.zeros_like(other)).max(initial=0.0)
    return bool(np.allclose(value, other, rtol=_TOLERANCE, atol=_TOLERANCE * float(largest), equal_nan=True))
