"""Which rewrites of the float model a configuration of Vitis AI asks for, or gets without asking."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.ir.config import Config
from qsimc.planning.plan import Mode
from qsimc.planning.vitis.device import FIX_POSITIONS, Device

ALWAYS = ("own-copies", "split-pads", "fold-norms", "simplify-norms")

_DEFAULTS = {"include_cle": True, "include_bias_corr": True}


def rewrites(config: Config, mode: Mode) -> tuple[str, ...]:
    """Return the names of the rewrites that vai_q_pytorch would run.

    In vendor mode every target gets the DPU's arithmetic, and cross-layer equalization takes the bound off every
    ReLU6; in fixed mode only what the document promises.
    """
    return tuple(dict.fromkeys((*ALWAYS, *_asked(config, mode))))


def is_on(config: Config, option: str) -> bool:
    """Return whether a switch is on, which it may be by default."""
    said = config.option(option)
    return _DEFAULTS.get(option, False) if said is None or said.value is None else bool(said.value)


def _asked(config: Config, mode: Mode) -> Iterator[str]:
    target = Device.of(config, mode).target
    everywhere = mode is Mode.VENDOR
    equalized = is_on(config, "include_cle")
    if is_on(config, "convert_silu_to_hswish"):
        yield "silu-to-hswish"
    if is_on(config, "convert_relu6_to_relu") or (everywhere and equalized):
        yield "relu6-to-relu"
    if equalized:
        yield "equalize"
    if everywhere or target in FIX_POSITIONS:
        yield "leaky-relu"
        yield "round-averages"
    if target == "vitis-dpu" or (everywhere and target != "vitis-flexml"):
        yield "hard-activations"
