"""Quantizers on a live module, which stays what it is: parametrizations of its parameters, hooks on its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from qsimc_onnx.model import OnnxModel
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qsimc.calibrate.encoding import Encoding
from qsimc.planning.plan import Plan
from qsimc_torch import runtime
from qsimc_torch.build import quantizers_of
from qsimc_torch.captured import Captured, Folder, model_of, remember
from qsimc_torch.hooks import Hooks, Port
from qsimc_torch.places import places
from qsimc_torch.quantizers import Quantizer, numbers
from qsimc_torch.runtime import FakeQuantize, Quantized

_NO_PARAMETER = "no parameter or buffer of the module is called so: `forward` makes it, or has it from elsewhere"

_PARAMETRIZED = "parametrizations"
"""Where torch keeps what a parametrization made of a parameter."""


class Prepared(Quantized):
    """A live module with quantizers.  Calling it is calling the module, whose parameters are the module's own.

    Attributes:
        module: the module; its state dict has parameters `….parametrizations.<name>.original` where they are quantized.
        unmapped: tensor -> why no quantizer could be put onto it.
    """

    def __init__(self, module: nn.Module, unmapped: Mapping[str, str]) -> None:
        super().__init__()
        self.module = module
        self.unmapped = dict(unmapped)
        self.activations = nn.ModuleList()
        self._parametrized: list[tuple[nn.Module, str]] = []
        self._ports: dict[Port, nn.Module] = {}
        self._hooks: Hooks | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def remove(self) -> None:
        """Take all quantizers off: the module is as it was, but for what training did to its parameters."""
        for owner, name in self._parametrized:
            parametrize.remove_parametrizations(owner, name, leave_parametrized=False)
        if self._hooks is not None:
            self._hooks.remove()
        self._parametrized.clear()
        self._ports.clear()
        self.activations = nn.ModuleList()
        if isinstance(captured := getattr(self, "captured", None), Captured):
            place(self, captured.model, captured.plan, captured.folder)

    def parametrize(self, quantizer: nn.Module, owners: Iterable[tuple[nn.Module, str]]) -> None:
        """Quantize a parameter wherever it is registered."""
        for owner, name in owners:
            stays = name in owner._buffers
            parametrize.register_parametrization(owner, name, _Still(quantizer) if stays else quantizer)
            self._parametrized.append((owner, name))

    def hook(self, ports: Mapping[Port, nn.Module]) -> None:
        """Quantize what goes through ports."""
        self._ports = dict(ports)
        self.activations.extend(dict.fromkeys(self._ports.values()))
        self._hooks = Hooks(self.module, self._quantized, {port.path for port in ports})

    def _quantized(self, port: Port, tensor: Tensor) -> Tensor:
        quantizer = self._ports.get(port)
        if quantizer is None:
            return tensor
        quantized: Tensor = quantizer(tensor)
        return quantized


class _Still(nn.Module):
    """Quantizes what is not trained: batch norms refuse statistics with a gradient."""

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, values: Tensor) -> Tensor:
        quantized: Tensor = self.quantizer(values)
        return quantized.detach()


def prepare(module: nn.Module, plan: Plan, encodings: Mapping[str, Encoding] | None = None) -> Prepared:
    """Put the quantizers of a plan onto a module; see `qsimc.torch.prepare`.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511).
    """
    model, folder = model_of(plan, module)
    found = quantizers_of(model, plan, encodings or {})
    owners = _owners(module)
    activations = [t for q in found for t in q.tensors if not model.stores(t)]
    where = places(module, model, plan, activations)
    stored = [t for q in found for t in q.tensors if model.stores(t)]
    unmapped = {**where.reasons, **{t: _NO_PARAMETER for t in stored if t not in owners}}
    prepared = Prepared(module, {t: unmapped[t] for t in plan.tensors if t in unmapped})
    ports: dict[Port, nn.Module] = {}
    for quantizer in found:
        kept = tuple(t for t in quantizer.tensors if t not in unmapped)
        if not kept:
            continue
        made = _made(quantizer, kept).to(_device(module))
        prepared.parametrize(made, (owner for t in kept for owner in owners.get(t, ()) if model.stores(t)))
        ports |= {port: made for t in kept for port in where.ports.get(t, ())}
    prepared.hook(ports)
    place(prepared, model, plan, folder)
    return prepared


def place(prepared: Prepared, model: OnnxModel, plan: Plan, folder: Folder | None) -> None:
    """Let a prepared module know what it is an image of, and where its parameters are now."""
    names = {_plain(name): name for name in prepared.state_dict() if name.startswith("module.")}
    stored = {name: constant for constant, name in names.items() if model.stores(constant)}
    remember(prepared, Captured(model, plan, stored, folder))


def _plain(name: str) -> str:
    """Return what a parameter is called without its quantizer: `fc.weight` of `fc.parametrizations.weight.original`."""
    parts = name.removeprefix("module.").split(".")
    if len(parts) >= 3 and parts[-3] == _PARAMETRIZED and parts[-1] == "original":
        parts[-3:] = parts[-2:-1]
    return ".".join(parts)


def _owners(module: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Return where each parameter and buffer is registered; one that is tied goes by the first of its names."""
    first: dict[int, str] = {}
    found: dict[str, list[tuple[nn.Module, str]]] = {}
    for path, part in module.named_modules():
        for name, value in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            canonical = first.setdefault(id(value), f"{path}.{name}" if path else name)
            found.setdefault(canonical, []).append((part, name))
    return found


def _made(quantizer: Quantizer, tensors: Sequence[str]) -> nn.Module:
    """Return a quantizer as generated modules make it, for those tensors of it that have a place."""
    made: nn.Module = getattr(runtime, quantizer.maker)(*quantizer.tensors, **dict(quantizer.options))
    made.tensors = tuple(tensors)  # type: ignore[assignment]
    if quantizer.encoding is not None:
        assert isinstance(made, FakeQuantize)
        made.encode(*map(torch.from_numpy, numbers(quantizer.encoding)))
    return made


def _device(module: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in module.parameters()), None)
