"""AIMET as a server: one question per line on stdin, one answer per line on stdout.

Runs where aimet-onnx is installed, and imports nothing of qsimc.  A question is a JSON object with `model` (an ONNX
file in base64), `config` (the text of a quantsim config), `param` and `act` (precisions).  An answer has `plan`
(tensor -> row, see COLUMNS) or, when AIMET raised an exception, `error` (its class), `message` and `where` (the
function that raised it).
"""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

COLUMNS = (
    "is_param",
    "enabled",
    "bits",
    "dtype",
    "symmetric",
    "strict",
    "unsigned",
    "axis",
    "range",
    "group",
)
"""Of a row: `axis` is None per tensor, `range` the fixed range or None, `group` equal for one shared quantizer."""


def main() -> None:
    # AIMET and onnxruntime print on stdout; answers go to a copy of it that they do not know.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    from aimet_onnx.common.utils import AimetLogger

    AimetLogger.set_level_for_all_areas(50)
    with TemporaryDirectory(prefix="aimet-") as folder:
        for line in sys.stdin:
            json.dump(_answer(json.loads(line), Path(folder) / "config.json"), answers)
            answers.write("\n")
            answers.flush()


def _answer(question: Mapping[str, str], config: Path) -> dict[str, Any]:
    model = onnx.load_model_from_string(base64.b64decode(question["model"]))
    config.write_text(question["config"], encoding="utf-8")
    try:
        return {"plan": _plan(model, config, question["param"], question["act"])}
    except Exception as error:  # whatever AIMET raises is its answer
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return {"error": type(error).__name__, "message": str(error), "where": frame.name}


def _plan(model: onnx.ModelProto, config: Path, param: str, act: str) -> dict[str, list[Any]]:
    """Return every quantizer of the simulation that AIMET builds, disabled ones included."""
    from aimet_onnx import QuantizationSimModel

    sim = QuantizationSimModel(model, param_type=param, activation_type=act, config_file=str(config))
    params = set(sim.param_names)
    groups: dict[int, int] = {}
    rows: dict[str, list[Any]] = {}
    for tensor, quantizer in sim.qc_quantize_op_dict.items():
        fixed = quantizer._encoding_min_max_fixed_vals
        rows[tensor] = [
            tensor in params,
            quantizer.enabled,
            quantizer.bitwidth,
            quantizer.data_type.name,
            quantizer.use_symmetric_encodings,
            quantizer.use_strict_symmetric,
            quantizer.use_unsigned_symmetric,
            _axis(quantizer),
            list(fixed) if fixed is not None else None,
            groups.setdefault(id(quantizer), len(groups)),
        ]
    return rows


def _axis(quantizer: Any) -> int | None:
    """Return the channel axis; None per tensor, and for a scalar, which AIMET says has the channels of its weight."""
    info, params = quantizer.quant_info, quantizer.tensor_quantizer_params
    return info.channelAxis if info.usePerChannelMode and len(params.tensor_shape) else None


if __name__ == "__main__":
    main()
