"""qsimc's encodings files through AIMET's own strict loader.

    python -m tests.conformance.aimet.loader [--aimet PYTHON]

For each small model and setting: `qsimc quantize --mode vendor`, then AIMET must accept its encodings file, in both
versions, and compute with them what it computes with encodings of its own from the same data.  The exit status is 1
when a file is refused or an output differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

import qsimc
from qsimc.pipeline.export import export
from tests.conformance.aimet.nets import NETS, batches

_SIMULATE = Path(__file__).with_name("simulate.py")

_PER_CHANNEL: dict[str, Any] = {
    "defaults": {
        "ops": {"is_output_quantized": "True"},
        "params": {"is_quantized": "True", "is_symmetric": "True"},
        "per_channel_quantization": "False",
        "hw_version": "V73",
    },
    "params": {"bias": {"is_quantized": "False"}},
    "op_type": {
        **{op: {"per_channel_quantization": "True"} for op in ("Conv", "ConvTranspose", "Gemm", "MatMul")},
        "Sigmoid": {"encoding_constraints": {"min": 0.0, "max": 1.0}},
        "Softmax": {"encoding_constraints": {"min": 0.0, "max": 1.0}},
    },
    "supergroups": [{"op_list": ["Conv", "Relu"]}, {"op_list": ["Add", "Relu"]}, {"op_list": ["Gemm", "Relu"]}],
    "model_input": {"is_input_quantized": "True"},
    "model_output": {},
}
_SYMMETRIC: dict[str, Any] = {
    **_PER_CHANNEL,
    "defaults": {
        "ops": {"is_output_quantized": "True", "is_symmetric": "True"},
        "params": {"is_quantized": "True", "is_symmetric": "True"},
        "strict_symmetric": "True",
        "unsigned_symmetric": "False",
    },
    "params": {},
    "op_type": {},
    "model_output": {"is_output_quantized": "True"},
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A config, precisions, and how ranges are found: in qsimc's words and in AIMET's."""

    name: str
    config: dict[str, Any]
    param: str = "int8"
    act: str = "int8"
    calib: str = "minmax"
    scheme: str = "min_max"


SETTINGS = (
    Setting("per-channel", _PER_CHANNEL),
    Setting("per-channel-w4a16", _PER_CHANNEL, param="int4", act="int16"),
    Setting("per-channel-sqnr", _PER_CHANNEL, calib="sqnr", scheme="tf_enhanced"),
    Setting("strict", _SYMMETRIC),
    Setting("strict-sqnr", _SYMMETRIC, calib="sqnr", scheme="tf_enhanced"),
    Setting("float", _PER_CHANNEL, param="float16", act="float16"),
)


def main() -> int:
    """Run as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aimet", default=sys.executable, metavar="PYTHON", help="the Python that has aimet-onnx")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="qsimc-") as root:
        folders = [_prepare(Path(root), net, setting) for net in NETS for setting in SETTINGS]
        ran = subprocess.run([options.aimet, str(_SIMULATE), *map(str, folders)], capture_output=True)
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
    if ran.returncode or len(answers) != len(folders):
        print(f"AIMET's process ended with status {ran.returncode} after {len(answers)} of {len(folders)} cases")
        print(ran.stderr.decode(errors="replace"))
        return 1
    wrong = 0
    for folder, answer in zip(folders, answers, strict=True):
        for version, (ours, own) in answer.items():
            # Where AIMET's loader does not take AIMET's own file, ours cannot do better than to get the same verdict.
            wrong += ours not in (0.0, own)
            print(f"{folder.name:30} {version:6} {_shown(ours)}{'' if ours == 0.0 else f' (own file: {_shown(own)})'}")
    print(f"{sum(map(len, answers))} files, {wrong} refused or with other outputs than with AIMET's own file")
    return 1 if wrong else 0


def _shown(verdict: float | str) -> str:
    return " ".join(verdict.split()) if isinstance(verdict, str) else f"{verdict:.3g}"


def _prepare(root: Path, net: str, setting: Setting) -> Path:
    """Quantize a model with qsimc and lay out what simulate.py reads."""
    folder = root / f"{net}, {setting.name}"
    folder.mkdir()
    made, output = NETS[net]()
    data = batches(made, seed=7)
    onnx.save_model(made.model(output), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(setting.config), encoding="utf-8")
    case = {"param": setting.param, "act": setting.act, "scheme": setting.scheme}
    (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")
    arrays: dict[str, Any] = {f"b{i}": batch for i, batch in enumerate(data)}
    np.savez(folder / "data.npz", test=batches(made, seed=8, count=1)[0], **arrays)
    result = qsimc.quantize(
        folder / "config.json",
        model=folder / "model.onnx",
        data=[{"x": batch} for batch in data],
        out=folder / "out",
        param=setting.param,
        act=setting.act,
        calib=setting.calib,
        mode="vendor",
    )
    (result.out / "model.aimet.json").rename(folder / "1.0.0.encodings")
    export(result.out, "aimet-0.6.1", out=folder / "older")
    (folder / "older" / "model.0.6.1.encodings").rename(folder / "0.6.1.encodings")
    return folder


if __name__ == "__main__":
    sys.exit(main())
