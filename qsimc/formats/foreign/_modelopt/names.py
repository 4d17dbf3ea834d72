"""Names of quantizers in ModelOpt: the module, a dot, and `weight_quantizer`, `input_quantizer` or `output_quantizer`.

An entry names them by a glob over the whole name, and may name the class of the module besides.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from qsimc import resources
from qsimc.formats.foreign._names import name_of_glob
from qsimc.ir.select import AnyOf, Everything, NodeName, OpType, Selector
from qsimc.spec.operator_words import operator_words

ROLES = ("weight", "input", "output")
_ROLE = re.compile(r"(weight|input|output)_quantizer\*?\Z")
_EVERY = ("*", "*quantizer", "*_quantizer", "*quantizer*", "*_quantizer*")
_OTHER = re.compile(r"(bmm|softmax|core_attention|pre|post|\w*_(?:proj|ih|hh|l\d+))?_?quantizers?\*?\Z")


@dataclass(frozen=True, slots=True)
class Named:
    """What an entry is about: modules by name (None: any name), and the tensors of these."""

    names: tuple[NodeName, ...] | None
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What ModelOpt has (specs/formats/modelopt.toml); the sections are those of the file."""

    weighted: frozenset[str]
    disabled: Mapping[str, tuple[str, ...]]
    enabled: Mapping[str, Mapping[str, str]]
    numerics: Mapping[str, Mapping[str, object]]


@cache
def facts() -> Facts:
    table = tomllib.loads(resources.read("specs", "formats/modelopt.toml"))
    disabled = {name: tuple(patterns) for name, patterns in table["disabled"].items()}
    return Facts(frozenset(table["weighted"]), disabled, table["enabled"], table["numerics"])


def named(pattern: str) -> Named | None:
    """Return what the name of a quantizer means, None if it means none of the quantizers of a module."""
    if pattern in _EVERY:
        return Named(None, ROLES)
    role = _ROLE.search(pattern)
    if role is None:
        # Without the end of a name a glob is about all tensors of what it names: `*lm_head*`, `output.*`.
        if _OTHER.search(pattern) or not pattern.endswith("*"):
            return None
        return Named(_modules(pattern), ROLES)
    before = pattern[: role.start()]
    roles = (role[1],)
    if before in ("*", "*."):
        return Named(None, roles)
    if before.endswith("."):
        return Named((_module(before[:-1]),), roles)
    return Named((_module(before),), roles) if before.endswith("*") else None


def _modules(pattern: str) -> tuple[NodeName, ...]:
    """Return the modules whose quantizers a glob with `*` at its end names: `a.*` is `a` and all within."""
    if not pattern.endswith(".*"):
        return (_module(pattern),)
    return (_module(pattern[:-2]), _module(pattern))


def _module(glob: str) -> NodeName:
    name = name_of_glob(glob)
    return NodeName(glob, glob=True) if name is None else NodeName(name)


def selector_of_names(names: tuple[NodeName, ...] | None) -> Selector:
    if names is None:
        return Everything()
    return names[0] if len(names) == 1 else AnyOf(names)


def operators(word: str) -> tuple[str, ...]:
    """Return the operators of a class such as `nn.Conv2d`."""
    return operator_words("modelopt").meant.get(word, ())


def selector_of_class(word: str) -> Selector | None:
    """Return the operators of a class; None if ModelOpt, or ONNX, has no such class."""
    found = tuple(OpType(operator) for operator in operators(word))
    if not found:
        return None
    return found[0] if len(found) == 1 else AnyOf(found)


def classes(operator: str) -> tuple[str, ...]:
    """Return the classes of an operator: `nn.Conv1d` and so on."""
    return operator_words("modelopt").of.get(operator, ())
