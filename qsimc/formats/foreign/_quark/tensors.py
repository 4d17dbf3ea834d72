"""Write how one tensor is quantized as Quark for PyTorch says it: a data type, a scheme and an observer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from qsimc.formats.foreign._quark.losses import Losses
from qsimc.formats.foreign._quark.words import Said, family, quantized, value, words
from qsimc.formats.foreign._shared import Plain
from qsimc.ir.loss import LossKind

_TOOL = "Quark"
_EMPTY: dict[str, Plain] = {
    "dtype": None,
    "is_dynamic": None,
    "qscheme": None,
    "ch_axis": None,
    "group_size": None,
    "block_size": None,
    "symmetric": None,
    "round_method": None,
    "scale_type": None,
    "zero_point_type": "int32",
    "scale_format": None,
    "scale_calculation_mode": None,
    "mx_element_dtype": None,
    "observer_cls": "PlaceholderObserver",
    "is_scale_quant": False,
    "enable_buffer_reuse": False,
    "max_input_numel": 4194304,
}
_FP4_GROUP = 32  # of OCP's MX formats, which Quark's own four-bit floats follow


@dataclass(frozen=True, slots=True)
class Tensors:
    """Writes tensors, and says what each loses; `calibrated` where the ranges of some activations come from data."""

    losses: Losses
    calibrated: bool

    def write(self, role: str, operator: str, said: Said) -> Plain:
        """Return the specification of one tensor of an operator, None if it is not quantized."""
        if not quantized(said):
            return None
        self.losses.never(_TOOL, said)
        kind, bits = family(said)
        if kind in ("float", "bfloat") and bits != 8:
            if role in ("input", "output") and self.calibrated:
                # Its calibration asks every observer of an activation for what that of a cast does not have.
                message = f"{_TOOL} 0.13 stops at casts of activations where others are calibrated: {{}} is dropped"
                self.losses.setting(said.get("type"), message)
                return None
            return {**_EMPTY, "dtype": "bfloat16" if kind == "bfloat" else "float16"}
        scheme = self._scheme(role, operator, said)
        spec = {**_EMPTY, **scheme, "is_dynamic": value(said, "dynamic") is True}
        if kind == "int":
            spec |= self._integer(role, said, bits)
        else:
            spec |= self._float(said, kind)
        per_tensor = scheme["qscheme"] == "per_tensor"
        spec["round_method"] = self._round(said, per_tensor)
        grouped = scheme["qscheme"] == "per_group"
        if grouped and (value(said, "scale") == "e8m0" or kind == "float4_e2m1"):
            e8m0 = value(said, "scale") == "e8m0"
            modes: dict[str, Plain] = {"scale_format": "e8m0", "scale_calculation_mode": "even"}
            spec |= modes if e8m0 else {"scale_format": "float32"}
            self._calib(said, "minmax")
            return {**spec, "symmetric": None, "scale_type": "float", "observer_cls": "PerBlockMXObserver"}
        return spec | self._observer(role, said, spec)

    # ── type ─────────────────────────────────────────────────────────────────────────────────

    def _integer(self, role: str, said: Said, bits: int | None) -> dict[str, Plain]:
        if bits is None:
            bits = 32 if role == "bias" else 8
            self.losses.default(f"{role}.bits", f"nobody says how wide the {role} is: {_TOOL} gets {bits} bits")
        symmetric = value(said, "symmetric")
        if symmetric is None:
            symmetric = role in ("weight", "bias")
            word = "symmetric" if symmetric else "asymmetric"
            self.losses.default(
                f"{role}.symmetric", f"nobody says whether the {role} is symmetric: {_TOOL} gets {word}"
            )
        signed = value(said, "signed")
        # The grid of an asymmetric tensor is the same whether it is counted from zero or from the middle.
        wanted = signed if isinstance(signed, bool) else bool(symmetric) or bits > 8
        fit = [(d.bits != bits, d.signed != wanted, d.bits, name) for name, d in words("torch").dtypes.items()
               if d.type == "int" and not d.read_only and d.bits >= bits]  # fmt: skip
        assert fit, f"no integer of {bits} bits"
        other_width, other_sign, _, dtype = min(fit)
        if other_width:
            self.losses.setting(said.get("bits"), f"{_TOOL} has no such integers: {{}} becomes {dtype}", LossKind.DTYPE)
        if other_sign and isinstance(signed, bool) and symmetric:
            self.losses.setting(said.get("signed"), f"{_TOOL} cannot quantize so: {{}} becomes {dtype}")
        return {"dtype": dtype, "symmetric": cast(bool, symmetric)}

    def _float(self, said: Said, kind: str) -> dict[str, Plain]:
        found = {d.type: name for name, d in words("torch").dtypes.items()}
        if kind not in found or kind in ("float", "bfloat"):
            self.losses.setting(said.get("type"), f"{_TOOL} wants to know the format: {{}} becomes fp8_e4m3")
            return {"dtype": "fp8_e4m3", "symmetric": True}
        return {"dtype": found[kind], "symmetric": True}

    # ── scheme ───────────────────────────────────────────────────────────────────────────────

    def _scheme(self, role: str, operator: str, said: Said) -> dict[str, Plain]:
        group, channels = said.get("per_group"), value(said, "per_channel") is True
        dynamic = value(said, "dynamic") is True
        per_tensor: dict[str, Plain] = {"qscheme": "per_tensor"}
        if group is None and family(said)[0] == "float4_e2m1":
            message = f"{_TOOL} quantizes {{}} in groups only: 32 values have one scale"
            self.losses.setting(said.get("type"), message, LossKind.GRANULARITY)
            return {"qscheme": "per_group", "ch_axis": -1, "group_size": _FP4_GROUP}
        if group is not None and role == "weight":
            axis = 0 if operator == "ConvTranspose" else 1
            return {"qscheme": "per_group", "ch_axis": axis, "group_size": cast(int, group.value)}
        if group is not None and role != "bias" and dynamic:
            return {"qscheme": "per_group", "ch_axis": -1, "group_size": cast(int, group.value)}
        if group is not None:
            self.losses.setting(group, f"{_TOOL} groups weights, and what is dynamic: {{}} is dropped for the {role}")
        if not channels:
            return per_tensor
        if role == "weight" or (role == "bias" and not dynamic):
            axis = 1 if role == "weight" and operator == "ConvTranspose" else 0
            return {"qscheme": "per_channel", "ch_axis": axis}
        self.losses.setting(said["per_channel"], f"{{}} is dropped for the {role}, which gets one scale")
        return per_tensor

    # ── rounding and range ───────────────────────────────────────────────────────────────────

    def _round(self, said: Said, per_tensor: bool) -> str:
        wanted = value(said, "round")
        if wanted in (None, "half_even"):
            return "half_even"
        word = words("torch").said("round", wanted)
        if word is None or not per_tensor:
            where = "" if per_tensor else " per channel or group"
            self.losses.setting(said["round"], f"{_TOOL} takes ties to even{where}: {{}} is dropped")
            return "half_even"
        if self.losses.config.format == "quark":
            return word
        message = f"{_TOOL} rounds so on GPUs only, where it calls it `{word}`: on a CPU {{}} becomes half_even"
        self.losses.setting(said["round"], message)
        return word

    def _observer(self, role: str, said: Said, spec: dict[str, Plain]) -> dict[str, Plain]:
        """Return the observer nearest to what is wanted, of those for the scheme and the width."""
        scheme = {"per_tensor": "PerTensor", "per_channel": "PerChannel", "per_group": "PerGroup"}[str(spec["qscheme"])]
        bits = words("torch").dtypes[str(spec["dtype"])].bits
        floating = str(spec["dtype"]).startswith("fp")
        pow2 = value(said, "scale") in ("pow2", "e8m0")
        fit = {
            name: known
            for name, known in words("torch").observers.items()
            if name.startswith(scheme)
            and (not known.bits or bits in known.bits)
            and not (floating and known.scale == "pow2")
            and not known.near
            and not (spec["is_dynamic"] and known.calib != "minmax")
        }
        if value(said, "scale") == "e8m0":
            self.losses.setting(said["scale"], f"{_TOOL} keeps such scales for groups only: {{}} is dropped")
            pow2 = False
        if pow2 and not any(known.scale == "pow2" for known in fit.values()):
            self.losses.setting(said["scale"], f"{_TOOL} has powers of two for 8 and 32 bits only: {{}} is dropped")
            pow2 = False
        fit = {name: known for name, known in fit.items() if known.scale == ("pow2" if pow2 else "float")}
        name = self._estimator(role, said, {known.calib: name for name, known in reversed(fit.items())})
        observer = fit[name]
        if role in ("input", "output") and not spec["is_dynamic"]:
            self._reduce(said, observer.reduce)
        if observer.calib == "percentile" and value(said, "percentile") not in (None, observer.percentile):
            message = f"{_TOOL} keeps {observer.percentile} percent, always: {{}} is dropped"
            self.losses.setting(said["percentile"], message)
        scale = "pof2" if pow2 else "float"
        return {"observer_cls": name, "scale_type": scale}

    def _estimator(self, role: str, said: Said, observers: dict[str, str]) -> str:
        wanted = value(said, "calib")
        if wanted is None:
            self.losses.default(
                f"{role}.calib", f"nobody says where the range of the {role} comes from: {_TOOL} gets minmax"
            )
            return observers["minmax"]
        if wanted in observers:
            return observers[str(wanted)]
        # All of them look for the least error; Quark has one that looks for the least squared error.
        near = "mse" if wanted in ("sqnr", "diffs", "entropy") and "mse" in observers else "minmax"
        self._calib(said, near, observers[near])
        return observers[near]

    def _calib(self, said: Said, near: str, name: str = "PerBlockMXObserver") -> None:
        if value(said, "calib") not in (None, near):
            self.losses.setting(said["calib"], f"{_TOOL} has no such range here: {{}} becomes {near} ({name})")

    def _reduce(self, said: Said, reduce: str) -> None:
        if value(said, "reduce") not in (None, reduce):
            does = {"max": "takes the widest range", "modal": "takes the most frequent scale"}
            how = does.get(reduce, "joins the histograms")
            self.losses.setting(said["reduce"], f"{_TOOL} {how} of all batches: {{}} is dropped")


def calibrated(said: Said) -> bool:
    """Say whether the range of a tensor comes from data."""
    cast = family(said)[0] in ("float", "bfloat") and family(said)[1] != 8
    return quantized(said) and not cast and value(said, "dynamic") is not True
