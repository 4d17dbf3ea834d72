"""What an entry of a LiteRT recipe says of each tensor: a whole configuration, so nothing is left unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.entries import Entry
from qsimc.formats.foreign._shared import Findings
from qsimc.ir.config import Clause, Setting, Value
from qsimc.ir.loss import LossKind

_ACT, _WEIGHT = "op_config/activation_tensor_config", "op_config/weight_tensor_config"
_ESTIMATORS = {"MSE": "mse", "OCTAV": "mse"}


def clauses(entry: Entry, findings: Findings, *, bare: bool) -> Iterator[Clause]:
    """Yield what an entry says of each tensor; of an operation without weights (`bare`) only activations."""
    mode = entry.mode
    if mode.activation is not None:
        yield activation(entry, ("input", "output"))
    elif mode.dynamic:
        at = "op_config/compute_precision"
        words: Mapping[str, Value] = {"enabled": True, "dynamic": True, "type": "int", "bits": 8}
        yield _clause(entry, ("input",), {field: (value, at) for field, value in words.items()})
        yield _clause(entry, ("output",), {"enabled": (False, at)})
    else:
        yield _clause(entry, ("input", "output"), {"enabled": (False, "op_config")})
    if bare:
        return
    yield _weight(entry, findings)
    bias: dict[str, tuple[Value, str]] = {"enabled": (mode.activation is not None, _WEIGHT)}
    if mode.activation is not None:
        # Deduced from input and weight.
        bias |= {"type": ("int", _ACT), "bits": (32, _ACT), "signed": (True, _ACT), "symmetric": (True, _ACT)}
        if mode.activation.bits > 8:
            message = "LiteRT's biases have 64 bits with such activations, which rules call 32"
            _lost(findings, LossKind.BIAS, message, entry, f"{_ACT}/num_bits", "bits")
    yield _clause(entry, ("bias",), bias)


def _weight(entry: Entry, findings: Findings) -> Clause:
    weight = entry.mode.weight
    assert weight is not None, "every algorithm's entry has a weight configuration"
    kind, bits = (weight.kind != "FLOAT", f"{_WEIGHT}/dtype"), (weight.bits, f"{_WEIGHT}/num_bits")
    said: dict[str, tuple[Value, str]] = {"enabled": (True, _WEIGHT)}
    if not kind[0]:
        return _clause(entry, ("weight",), {**said, "type": ("float", kind[1]), "bits": bits})
    said |= {"type": ("int", kind[1]), "bits": bits, "signed": (weight.kind == "INT", kind[1])}
    said |= _symmetry(weight, _WEIGHT)
    at = f"{_WEIGHT}/granularity"
    if weight.blocks:
        said["per_group"] = (int(weight.granularity.rpartition("_")[2]), at)
    else:
        said["per_channel"] = (weight.granularity == "CHANNELWISE", at)
    estimator = _ESTIMATORS.get(entry.mode.algorithm, "minmax")
    said["calib"] = (estimator, "algorithm_key")
    if entry.mode.algorithm not in (litert.MINMAX, "MSE"):
        message = f"no estimator is LiteRT's {entry.mode.algorithm}, which is said as `calib={estimator}`"
        _lost(findings, LossKind.ESTIMATOR, message, entry, "algorithm_key", "calib")
    return _clause(entry, ("weight",), said)


def activation(entry: Entry, roles: tuple[str, ...]) -> Clause:
    """Return what an entry says of activations."""
    tensor = entry.mode.activation
    if tensor is None:
        return _clause(entry, roles, {"enabled": (False, "op_config")})
    said: dict[str, tuple[Value, str]] = {
        "enabled": (True, _ACT),
        "dynamic": (False, _ACT),
        "type": ("int", f"{_ACT}/dtype"),
        "bits": (tensor.bits, f"{_ACT}/num_bits"),
        "signed": (tensor.kind == "INT", f"{_ACT}/dtype"),
        **_symmetry(tensor, _ACT),
        "per_channel": (False, f"{_ACT}/granularity"),
        "calib": ("minmax", "algorithm_key"),
    }
    return _clause(entry, roles, said)


def _symmetry(tensor: litert.Tensor, path: str) -> dict[str, tuple[Value, str]]:
    """Return the symmetry, and what goes with it: symmetric grids of 8 bits and more leave out the lowest integer."""
    at = f"{path}/symmetric"
    return {"symmetric": (tensor.symmetric, at), "narrow_range": (tensor.symmetric and tensor.bits >= 8, at)}


def _clause(entry: Entry, roles: tuple[str, ...], said: Mapping[str, tuple[Value, str]]) -> Clause:
    settings: list[Setting] = []
    for field, (value, path) in said.items():
        place = entry.place(path)
        settings.append(Setting(field, value, place.span, place.pointer))
    return Clause(roles, tuple(settings), entry.place("").span)


def _lost(findings: Findings, what: LossKind, message: str, entry: Entry, path: str, *fields: str) -> None:
    place = entry.place(path)
    findings.lost(what, message, place.span, place.pointer, *fields)
