"""Hooks on the parts of a module: every tensor that goes in or out, by where it does, to look at or to replace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True, slots=True)
class Port:
    """Where a tensor goes into a part of a module, or comes out of it.

    Attributes:
        path: of the part, as in a state dict; empty for the module itself.
        call: which of the calls of the part in one run of the module, from 0.
        inward: whether the tensor goes in.
        number: which of the tensors that go the same way.
    """

    path: str
    call: int
    inward: bool
    number: int


class Hooks:
    """Calls of `visit` with each tensor at a port; what it returns takes the tensor's place."""

    def __init__(
        self, module: nn.Module, visit: Callable[[Port, Tensor], Tensor], paths: Collection[str] | None = None
    ) -> None:
        """Hook the parts at some paths, all of them by default."""
        self._visit = visit
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._running: defaultdict[str, list[int]] = defaultdict(list)
        self._handles: list[RemovableHandle] = []
        for path, part in module.named_modules():
            if not path or paths is None or path in paths:
                self._handles.append(part.register_forward_pre_hook(_Enter(self, path), with_kwargs=True))
                self._handles.append(part.register_forward_hook(_Leave(self, path)))

    def enter(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Begin a call; the module's own begins a run."""
        if not path:
            self._calls.clear()
            self._running.clear()
        call = self._calls[path]
        self._calls[path] += 1
        self._running[path].append(call)
        visited: tuple[Any, Any] = self._visited(path, call, True, (args, kwargs))
        return visited

    def leave(self, path: str, result: Any) -> Any:
        """End a call."""
        return self._visited(path, self._running[path].pop(), False, result)

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _visited(self, path: str, call: int, inward: bool, value: Any) -> Any:
        numbers = count()
        return replaced(value, lambda tensor: self._visit(Port(path, call, inward, next(numbers)), tensor))


@dataclass(frozen=True, slots=True)
class _Enter:
    hooks: Hooks
    path: str

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return self.hooks.enter(self.path, args, kwargs)


@dataclass(frozen=True, slots=True)
class _Leave:
    hooks: Hooks
    path: str

    def __call__(self, _: nn.Module, __: tuple[Any, ...], result: Any) -> Any:
        return self.hooks.leave(self.path, result)


def replaced(value: Any, replace: Callable[[Tensor], Tensor]) -> Any:
    """Return a value with each tensor in it replaced, however deep it lies in tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return replace(value)
    if isinstance(value, tuple | list):
        items = [replaced(item, replace) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        changed: Any = copy(value)
        for name, item in value.items():
            changed[name] = replaced(item, replace)
        return changed
    return value
