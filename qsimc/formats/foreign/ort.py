"""ONNX Runtime's static quantization: the arguments of `quantize_static` as a JSON object, and overrides of tensors.

The keys of the object are the arguments' own names, enumerations are written as the names of their members:

    {"activation_type": "QUInt8", "weight_type": "QInt8", "op_types_to_quantize": ["Conv", "Relu"],
     "nodes_to_quantize": [], "nodes_to_exclude": [], "per_channel": true, "reduce_range": false,
     "calibrate_method": "MinMax", "extra_options": {"ActivationSymmetric": false, "TensorQuantOverrides":
     {"y": [{"quant_type": "QUInt8", "rmin": 0.0, "rmax": 1.0}]}}}

It is used by

    settings = json.load(open("ort.json"))
    settings["activation_type"] = QuantType[settings["activation_type"]]
    settings["weight_type"] = QuantType[settings["weight_type"]]
    settings["calibrate_method"] = CalibrationMethod[settings["calibrate_method"]]
    for override in itertools.chain(*settings["extra_options"].get("TensorQuantOverrides", {}).values()):
        override |= {k: QuantType[v] for k, v in override.items() if k == "quant_type"}
        override |= {k: numpy.array(v, numpy.float32) for k, v in override.items() if k in ("rmin", "rmax", "scale")}
        override |= {k: numpy.array(v) for k, v in override.items() if k == "zero_point"}
    onnxruntime.quantization.quantize_static("model.onnx", "model.quantized.onnx", data_reader, **settings)

An object of tensors alone, each with a list of `scale` and `zero_point`, is what ONNX Runtime's command line takes as
`--tensor_quant_overrides`; it is read too.  Both speak of tensors, which rules do not: overrides are checked, all of
them, and are lost unless a model says whose tensors they are (`read_on`).  They are written on a model only.

Source: onnxruntime 1.31.1 (specs/formats/ort.toml).
"""

from __future__ import annotations

from qsimc.diagnostics import Report
from qsimc.formats.foreign._ort.overrides import look_like_overrides
from qsimc.formats.foreign._ort.read import read_document
from qsimc.formats.foreign._ort.words import TOOL
from qsimc.formats.foreign._ort.write import write_document
from qsimc.formats.foreign._shared import Findings, text
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.loss import Lose
from qsimc.source import Source
from qsimc.syntax.json import Json, Object

TITLE = "settings of ONNX Runtime's quantize_static"
SUFFIX = ".json"

_TELLING = frozenset({"op_types_to_quantize", "nodes_to_quantize", "nodes_to_exclude", "calibrate_method"})
"""Arguments that no other tool has; `extra_options` are Quark's as well."""


def recognises(document: Json) -> bool:
    """Say whether a document has an argument that no other tool has, both types, or is overrides alone."""
    if not isinstance(document, Object):
        return False
    keys = {member.key for member in document.members}
    return bool(keys & _TELLING) or keys >= {"activation_type", "weight_type"} or look_like_overrides(document)


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says; everything wrong with it, and everything lost, is reported."""
    return read_document(source, document, Findings(TOOL, report))


def read_on(source: Source, document: Json, report: Report, graph: Graph) -> Config:
    """Return what a file says of a model: overrides of its tensors become rules about its nodes."""
    return read_document(source, document, Findings(TOOL, report), graph)


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return a configuration as settings of ONNX Runtime, with overrides of tensors where there is a model."""
    return text(write_document(config, lose, graph))
