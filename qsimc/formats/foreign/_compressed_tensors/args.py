"""How compressed-tensors says that one tensor of a layer is quantized: `weights`, `input_activations` and the like."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from qsimc import resources
from qsimc.diagnostics import did_you_mean
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Json, Member, Object, Scalar, kind, plain

TOOL = "compressed-tensors"

_Kind = TypeVar("_Kind", bool, int, str)

FLOATS = {8: "float8_e4m3", 4: "float4_e2m1"}
"""The floats that it has by width; the one of 6 bits (E2M3) has no word here."""

_MX_SCALE = "torch.uint8"
_ORDERS_GONE = ("group", "dynamic")
_OF_INPUTS = ("token", "tensor", "group", "tensor_group", "attn_head")
_OF_DYNAMIC = ("token", "tensor", "group", "tensor_group")


@cache
def spec() -> Mapping[str, Any]:
    """Return specs/formats/compressed-tensors.toml."""
    return tomllib.loads(resources.read("specs", "formats/compressed-tensors.toml"))


def read_args(args: Object, role: str, pointer: str, findings: Findings) -> tuple[Setting, ...]:
    """Return all that a file says of one tensor, the tool's defaults among it: another entry's take no effect."""
    known = spec()["args_keys"]
    for key, member in members(args).items():
        if key not in known:
            findings.unknown(member, known, "the arguments of a tensor", below(pointer, key), refused=True)
    reader = _Args(members(args), args.span, role, pointer, findings)
    return (Setting("enabled", True, args.span, pointer), *reader.settings())


@dataclass(frozen=True, slots=True)
class _Args:
    said: Mapping[str, Member]
    span: Span
    role: str
    pointer: str
    findings: Findings

    def settings(self) -> Iterator[Setting]:
        yield from self._type()
        symmetric = self._get("symmetric", bool, True)
        if symmetric is not None:
            yield self._setting("symmetric", symmetric, "symmetric")
        dynamic = self._dynamic()
        strategy = self._strategy()
        if self._fits(strategy, dynamic is True):
            yield from self._granularity(strategy)
        if dynamic is not None:
            yield self._setting("dynamic", dynamic, "dynamic")
        yield from self._calib()
        yield from self._scale(strategy)
        self._order()

    # ── fields ───────────────────────────────────────────────────────────────────────────────

    def _type(self) -> Iterator[Setting]:
        family = self._word("type", ("int", "float"), "int")
        bits = self._get("num_bits", int, 8)
        if family is None or bits is None:
            return
        if family == "int":
            if not 2 <= bits <= 32:
                self._bad("num_bits", f"a tensor has 2 to 32 bits, not {bits}")
                return
            yield self._setting("type", "int", "type")
            yield self._setting("bits", bits, "num_bits")
        elif bits in FLOATS:
            yield self._setting("type", FLOATS[bits], "type")
        elif bits == 6:
            self._lost(LossKind.DTYPE, "num_bits", "floats of 6 bits (E2M3) have no word here", "type", "bits")
            yield self._setting("type", "float", "type")
            yield self._setting("bits", bits, "num_bits")
        else:
            self._bad("num_bits", f"a float has 4, 6 or 8 bits, not {bits}")

    def _dynamic(self) -> bool | None:
        value = self._value("dynamic")
        if isinstance(value, Scalar) and isinstance(value.value, str) and value.value.lower() == "local":
            message = "only the scales of groups are computed at run time, the one over all of them is fixed"
            self._lost(LossKind.DYNAMIC, "dynamic", message, "dynamic")
            return True
        return self._get("dynamic", bool, False)

    def _strategy(self) -> str | None:
        size = self._get("group_size", int, None)
        said = self._word("strategy", spec()["strategies"], None)
        if said is None and not self._absent("strategy"):
            return None
        found = said or ("tensor" if size is None else "channel" if size == -1 else "group")
        if size is not None and (size < -1 or (found in ("group", "tensor_group")) != (size > 0)):
            self._bad("group_size", f"a group size of {size} does not go with the strategy `{found}`")
            return None
        if found in ("group", "tensor_group") and size is None:
            self._bad("strategy", f"the strategy `{found}` needs a `group_size`")
            return None
        return found

    def _fits(self, strategy: str | None, dynamic: bool) -> bool:
        """Say whether the strategy goes with the other arguments, after a report if it does not."""
        if strategy is None:
            return False
        if (strategy == "block") == self._absent("block_structure"):
            self._bad("block_structure", "the strategy `block` and a `block_structure` go together")
        elif strategy == "token" and not dynamic:
            self._bad("strategy", "a scale per token is dynamic", 'add `"dynamic": true`')
        elif dynamic and strategy not in _OF_DYNAMIC:
            self._bad("strategy", f"the strategy `{strategy}` cannot be dynamic")
        elif self.role == "input" and strategy not in _OF_INPUTS:
            self._bad("strategy", f"activations cannot have the strategy `{strategy}`")
        else:
            return True
        return False

    def _granularity(self, strategy: str | None) -> Iterator[Setting]:
        if strategy in ("tensor", "channel"):
            yield self._setting("per_channel", strategy == "channel", "strategy", "group_size")
        elif strategy in ("group", "tensor_group"):
            size = self._get("group_size", int, None)
            if size is not None and size <= 65536:
                yield self._setting("per_group", size, "group_size")
            if strategy == "tensor_group":
                message = "the scales of groups are themselves scaled per tensor, which has no word here"
                self._lost(LossKind.SCALE, "strategy", message, "scale")
        elif strategy == "block":
            yield from self._block()
        elif strategy is not None:
            message = f"a scale per {'token' if strategy == 'token' else 'attention head'} has no word here"
            self._lost(LossKind.GRANULARITY, "strategy", message, "per_channel")

    def _block(self) -> Iterator[Setting]:
        value = self._value("block_structure")
        said = plain(value) if value is not None else None
        sides = said.split("x") if isinstance(said, str) else said if isinstance(said, list) else []
        sizes = [int(text) for side in sides if (text := str(side)).isascii() and text.isdigit() and len(text) < 6]
        if len(sides) != 2 or len(sizes) != 2 or not all(1 <= size <= 65536 for size in sizes):
            if value is not None:
                self._bad("block_structure", "a block has two positive sides, such as `[128, 128]`")
            return
        message = f"blocks of {sizes[0]} x {sizes[1]} become groups of {sizes[1]}, as if they had one row"
        self._lost(LossKind.GRANULARITY, "block_structure", message, "per_group")
        yield self._setting("per_group", sizes[1], "block_structure")

    def _calib(self) -> Iterator[Setting]:
        observer = self._get("observer", str, None)
        if observer is None:
            yield self._setting("calib", "minmax", "observer")
        else:
            known: Mapping[str, str] = spec()["observers"]
            if observer in known:
                yield self._setting("calib", known[observer], "observer")
            else:
                near = did_you_mean(observer, tuple(known))
                meant = f"; did you mean `{near}`?" if near else ""
                self._lost(LossKind.ESTIMATOR, "observer", f"no observer here is `{observer[:60]}`{meant}", "calib")
        if (arguments := self._value("observer_kwargs")) is not None:
            if not isinstance(arguments, Object):
                self._bad("observer_kwargs", f"an object is expected, found {kind(arguments)}")
            elif arguments.members:
                self._lost(LossKind.ESTIMATOR, "observer_kwargs", "arguments of an observer have no word here", "calib")

    def _scale(self, strategy: str | None) -> Iterator[Setting]:
        dtype = self._get("scale_dtype", str, None)
        if dtype in (_MX_SCALE, "uint8"):
            yield self._setting("scale", "e8m0", "scale_dtype")
            return
        yield self._setting("scale", "float", "scale_dtype")
        if dtype is not None and strategy != "tensor_group":
            self._lost(LossKind.SCALE, "scale_dtype", f"scales of the type {dtype[:60]} have no word here", "scale")

    def _order(self) -> None:
        value = self._value("actorder")
        if value is None or (isinstance(value, Scalar) and value.value is False):
            return
        said = value.value if isinstance(value, Scalar) else None
        if said is True or (isinstance(said, str) and said.lower() in _ORDERS_GONE):
            self._bad("actorder", "this order of columns is gone", 'write "weight", or leave the key out')
        elif not isinstance(said, str) or said.lower() not in ("weight", "static"):
            self._bad("actorder", f'expected "weight" or null, found {kind(value)}')
        elif self.role != "weight":
            self._bad("actorder", "only weights have an order of columns")
        else:
            self._lost(LossKind.DROPPED, "actorder", "the order in which GPTQ takes columns has no word here")

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _value(self, key: str) -> Json | None:
        """Return what a key says, None if it is absent or null."""
        member = self.said.get(key)
        if member is None or (isinstance(member.value, Scalar) and member.value.value is None):
            return None
        return member.value

    def _absent(self, key: str) -> bool:
        return self._value(key) is None

    def _get(self, key: str, type_: type[_Kind], default: _Kind | None) -> _Kind | None:
        """Return a value of a type, its default if the key is absent, None after a report."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, Scalar) and type(value.value) is type_:
            return value.value
        expected = {bool: "true or false", int: "an integer", str: "a string"}[type_]
        self._bad(key, f"{expected} is expected, found {kind(value)}")
        return None

    def _word(self, key: str, known: tuple[str, ...] | list[str], default: str | None) -> str | None:
        said = self._get(key, str, default)
        if said is None or said.lower() in known:
            return said and said.lower()
        near = did_you_mean(said, tuple(known))
        helps = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
        self._bad(key, f'`{key}` cannot be "{said[:60]}"', helps)
        return None

    def _setting(self, field: str, value: Value, *keys: str) -> Setting:
        for key in keys:
            if (at := self._value(key)) is not None:
                return Setting(field, value, at.span, below(self.pointer, key))
        return Setting(field, value, self.span, self.pointer)

    def _bad(self, key: str, message: str, *helps: str) -> None:
        member = self.said.get(key)
        span = member.value.span if member is not None else self.span
        self.findings.bad(message, span, below(self.pointer, key) if member is not None else self.pointer, *helps)

    def _lost(self, what: LossKind, key: str, message: str, *fields: str) -> None:
        at = self._value(key)
        self.findings.lost(what, message, at.span if at is not None else self.span, below(self.pointer, key), *fields)
