"""What tools that quantize layers for PyTorch never say of a tensor: losses of fields that no key of theirs holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsimc.formats.foreign._layers import Entry, subject
from qsimc.formats.foreign._shared import Once, lost, of
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import LossKind

_ANYWAY: Mapping[str, Value] = {
    "signed": True,
    "narrow_range": False,
    "unsigned_symmetric": False,
    "round": "half_even",
    "scale": "float",
}
"""What torch does anyway, where nothing says otherwise."""

_HOW = {
    "signed": "stores signed integers",
    "narrow_range": "uses the lowest integer too",
    "unsigned_symmetric": "has no unsigned grids for symmetric tensors",
    "range": "has no fixed ranges",
    "kernels": "lists no kernels",
    "round": "rounds half to even",
    "scale": "has no such scales here",
    "reduce": "has no statistic over batches",
    "percentile": "has no percentiles",
}


def lose_rest(entry: Entry, said: Mapping[str, Setting], tool: str, lose: Once, but: Sequence[str] = ()) -> None:
    """Lose the fields of a tensor that no key says, except those in `but`."""
    for field, how in _HOW.items():
        setting = said.get(field)
        if setting is None or setting.value == _ANYWAY.get(field) or field in but:
            continue
        if field == "signed" and not _symmetric(said):
            continue  # the same values, by other integers
        lose(lost(setting, f"{tool} {how}: {of(setting, subject(entry))} is dropped"))


def _symmetric(said: Mapping[str, Setting]) -> bool:
    symmetric = said.get("symmetric")
    return symmetric is None or symmetric.value is True


def lose_bias(entries: Sequence[Entry], tool: str, lose: Once) -> None:
    """Lose the quantization of biases."""
    for entry in entries:
        setting = entry.said["bias"].get("enabled")
        if setting is not None and setting.value is True:
            message = f"{tool} never quantizes a bias: {of(setting, subject(entry))} is dropped"
            lose(lost(setting, message, LossKind.BIAS))
