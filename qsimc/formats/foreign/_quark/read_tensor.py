"""Read what Quark for PyTorch says of one tensor: a data type, a scheme and an observer become neutral settings."""

from __future__ import annotations

from dataclasses import dataclass

from qsimc.formats.foreign._quark.words import Dtype, words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

_REQUIRED = (("dtype",), ("is_dynamic", "dynamic"), ("ch_axis", "axis"), ("group_size",), ("symmetric",))
_SCHEMES = ("per_tensor", "per_channel", "per_group", "per_block")
_KEYS = (
    "dtype", "is_dynamic", "qscheme", "ch_axis", "group_size", "block_size", "symmetric", "round_method", "scale_type",
    "zero_point_type", "scale_format", "scale_calculation_mode", "mx_element_dtype", "observer_cls", "is_scale_quant",
    "enable_buffer_reuse", "max_input_numel",
)  # fmt: skip
_MX = {"fp4": "float4_e2m1", "fp8_e4m3": "float8_e4m3", "fp8_e5m2": "float8_e5m2"}
_LARGEST_GROUP = 65536


@dataclass(frozen=True, slots=True)
class TensorReader:
    """Reads specifications of tensors of one file."""

    findings: Findings

    def read(self, role: str, operators: tuple[str, ...], value: Json, pointer: str) -> list[Setting]:
        """Return the settings of one tensor; null is a tensor that is not quantized."""
        match value:
            case Scalar(None, span):
                return [Setting("enabled", False, span, pointer)]
            case Array(items, span) if items:
                return self._stages(role, operators, value, pointer)
            case Object(found, _) if found:
                return _Tensor(self.findings, value, pointer, role, operators).settings()
            case _:
                self.findings.wrong(value, f"the specification of the {role}", "an object or null", pointer)
                return [Setting("enabled", None, value.span, pointer)]

    def _stages(self, role: str, operators: tuple[str, ...], stages: Array, pointer: str) -> list[Setting]:
        if len(stages.items) > 1:
            message = f"the {role} is quantized in {len(stages.items)} stages: only the first is read"
            self.findings.lost(LossKind.DTYPE, message, stages.span, pointer, "type")
        return self.read(role, operators, stages.items[0], below(pointer, 0))


class _Tensor:
    def __init__(self, findings: Findings, value: Object, pointer: str, role: str, operators: tuple[str, ...]) -> None:
        self.findings = findings
        self.value = value
        self.pointer = pointer
        self.role = role
        self.operators = operators
        self.members = members(value)
        self.found: list[Setting] = []

    def settings(self) -> list[Setting]:
        for key, member in self.members.items():
            if key not in _KEYS and key not in ("dynamic", "axis", "qat_spec"):
                where = f"the specification of the {self.role}"
                self.findings.unknown(member, _KEYS, where, below(self.pointer, key), refused=False)
        for names in _REQUIRED:
            if not any(name in self.members for name in names):
                message = f"`{names[0]}` is missing from the specification of the {self.role}"
                self.findings.bad(message, self.value.span, self.pointer, f"add `{names[0]}`; null counts as said")
        head = self.members["dtype"].value.span if "dtype" in self.members else self.value.span
        self.found.append(Setting("enabled", True, head, self.pointer))
        casts = self._dtype()
        if not casts:
            self._flag("symmetric", "symmetric")
            self._scheme()
            self._rounding()
            self._observer()
            self._rest()
        return self.found

    # ── keys ─────────────────────────────────────────────────────────────────────────────────

    def _dtype(self) -> bool:
        """Read the data type; say whether the tensor is only cast to it, so that nothing else counts."""
        name = self._word("dtype", (*words("torch").dtypes, *words("torch").other))
        if name is None:
            self._add("type", None, "dtype")
            return False
        element = self._text("mx_element_dtype")
        known = words("torch").dtypes.get(name)
        if name == "mx" and element in _MX:
            known = Dtype(_MX[element], 4 if element == "fp4" else 8)
            self._add("scale", "e8m0", "dtype")
            self._group("group_size")
        if known is None:
            self._lost(LossKind.DTYPE, "dtype", f"there is no word for `{name}`", "type")
            self._add("type", None, "dtype")
            return False
        self._add("type", known.type, "dtype")
        self._add("bits", known.bits, "dtype")
        if known.signed is not None:
            self._add("signed", known.signed, "dtype")
        return known.type in ("float", "bfloat") or name == "mx"

    def _scheme(self) -> None:
        scheme = self._word("qscheme", _SCHEMES)
        match scheme:
            case "per_tensor" | "per_channel":
                self._add("per_channel", scheme == "per_channel", "qscheme")
            case "per_group":
                self._group("group_size")
            case "per_block":
                self._lost(LossKind.GRANULARITY, "qscheme", "there is no word for scales of blocks", "per_group")
            case None if self._said("qscheme"):
                self._add("per_channel", None, "qscheme")
        if scheme == "per_channel" and self.role == "weight":
            self._axis()
        self._flag("is_dynamic" if "is_dynamic" in self.members else "dynamic", "dynamic")

    def _axis(self) -> None:
        """Report channels along an axis that is not that of the operator's outputs."""
        key = "ch_axis" if "ch_axis" in self.members else "axis"
        axis = self._integer(key)
        outputs = {1 if operator == "ConvTranspose" else 0 for operator in self.operators}
        if axis is not None and outputs and axis not in outputs:
            message = f"channels are those of the output in qsimc: axis {axis} of the weight is not"
            self._lost(LossKind.GRANULARITY, key, message, "per_channel")

    def _group(self, key: str) -> None:
        size = self._integer(key)
        if size == -1:
            self._add("per_channel", True, key)
        elif size is not None and 1 <= size <= _LARGEST_GROUP:
            self._add("per_group", size, key)
        elif size is not None:
            self.findings.bad(f"a group has 1 to {_LARGEST_GROUP} values", self._span(key), below(self.pointer, key))

    def _rounding(self) -> None:
        word = self._word("round_method", tuple(words("torch").words["round"]))
        if word is not None:
            self._add("round", words("torch").words["round"][word], "round_method")

    def _observer(self) -> None:
        scales = words("torch").words["scale"]
        other = tuple(name for name in words("torch").other if name.startswith(("float", "bfloat")))
        scale = self._word("scale_type", (*scales, *other))
        if scale is not None and scale not in scales:
            self._lost(LossKind.SCALE, "scale_type", f"there is no word for scales kept as `{scale}`", "scale")
        name = self._text("observer_cls")
        observer = words("torch").observers.get(name or "")
        if observer is None:
            self._no_observer(name)
        if self._text("scale_format") == "e8m0":
            self._add("scale", "e8m0", "scale_format")
        elif observer is not None and observer.scale == "pow2":
            self._add("scale", "pow2", "observer_cls")
        elif scale is not None:
            # The observers that are not for powers of two take no notice of `pof2`.
            self._add("scale", "float" if scale == "pof2" else scales.get(scale, "float"), "scale_type")
        if observer is None:
            return
        if observer.near:
            self._lost(LossKind.ESTIMATOR, "observer_cls", f"`{name}` is only like {observer.calib}", "calib")
        self._add("calib", observer.calib, "observer_cls")
        if observer.percentile is not None:
            self._add("percentile", observer.percentile, "observer_cls")
        dynamic = self.members.get("is_dynamic", self.members.get("dynamic"))
        static = dynamic is not None and dynamic.value == Scalar(False, dynamic.value.span)
        if observer.reduce and static and self.role in ("input", "output"):
            self._add("reduce", observer.reduce, "observer_cls")

    def _no_observer(self, name: str | None) -> None:
        if name in words("torch").other:
            if name != "PlaceholderObserver":
                self._lost(LossKind.ESTIMATOR, "observer_cls", f"there is no word for what `{name}` does", "calib")
        elif name is not None:
            known = ", ".join(f"`{n}`" for n in words("torch").observers)
            message = f"Quark has no observer `{name}`, and then observes nothing"
            pointer = below(self.pointer, "observer_cls")
            self.findings.bad(message, self._span("observer_cls"), pointer, f"observers: {known}")

    def _rest(self) -> None:
        if self._text("zero_point_type") not in (None, "int32"):
            self._lost(LossKind.SYMMETRY, "zero_point_type", "there is no word for zero points that are no integers")
        for key, usual in (("is_scale_quant", False), ("enable_buffer_reuse", False)):
            member = self.members.get(key)
            if member is not None and member.value != Scalar(usual, member.value.span):
                self._lost(LossKind.DROPPED, key, f"there is no word for `{key}`")

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _add(self, field: str, value: Value, key: str) -> None:
        self.found.append(Setting(field, value, self._span(key), below(self.pointer, key)))

    def _lost(self, what: LossKind, key: str, message: str, *fields: str) -> None:
        self.findings.lost(what, message, self._span(key), below(self.pointer, key), *fields)

    def _span(self, key: str) -> Span:
        return self.members[key].value.span if key in self.members else self.value.span

    def _said(self, key: str) -> Member | None:
        """Return a member that is there and not null."""
        member = self.members.get(key)
        return None if member is None or member.value == Scalar(None, member.value.span) else member

    def _text(self, key: str) -> str | None:
        member = self._said(key)
        if member is None:
            return None
        match member.value:
            case Scalar(str() as text, _):
                return text
            case other:
                self.findings.bad(f"`{key}` is a string, found {kind(other)}", other.span, below(self.pointer, key))
                return None

    def _word(self, key: str, choices: tuple[str, ...]) -> str | None:
        text = self._text(key)
        if text is None or text in choices:
            return text
        listed = ", ".join(f"`{choice}`" for choice in choices)
        self.findings.bad(f"`{key}` cannot be `{text}`", self._span(key), below(self.pointer, key), f"known: {listed}")
        return None

    def _integer(self, key: str) -> int | None:
        member = self._said(key)
        if member is None:
            return None
        match member.value:
            case Scalar(bool(), _):
                pass
            case Scalar(int() as number, _):
                return number
        message = f"`{key}` is an integer, found {kind(member.value)}"
        self.findings.bad(message, member.value.span, below(self.pointer, key))
        return None

    def _flag(self, key: str, field: str) -> None:
        member = self._said(key)
        if member is None:
            return
        match member.value:
            case Scalar(bool() as flag, _):
                self._add(field, flag, key)
            case other:
                message = f"`{key}` is true or false, found {kind(other)}"
                self.findings.bad(message, other.span, below(self.pointer, key))
                self._add(field, None, key)
