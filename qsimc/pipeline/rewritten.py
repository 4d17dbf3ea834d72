"""What is said of the rewrites that a model went through: one finding for each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from qsimc.backend import Change
from qsimc.diagnostics import Diagnostic, Label, Severity, Vendor
from qsimc.ir.config import Config
from qsimc.spec import keymap

_SAID = {
    "relu6-to-relu": "ReLU6 became ReLU",
    "silu-to-hswish": "SiLU became Hardswish",
    "equalize": "weights were equalized across layers",
    "leaky-relu": "leaky ReLUs got the DPU's slope",
    "round-averages": "average pools got the DPU's factor",
    "hard-activations": "hard sigmoid and Hardswish got the DPU's arithmetic",
}
"""Rewrites that change what the model computes, or how its weights look; the others are not worth a word."""

_VENDOR = {
    "relu6-to-relu": ("QUANTIZER_TORCH_REPLACE_RELU6", "ReLU6 has been replaced by ReLU."),
    "leaky-relu": ("QUANTIZER_TORCH_LEAKYRELU", "Force to change negative_slope of LeakyReLU"),
}

_OPTIONS = {
    "relu6-to-relu": "convert_relu6_to_relu",
    "silu-to-hswish": "convert_silu_to_hswish",
    "equalize": "include_cle",
}

_CHANGES_RESULTS = ("leaky-relu", "relu6-to-relu", "silu-to-hswish")


def rewritten_findings(
    changes: Sequence[Change], config: Config, asked_for: Sequence[str] = ()
) -> Iterator[Diagnostic]:
    """Yield Q0546 once for each rewrite that changed something; `asked_for` names those of the command line."""
    by_rewrite: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_rewrite[change.rewrite].append(change)
    for name, found in by_rewrite.items():
        if name not in _SAID:
            continue
        option = config.option(_OPTIONS.get(name, ""))
        asked = option is not None and option.value is True
        warns = name in _CHANGES_RESULTS and not asked and name not in asked_for
        yield Diagnostic(
            code="Q0546",
            name="model-rewritten",
            severity=Severity.WARNING if warns else Severity.INFO,
            message=f"{_SAID[name]} before quantization, in {len(found)} place{'s' if len(found) > 1 else ''}",
            labels=(Label(option.span, "asked for here"),) if option is not None and asked else (),
            notes=tuple(_notes(name, found)),
            vendor=_vendor(config, name),
        )


def _notes(name: str, found: Sequence[Change]) -> Iterator[str]:
    first = found[0]
    detail = f", {first.detail}" if first.detail else ""
    yield f"the first is `{first.node}`{detail}; this rewrite is called `{name}`"
    if name == "leaky-relu":
        yield "train with that slope, or the results differ from the float model's"


def _vendor(config: Config, name: str) -> Vendor | None:
    if name not in _VENDOR or config.dialect != "vitis":
        return None
    identity, text = _VENDOR[name]
    return Vendor(keymap.load(config.dialect).tool, identity, text)
