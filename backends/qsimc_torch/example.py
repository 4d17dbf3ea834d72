"""What the user's factory returned: a module and the inputs to trace it with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qsimc.diagnostics import Diagnostic, Report
from qsimc.entry import faulty_code, one_line

_HELP = ("return the module and its example inputs: `return model, (torch.rand(1, 3, 224, 224),)`",)


@dataclass(frozen=True, slots=True)
class Example:
    """A module and one call of it.

    `bound` holds the arguments by the name that `forward` gives them; `batch` is the size of the first
    axis of the first tensor among them, None when all tensors are scalars.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    bound: Mapping[str, Any]
    batch: int | None


def example_of(text: str, made: Any, report: Report) -> Example | None:
    """Return the example in what the factory `text` returned; None after reporting Q0510."""
    fault = _fault(made)
    if fault:
        report(faulty_code(text, f"`{text}` returned {fault}", helps=_HELP))
        return None
    module, inputs = made
    args, kwargs = _arguments(inputs)
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        report(_misfit(text, module, error))
        return None
    found = list(tensors(bound.arguments))
    if not found:
        report(faulty_code(text, f"`{text}` returned example inputs without a tensor", helps=_HELP))
        return None
    batch = next((len(tensor) for tensor in found if tensor.ndim), None)
    return Example(module, args, kwargs, _by_name(bound), batch)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Give the tensors in an argument, in order, however deep they lie in tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def _fault(made: Any) -> str:
    """Return what is wrong with the factory's result, as the end of a sentence; empty when it is a pair."""
    if isinstance(made, nn.Module):
        return f"a `{type(made).__name__}` without example inputs"
    if not isinstance(made, tuple | list) or len(made) != 2:
        return f"a `{type(made).__name__}`, not an `nn.Module` and example inputs"
    module, inputs = made
    if isinstance(module, type) and issubclass(module, nn.Module):
        return f"the class `{module.__name__}`, not an instance of it"
    if not isinstance(module, nn.Module):
        return f"a `{type(module).__name__}` where the `nn.Module` belongs"
    if not isinstance(inputs, torch.Tensor | tuple | list | Mapping):
        return f"a `{type(inputs).__name__}` as example inputs, not a tensor, a tuple or a mapping"
    return ""


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments as `torch.export` counts them: those of `**kwargs` each under its own name."""
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _misfit(text: str, module: nn.Module, error: TypeError) -> Diagnostic:
    parameters = inspect.signature(module.forward).parameters.values()
    call = f"{type(module).__name__}.forward({', '.join(str(p).partition(':')[0] for p in parameters)})"
    return faulty_code(
        text,
        f"the example inputs of `{text}` do not fit `{call}`",
        notes=(one_line(error),),
        helps=("give one example per argument: a tuple in order, or a mapping by name",),
    )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and each of its parts back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
