"""Python for NNCF 3, which has no configuration files: a function that calls `nncf.quantize`.

Every name out of a configuration is written as an ASCII literal, so the file holds no code but this module's own.
Source: nncf 3.4.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.formats.foreign._nncf.py_groups import Group, group
from qsimc.formats.foreign._nncf.py_scope import Ignored, Placement, facts, on
from qsimc.formats.foreign._shared import Once, lose_options, lose_restrictions
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.loss import Lose, Loss, LossKind

TITLE = "NNCF 3, a Python function"
SUFFIX = ".py"

_DEVICES = ("ANY", "CPU", "GPU", "NPU", "CPU_SPR")
_OVERFLOW = {"enable": "ENABLE", "disable": "DISABLE", "first_layer_only": "FIRST_LAYER"}
_RANGES = ("RangeEstimatorParameters", "StatisticsCollectorParameters")
_ENUMS = ("AggregatorType", "RangeEstimatorParametersSet", "StatisticsType")
_AGGREGATORS = {None: ("MIN", "MAX"), "max": ("MIN", "MAX"), "mean": ("MEAN", "MEAN"), "median": ("MEDIAN", "MEDIAN")}
_INDENT = "    "


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a Python file with a function `quantize(model, dataset)`."""
    lose = Once(lose)
    lose_options(config, lose, "NNCF", *_kept(config))
    lose_restrictions(config, lose, "NNCF")
    place = Placement(config, lose, graph)
    quantized = list(place.quantized())
    linear = [operator for operator in quantized if operator in facts().fused["linear"]]
    weights = group("weights", [place.said(op)["weight"] for op in linear if on(place.said(op)["weight"])], lose)
    acts = [place.said(op)[role] for op in quantized for role in ("input", "output") if on(place.said(op)[role])]
    activations = group("activations", acts, lose)
    ignored = place.ignored()
    place.lose_fusions()
    _lose_bias(place, linear, lose)
    _lose_halves(place, linear, quantized, lose)
    place.lose_ends()
    return "\n".join(_lines(config, weights, activations, ignored)) + "\n"


# ── what is lost in the whole ────────────────────────────────────────────────────────────────


def _lose_bias(place: Placement, linear: list[str], lose: Lose) -> None:
    for operator in linear:
        enabled = place.said(operator)["bias"].get("enabled")
        if enabled is not None and enabled.value is True:
            message = "NNCF never quantizes a bias: `on` of biases is dropped"
            lose(Loss(LossKind.BIAS, message, enabled.span, fields=("enabled",), pointer=enabled.pointer))


def _lose_halves(place: Placement, linear: list[str], quantized: list[str], lose: Lose) -> None:
    """Lose that only weights, or only activations, are quantized."""
    some_weight = any(on(place.said(operator)["weight"]) for operator in linear)
    some_activation = any(on(place.said(op)[role]) for op in quantized for role in ("input", "output"))
    for there, missing, kind in (
        (some_weight, some_activation, "activations"),
        (some_activation, some_weight, "weights"),
    ):
        if there and not missing and (linear or kind == "activations"):
            message = f"`nncf.quantize` quantizes weights and activations together: {kind} are quantized too"
            lose(Loss(LossKind.PLACEMENT, message, fields=("enabled",)))


# ── text ─────────────────────────────────────────────────────────────────────────────────────


def _lines(config: Config, weights: Group, activations: Group, ignored: Ignored) -> Iterator[str]:
    estimators = {name: _estimator(g) for name, g in (("activations", activations), ("weights", weights))}
    yield '"""Quantize a model with NNCF 3 as a configuration says.  Written by qsimc."""'
    yield ""
    yield "import nncf"
    if weights.symmetric is False:
        yield "from nncf.common.quantization.structs import QuantizationScheme"
    yield "from nncf.quantization.advanced_parameters import QuantizationParameters"
    lines = "".join(line for estimator in estimators.values() for line in estimator)
    yield from (f"from nncf.quantization.range_estimator import {name}" for name in _RANGES if f"{name}(" in lines)
    yield from (f"from nncf.quantization.range_estimator import {name}" for name in _ENUMS if f"{name}." in lines)
    yield from ("", "", "def quantize(model, dataset):")
    yield '    """Return an ONNX model quantized; `dataset` is the nncf.Dataset to calibrate with."""'
    yield "    return nncf.quantize("
    preset = "MIXED" if activations.symmetric is False else "PERFORMANCE"
    arguments = ["model,", "dataset,", f"preset=nncf.QuantizationPreset.{preset},"]
    arguments += _options(config)
    arguments += _scope(ignored)
    arguments += _advanced(config, weights, activations, estimators)
    yield from (2 * _INDENT + argument for argument in arguments)
    yield "    )"


def _kept(config: Config) -> tuple[str, ...]:
    """Return the options that NNCF 3 still has."""
    device = config.option("target_device")
    return ("overflow_fix", "num_init_samples", *(("target_device",) if device and device.value in _DEVICES else ()))


def _options(config: Config) -> Iterator[str]:
    """Yield what an NNCF configuration of version 2 says besides settings."""
    device, samples = config.option("target_device"), config.option("num_init_samples")
    if device is not None and device.value in _DEVICES:
        yield f"target_device=nncf.TargetDevice.{_DEVICES[_DEVICES.index(str(device.value))]},"
    if samples is not None and isinstance(samples.value, (int, float)) and 1 <= samples.value < 2**31:
        yield f"subset_size={int(samples.value)},"


def _scope(ignored: Ignored) -> Iterator[str]:
    lists = {"types": ignored.types, "names": ignored.names, "patterns": ignored.patterns}
    if not any(lists.values()):
        return
    yield "ignored_scope=nncf.IgnoredScope("
    for key, names in lists.items():
        if names:
            yield f"    {key}=["
            yield from (f"        {name!a}," for name in dict.fromkeys(names))
            yield "    ],"
    yield "    validate=False,"
    yield "),"


def _advanced(config: Config, weights: Group, activations: Group, estimators: dict[str, list[str]]) -> Iterator[str]:
    fix = config.option("overflow_fix")
    word = _OVERFLOW.get(str(fix.value), "DISABLE") if fix is not None else "DISABLE"
    yield "advanced_parameters=nncf.AdvancedQuantizationParameters("
    yield f"    overflow_fix=nncf.OverflowFix.{word},"
    yield "    disable_bias_correction=True,"
    for one in (activations, weights):
        yield f"    {one.name}_quantization_params=QuantizationParameters({_parameters(one)}),"
    for name, (first, *others) in ((name, lines) for name, lines in estimators.items() if lines):
        *middle, last = [f"    {name}_range_estimator_params={first}", *(f"    {line}" for line in others)]
        yield from (*middle, last + ",")
    yield "),"


def _parameters(one: Group) -> str:
    said = ["num_bits=8"]
    if one.symmetric is False and one.name == "weights":
        said.append("mode=QuantizationScheme.ASYMMETRIC")
    if one.per_channel is not None and not (one.name == "activations" and one.per_channel):
        said.append(f"per_channel={one.per_channel!r}")
    return ", ".join(said)


def _estimator(one: Group) -> list[str]:
    """Return how a group finds its ranges, line by line; nothing where it is NNCF's own way."""
    own = one.name == "weights" and one.reduce in (None, "max")
    if one.calib is None or (one.calib == "minmax" and own):
        return []
    low, high = _AGGREGATORS[one.reduce]
    if one.calib == "mse":
        return ["RangeEstimatorParametersSet.HISTOGRAM"]
    if one.calib == "minmax":
        return ["RangeEstimatorParametersSet." + ("MINMAX" if low == "MIN" else f"{low}_MINMAX")]
    outside = round((100 - (99.99 if one.percentile is None else one.percentile)) / 200, 9)
    return [
        "RangeEstimatorParameters(",
        *(
            f"    {end}=StatisticsCollectorParameters("
            f"StatisticsType.QUANTILE, AggregatorType.{how}, quantile_outlier_prob={outside!r}),"
            for end, how in (("min", low), ("max", high))
        ),
        ")",
    ]
