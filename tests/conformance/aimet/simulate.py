"""AIMET's simulation of a model with encodings of its own against the same simulation with encodings from files.

Runs where aimet-onnx is installed.  Its arguments are folders, each with `model.onnx`, `config.json`, `case.json`
(`param`, `act`, `scheme`), `data.npz` (one array per batch, and `test`) and files `VERSION.encodings`.  Prints, for
each folder, a JSON object: version -> the verdict on that file, and the one on the file that AIMET itself exports in
that version, for control.  A verdict is the largest difference at any output, or the error that AIMET raised.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


def main() -> None:
    # AIMET and onnxruntime print on stdout; answers go to a copy of it that they do not know.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for folder in map(Path, sys.argv[1:]):
        json.dump(_compare(folder), answers)
        answers.write("\n")
        answers.flush()


def _compare(folder: Path) -> dict[str, list[float | str]]:
    from aimet_onnx.quantsim import compute_encodings

    data = dict(np.load(folder / "data.npz"))
    test = data.pop("test")
    own = _simulation(folder)
    with compute_encodings(own):
        for name in sorted(data):
            own.session.run(None, {"x": data[name]})
    expected = own.session.run(None, {"x": test})
    (folder / "own").mkdir()
    found: dict[str, list[float | str]] = {}
    for path in sorted(folder.glob("*.encodings")):
        version = path.name.removesuffix(".encodings")
        own.export(str(folder / "own"), version, export_model=False, encoding_version=version)
        control = folder / "own" / path.name
        found[version] = [_verdict(folder, file, test, expected) for file in (path, control)]
    return found


def _verdict(folder: Path, file: Path, test: NDArray[np.float32], expected: list[NDArray[np.float32]]) -> float | str:
    """Return the largest difference at any output with encodings from a file, or why AIMET refuses it."""
    from aimet_onnx.quantsim import load_encodings_to_sim

    loaded = _simulation(folder)
    try:
        load_encodings_to_sim(loaded, str(file), strict=True)
    except Exception as error:  # whatever AIMET raises is its verdict
        return f"{type(error).__name__}: {error}"
    outputs = loaded.session.run(None, {"x": test})
    return max(float(np.abs(a - b).max()) for a, b in zip(outputs, expected, strict=True))


def _simulation(folder: Path) -> Any:
    from aimet_onnx import QuantizationSimModel

    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return QuantizationSimModel(
        onnx.load_model(folder / "model.onnx"),
        param_type=case["param"],
        activation_type=case["act"],
        quant_scheme=case["scheme"],
        config_file=str(folder / "config.json"),
    )


if __name__ == "__main__":
    main()
