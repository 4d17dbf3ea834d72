"""Write how one tensor is quantized in ONNX models of Quark, and what Quark takes for a whole model."""

from __future__ import annotations

from dataclasses import dataclass

from qsimc.formats.foreign._quark.losses import Losses
from qsimc.formats.foreign._quark.words import Said, family, quantized, value, words
from qsimc.formats.foreign._shared import Plain
from qsimc.ir.loss import LossKind

TOOL = "Quark"
FIELDS = ("calib", "percentile", "scale", "reduce")
"""What Quark takes for all tensors alike."""

_WIDEST = 16  # of weights and activations; 32 bits are for biases


@dataclass(frozen=True, slots=True)
class Tensors:
    """Writes tensors, and says what each loses."""

    losses: Losses

    def write(self, role: str, said: Said, calib: str, scale: str, channels: bool) -> dict[str, Plain]:
        """Return the specification of a tensor; range, scale and granularity are those of the whole model."""
        table = words("onnx")
        if quantized(said):
            self._lose(role, said)
            dtype, symmetric = self._dtype(role, said)
        else:
            dtype, symmetric = "Int8", True  # Quark demands an entry, of which nothing comes
        cast = table.dtypes[dtype].type != "int"
        return {
            "symmetric": symmetric,
            "scale_type": table.said("scale_type", "float" if cast else scale),
            "calibration_method": table.said("calibration_method", "minmax" if cast else calib),
            "quant_granularity": table.said("quant_granularity", channels and not cast),
            "data_type": dtype,
        }

    def _lose(self, role: str, said: Said) -> None:
        self.losses.never(TOOL, said)
        if value(said, "round") not in (None, "half_even"):
            self.losses.setting(said["round"], "ONNX takes ties to even: {} is dropped")
        if value(said, "dynamic") is True:
            self.losses.setting(said["dynamic"], f"{TOOL} calibrates ONNX models: {{}} becomes static")
        self.losses.setting(said.get("per_group"), f"{TOOL} has no groups in ONNX models: {{}} is dropped")
        if role in ("input", "output") and value(said, "per_channel") is True:
            self.losses.setting(said["per_channel"], f"{{}} is dropped for the {role}, which gets one scale")

    def _dtype(self, role: str, said: Said) -> tuple[str, bool]:
        table = words("onnx").dtypes
        kind, bits = family(said)
        if kind != "int":
            found = next((name for name, d in table.items() if (d.type, d.bits) == (kind, bits)), None)
            if found is None:
                self.losses.setting(said.get("type"), f"{TOOL} has no such float in ONNX models: {{}} becomes Float16")
            return found or "Float16", True
        if bits is None:
            bits = 32 if role == "bias" else 8
            self.losses.default(f"{role}.bits", f"nobody says how wide the {role} is: {TOOL} gets {bits} bits")
        symmetric = value(said, "symmetric")
        if symmetric is None:
            symmetric = role in ("weight", "bias")
            word = "symmetric" if symmetric else "asymmetric"
            self.losses.default(f"{role}.symmetric", f"nobody says whether the {role} is symmetric: {TOOL} gets {word}")
        signed = value(said, "signed")
        wanted = signed if isinstance(signed, bool) else bool(symmetric)
        widths = [d.bits for d in table.values() if d.type == "int" and (role == "bias" or d.bits <= _WIDEST)]
        width = min((w for w in widths if w >= bits), default=max(widths))
        dtype = next(name for name, d in table.items() if (d.type, d.bits, d.signed) == ("int", width, wanted))
        if width != bits:
            message = f"{TOOL} has no such integers for the {role}: {{}} becomes {dtype}"
            self.losses.setting(said.get("bits"), message, LossKind.DTYPE)
        return dtype, bool(symmetric)

    # ── the whole model ──────────────────────────────────────────────────────────────────────

    def scale(self, said: Said) -> str:
        """Return the scale of all activations and weights."""
        if not quantized(said) or family(said)[0] != "int":
            return "float"
        if value(said, "scale") == "e8m0":
            self.losses.setting(said["scale"], f"{TOOL} has no such scales in ONNX models: {{}} is dropped")
        return "pow2" if value(said, "scale") == "pow2" else "float"

    def calib(self, role: str, said: Said, scale: str) -> str:
        """Return where the ranges of all tensors come from."""
        wanted = value(said, "calib")
        if not quantized(said) or family(said)[0] != "int":
            return "minmax"
        if wanted is None:
            self.losses.default(f"{role}.calib", f"nobody says where the range of the {role} comes from: minmax")
            return "minmax"
        known = {("output", "float"): ("minmax", "percentile", "entropy"), ("weight", "float"): ("minmax", "mse")}
        fit = known.get((role, scale), ("minmax", "mse"))
        if wanted in fit:
            return str(wanted)
        # With float scales, least squares would silently give powers of two to activations.
        near = "mse" if "mse" in fit and wanted in ("diffs", "sqnr") else fit[1] if role == "output" else "minmax"
        self.losses.setting(said["calib"], f"{TOOL} has no such range for the {role}: {{}} becomes {near}")
        return near

    def statistic(self, said: Said, calib: str, scale: str) -> dict[str, Plain]:
        """Return the options about several batches and about percentiles."""
        options: dict[str, Plain] = {}
        reduce = value(said, "reduce")
        if scale == "pow2" and calib == "mse" and reduce == "modal":
            options["MinMSEModePof2Scale"] = "MostCommon"
        elif reduce is not None and not (calib == "minmax" and reduce == "max"):
            self.losses.setting(said["reduce"], f"{TOOL} joins batches its own way with {calib}: {{}} is dropped")
        if calib == "percentile" and "percentile" in said:
            options["Percentile"] = float(str(said["percentile"].value))
        return options
