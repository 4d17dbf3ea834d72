"""Read what Quark for ONNX says of one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._quark.words import words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.syntax.json import Json, Member, Object, Scalar

_KEYS = ("symmetric", "scale_type", "calibration_method", "quant_granularity", "data_type")
_FIELDS = {"scale_type": "scale", "calibration_method": "calib", "quant_granularity": "per_channel"}
_KINDS = {"scale": LossKind.SCALE, "calib": LossKind.ESTIMATOR, "per_channel": LossKind.GRANULARITY}


@dataclass(frozen=True, slots=True)
class TensorReader:
    """Reads specifications of tensors of one file."""

    findings: Findings

    def read(self, role: str, value: Json, pointer: str) -> list[Setting]:
        """Return the settings of one tensor."""
        if not isinstance(value, Object):
            self.findings.wrong(value, f"the specification of the {role}", "an object", pointer)
            return [Setting("enabled", None, value.span, pointer)]
        found = members(value)
        for key, member in found.items():
            if key not in _KEYS:
                where = f"the specification of the {role}"
                self.findings.unknown(member, _KEYS, where, below(pointer, key), refused=True)
        for key in _KEYS:
            if key not in found:
                self.findings.bad(f"`{key}` is missing", value.span, pointer, f"add `{key}`")
        span = found["data_type"].value.span if "data_type" in found else value.span
        settings = [Setting("enabled", True, span, pointer)]
        cast = False
        if "data_type" in found:
            dtype = self._dtype(found["data_type"], below(pointer, "data_type"))
            cast = any(s.field == "type" and s.value in ("float", "bfloat") for s in dtype)
            settings += dtype
        if not cast:
            settings += self._symmetric(found, pointer)
            for key, field in _FIELDS.items():
                if key in found and (field != "per_channel" or role == "weight"):
                    settings += self._word(key, field, found[key], below(pointer, key))
        return settings

    def _dtype(self, member: Member, pointer: str) -> list[Setting]:
        table, span = words("onnx"), member.value.span
        name = member.value.value if isinstance(member.value, Scalar) else None
        known = table.dtypes.get(name) if isinstance(name, str) else None
        if known is None:
            if isinstance(name, str) and name in table.other:
                self.findings.lost(LossKind.DTYPE, f"there is no word for `{name}`", span, pointer, "type")
            else:
                self.findings.bad("no data type of Quark is called so", span, pointer, _listed(table.dtypes))
            return [Setting("type", None, span, pointer)]
        found = [Setting("type", known.type, span, pointer), Setting("bits", known.bits, span, pointer)]
        return found if known.signed is None else [*found, Setting("signed", known.signed, span, pointer)]

    def _symmetric(self, found: Mapping[str, Member], pointer: str) -> list[Setting]:
        member = found.get("symmetric")
        if member is None:
            return []
        match member.value:
            case Scalar(bool() as symmetric, span):
                return [Setting("symmetric", symmetric, span, below(pointer, "symmetric"))]
            case other:
                self.findings.bad("`symmetric` is true or false", other.span, below(pointer, "symmetric"))
                return [Setting("symmetric", None, other.span, below(pointer, "symmetric"))]

    def _word(self, key: str, field: str, member: Member, pointer: str) -> list[Setting]:
        table, span = words("onnx"), member.value.span
        name = member.value.value if isinstance(member.value, Scalar) else None
        value: Value = None
        if isinstance(name, str) and name in table.words[key]:
            value = table.words[key][name]
        elif isinstance(name, str) and name in table.other:
            self.findings.lost(_KINDS[field], f"there is no word for `{name}`", span, pointer, field)
        else:
            self.findings.bad(f"no word of `{key}` is written so", span, pointer, _listed(table.words[key]))
        return [Setting(field, value, span, pointer)]


def _listed(known: Iterable[str]) -> str:
    return f"known: {', '.join(f'`{name}`' for name in known)}"
