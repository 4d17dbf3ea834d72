"""Running generated modules: NumPy in, NumPy out, tensors by the names that the model has for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qsimc.backend import Batch
from qsimc_torch.build import class_of, tensor_of
from qsimc_torch.runtime import Simulation

_SUFFIX = "_quantsim"


def opened(path: Path) -> Simulation:
    """Return the module in a file that `build` wrote, with its weights and encodings."""
    text = path.read_text(encoding="utf-8")
    (name,) = (line.removeprefix("class ").partition("(")[0] for line in text.splitlines() if _is_model(line))
    return class_of(text, name).load(weights_of(path))


def _is_model(line: str) -> bool:
    return line.startswith("class ") and line.endswith("(Simulation):")


def weights_of(path: Path) -> Path:
    """Return where the weights of a module lie that `build` wrote."""
    return path.with_name(f"{path.stem.removesuffix(_SUFFIX)}.safetensors")


def run(path: Path, batches: Iterable[Batch], outputs: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield the outputs of each batch, by name: the model's own, or the named ones among them and quantized tensors."""
    model = opened(path)
    found: dict[str, Tensor] = {}
    for quantizer in model.quantizers() if outputs is not None else ():
        quantizer.register_forward_hook(_Remember(quantizer.tensors, found))
    for batch in batches:
        made = {**dict(zip(_names(model, "outputs"), _results(model, batch), strict=True)), **found}
        yield {name: made[name].numpy() for name in (outputs if outputs is not None else _names(model, "outputs"))}


def _names(model: Simulation, which: str) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(model, which)
    return names


def _results(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    with torch.no_grad():
        made = model(*(tensor_of(batch[name]) for name in _names(model, "inputs")))  # type: ignore[arg-type]
    return made if isinstance(made, tuple) else (made,)


class _Remember:
    """Keeps what a quantizer puts out; tensors that share it come in the order of the model."""

    def __init__(self, tensors: Sequence[str], found: dict[str, Tensor]) -> None:
        self._tensors, self._found, self._calls = tensors, found, 0

    def __call__(self, _: nn.Module, __: Any, result: Tensor) -> None:
        self._found[self._tensors[self._calls % len(self._tensors)]] = result
        self._calls += 1
