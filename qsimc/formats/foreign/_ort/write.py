"""Writing ONNX Runtime's settings from a configuration with its defaults spelt out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qsimc.formats.foreign._ort.common import Common, Once, common, is_on
from qsimc.formats.foreign._ort.graph import place_on
from qsimc.formats.foreign._ort.losses import lose_float, unsayable
from qsimc.formats.foreign._ort.types import Placement, place
from qsimc.formats.foreign._ort.words import TOOL, ort_words
from qsimc.formats.foreign._shared import Plain, lose_options, lose_restrictions
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose
from qsimc.ir.value import Value

_FILES = ("quant_format", "use_external_data_format", "calibration_providers", "calibration_cache_path")

_AXES = "QDQOpTypePerChannelSupportToAxis"


def write_document(config: Config, lose: Lose, graph: Graph | None) -> Plain:
    """Return the arguments of `quantize_static`, after reporting what they cannot say."""
    once = Once(lose)
    kept = (*ort_words().switches, *_FILES)
    found = levels(config)
    args = common(found, once)
    chosen = place(config, found, args, once) if graph is None else place_on(graph, config, found, args, once)
    for level in found:
        _never(level, found, args, once)
    said = tuple(option for option in config.options if option.value is not False)  # what is off is nothing elsewhere
    lose_options(replace(config, options=said), once, TOOL, *kept)
    lose_restrictions(config, once, TOOL)
    options = {option.name: option.value for option in config.options if option.name in kept}
    return _document(args, chosen, options)


def _never(level: Level, found: tuple[Level, ...], args: Common, lose: Lose) -> None:
    """Lose what is said of tensors that are quantized, and can be said nowhere."""
    for role in level.roles:
        merged = {**level.given[role], **level.said[role]}
        lose_float(merged, level.selector, lose, float8=args.float8)
        # What is said of all nodes matters where one of them is quantized.
        relevant = found if level is found[0] else (level,)
        if role != "bias" and any(is_on({**r.given[role], **r.said[role]}, float8=args.float8) for r in relevant):
            unsayable(level.own[role].values(), merged, role, level.selector, lose)


def _document(args: Common, chosen: Placement, options: dict[str, Value]) -> Plain:
    extra: dict[str, Any] = {
        "ActivationSymmetric": args.act.symmetric,
        "WeightSymmetric": args.weight.symmetric,
        "QuantizeBias": chosen.bias,
    }
    if args.percentile is not None:
        extra["CalibPercentile"] = args.percentile
    if chosen.without_output:
        extra["OpTypesToExcludeOutputQuantization"] = chosen.without_output
    for name, value in options.items():
        if name not in _FILES:
            extra[name] = {str(pair[0]): pair[1] for pair in _pairs(value)} if name == _AXES else value
    if chosen.batched_matmul and args.per_channel:
        extra[_AXES] = {"MatMul": -1} | extra.get(_AXES, {})
    if chosen.overrides:
        extra["TensorQuantOverrides"] = chosen.overrides
    files = {name: value for name, value in options.items() if name in _FILES}
    document: dict[str, Any] = {
        "activation_type": args.act.word,
        "weight_type": args.weight.word,
        "op_types_to_quantize": chosen.types,
        "nodes_to_quantize": chosen.names,
        "nodes_to_exclude": chosen.excluded,
        "per_channel": args.per_channel,
        "reduce_range": False,
        "calibrate_method": args.method,
        **files,
        "extra_options": extra,
    }
    return document


def _pairs(value: Value) -> list[tuple[Value, ...]]:
    return [pair for pair in value if isinstance(pair, tuple)] if isinstance(value, tuple) else []
