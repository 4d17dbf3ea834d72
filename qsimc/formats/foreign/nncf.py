"""NNCF's JSON files of version 2, which no later version reads: the algorithm `quantization`.

NNCF quantizes what operators read: `activations` are inputs of operators, and outputs of the model where asked for.
Where a file is silent the first choice of the hardware holds: 8 bits, weights per channel and in a narrow range.
Source: schema and quantization builder of nncf 2.17.0.
"""

from __future__ import annotations

from qsimc.diagnostics import Report, did_you_mean
from qsimc.formats.foreign._nncf.algorithm import Algorithm
from qsimc.formats.foreign._nncf.text import parse as parse
from qsimc.formats.foreign._nncf.values import Values, objects
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Config, Option, Rule
from qsimc.ir.loss import LossKind
from qsimc.source import Source
from qsimc.syntax.json import Array, Json, Object, Scalar

TITLE = "NNCF configuration, version 2"
SUFFIX = ".json"

_TOP = (
    "compression", "target_device", "input_info", "accuracy_aware_training", "compression_lr_multiplier",
    "disable_shape_matching", "log_dir",
)  # fmt: skip
_DEVICES = ("ANY", "CPU", "GPU", "NPU", "TRIAL", "CPU_SPR")
_OTHERS = ("magnitude_sparsity", "rb_sparsity", "const_sparsity", "filter_pruning", "knowledge_distillation")
_OF_SCRIPTS = ("compression_level", "log_freq", "device", "input_size", "target", "comment")


def recognises(document: Json) -> bool:
    """Say whether a document asks for one of NNCF's algorithms."""
    compression = members(document).get("compression") if isinstance(document, Object) else None
    return compression is not None and any("algorithm" in members(one) for one in objects(compression.value))


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what the quantization of a file says; keys of training scripts beside it are none of our business."""
    findings = Findings("NNCF", report)
    rules: list[Rule] = []
    options: list[Option] = []
    if isinstance(document, Object):
        _file(document, findings, rules, options)
    else:
        findings.wrong(document, "the whole file", "an object", "")
    return Config(source=source, dialect="onnx", format="nncf", options=tuple(options), rules=tuple(rules))


def _file(document: Object, findings: Findings, rules: list[Rule], options: list[Option]) -> None:
    top = members(document)
    for member in top.values():
        near = did_you_mean(member.key, _TOP)
        if near is not None and member.key not in (*_TOP, *_OF_SCRIPTS):
            findings.unknown(member, _TOP, "the top level", below("", member.key), refused=False)
    device = Values(findings).choice(top.get("target_device"), _DEVICES, "/target_device")
    if device is not None:
        options.append(Option("target_device", device, top["target_device"].value.span))
    compression = top.get("compression")
    if compression is None:
        return
    several = isinstance(compression.value, Array)
    items = compression.value.items if isinstance(compression.value, Array) else (compression.value,)
    for index, item in enumerate(items):
        pointer = below("/compression", index) if several else "/compression"
        algorithm = Algorithm(device or "ANY", findings)
        _one(item, pointer, algorithm)
        rules += algorithm.rules
        options += algorithm.options


def _one(value: Json, pointer: str, algorithm: Algorithm) -> None:
    """Read one algorithm if it is quantization."""
    if not isinstance(value, Object):
        algorithm.findings.wrong(value, "an algorithm", "an object", pointer)
        return
    named = members(value).get("algorithm")
    if named is None:
        algorithm.findings.bad("`algorithm` is missing, which names the algorithm", value.span, pointer)
        return
    at = below(pointer, "algorithm")
    if isinstance(named.value, Scalar) and named.value.value == "quantization":
        algorithm.read(members(value), named.value.span, pointer)
    elif (other := algorithm.values.choice(named, ("quantization", *_OTHERS), at)) is not None:
        algorithm.findings.lost(LossKind.OPTION, f"`{other}` is no quantization and is dropped", value.span, at)
