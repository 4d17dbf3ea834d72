"""A PyTorch module -> the port graph that AIMET's torch half sees: modules, calls, and what flows between them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from qsimc import entry
from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.planning.torch.graph import Module, PortGraph, with_splits
from qsimc_torch.example import Example, evaluating, example_of
from qsimc_torch.ports_trace import Trace

_Counts: TypeAlias = Mapping[nn.Module, tuple[int, int]]

_FAMILIES = (("torch.nn.", "nn"), ("aimet_torch.", "custom"), ("torchvision.", "tv"))


def capture_ports(factory: str | Callable[[], Any], report: Report) -> PortGraph | None:
    """Return the port graph of the module that the user's factory makes; None after reporting why there is none.

    The factory is the one of `capture`.  Nothing is printed, and the module is left in the mode it had.

    Reports:
        Q0510: the factory cannot be found, fails, or returns something else.
        Q0513: the module cannot be traced.
    """
    text = factory if isinstance(factory, str) else f"{factory.__module__}:{factory.__qualname__}"
    call = entry.load_reference(factory, report) if isinstance(factory, str) else factory
    made = None if call is None else entry.run(text, call, report)
    example = None if made is None else example_of(text, made, report)
    if example is None:
        return None
    try:
        traced, counts = _run(example)
    except entry.USER_ERRORS as error:  # `forward` is the user's code
        report(_not_traced(text, example, error))
        return None
    return _port_graph(example.module, traced, counts)


def _run(example: Example) -> tuple[Any, _Counts]:
    """Run the user's module twice: once to see how its parts are called, once to trace it."""
    module = example.module
    with evaluating(module), torch.no_grad(), warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # the tracer's, about values that it takes for constants
        counts = _count_ports(example)
        arguments: dict[str, Any] = (
            {"example_kwarg_inputs": dict(example.kwargs)} if example.kwargs else {"example_inputs": example.args}
        )
        trace: Any = torch.jit.trace
        # Not strict: the result may be a mapping.
        return trace(module, **arguments, check_trace=False, strict=False), counts


def _port_graph(module: nn.Module, traced: Any, counts: _Counts) -> PortGraph:
    modules = {
        name: _describe(name, part, counts.get(part, (1, 1)))
        for name, part in module.named_modules()
        if name and is_leaf(part)
    }
    calls, outputs = Trace(module, modules).run(traced)
    return PortGraph(type(module).__name__, modules, with_splits(calls), tuple(dict.fromkeys(outputs)))


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no parts: only such modules have quantizers."""
    return next(module.children(), None) is None and not isinstance(
        module, nn.Sequential | nn.ModuleList | nn.ModuleDict
    )


def class_name(module: nn.Module) -> tuple[str, bool]:
    """Return the name of a module's class in specs/torch_classes.toml, and whether AIMET can know it."""
    cls = type(module)
    for package, family in _FAMILIES:
        if cls.__module__.startswith(package):
            return f"{family}.{cls.__name__}", True
    return f"{cls.__module__}.{cls.__qualname__}", False


def _describe(name: str, module: nn.Module, count: tuple[int, int]) -> Module:
    cls, known = class_name(module)
    groups = getattr(module, "groups", 1)
    return Module(
        name=name,
        cls=cls,
        inputs=count[0],
        outputs=count[1],
        params={param: tuple(value.shape) for param, value in module.named_parameters(recurse=False)},
        groups=groups if isinstance(groups, int) else 1,
        known=known,
    )


def _count_ports(example: Example) -> _Counts:
    """Run the module and return how many arguments and results each part without parts of its own has."""
    counts: dict[nn.Module, tuple[int, int]] = {}

    def note(part: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        results = len(result) if isinstance(result, tuple | list) else 1
        counts[part] = max(len(arguments), 1), max(results, 1)

    hooks = [part.register_forward_hook(note) for part in example.module.modules() if is_leaf(part)]
    try:
        example.module(*example.args, **example.kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def _not_traced(text: str, example: Example, error: BaseException) -> Diagnostic:
    place = entry.place_of(error)
    if place is not None and place.startswith(str(Path(__file__).parent)):
        place = None  # torch's own doing, and no line of the user's
    return Diagnostic(
        code="Q0513",
        name="torch-trace",
        severity=Severity.ERROR,
        message=f"`{type(example.module).__name__}` cannot be traced",
        notes=(entry.one_line(error), *((f"raised at {place}",) if place else ())),
        helps=("change the module so that `torch.jit.trace` takes it: AIMET's torch half needs the same",),
        path=text,
    )
