"""AIMET's encodings files from a plan and encodings: equal to the files that AIMET wrote of the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qsimc_onnx.model import OnnxModel, open_model

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic
from qsimc.encodings.aimet import aimet_document
from qsimc.pipeline.calibrate import calibrate
from qsimc.pipeline.plan import choices, session
from qsimc.planning.plan import Plan
from qsimc.planning.resolve import resolve
from tests.unit.plans import SHARED, config_of, plan_of

DATA = Path(__file__).parents[1] / "data" / "aimet_encodings_files"
MODELS = ("attention", "concat_branches", "o_gemm_variants", "resnet_tiny")
ORACLE = SHARED / "oracle" / "aimet" / "export" / "public"
EVERYTHING = "dialect aimet\n*: full_range\n*[output]: on\n*[param]: on symmetric per_channel\nmodel[input]: on\n"


def close(mine: Any, theirs: Any) -> bool:
    """Say whether two JSON values are equal, numbers to one part in a million and an absent zero point being 0."""
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(close, mine, theirs))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        ours, other = ({k: v for k, v in d.items() if k != "y_zero_point" or np.any(v)} for d in (mine, theirs))
        return ours.keys() == other.keys() and all(close(ours[k], other[k]) for k in ours)
    if isinstance(mine, float) or isinstance(theirs, float):
        return bool(np.isclose(mine, theirs, rtol=1e-6, atol=0))
    return bool(mine == theirs)


def by_name(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a file, sections apart, in no order."""
    found: dict[str, Any] = {}
    for key in ("activation_encodings", "param_encodings", "encodings"):
        section = document.get(key, [])
        rows = section.items() if isinstance(section, dict) else ((entry["name"], entry) for entry in section)
        found |= {f"{key}/{name}": entry for name, entry in rows}
    return found


def same(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the names of the entries that differ."""
    ours, other = by_name(mine), by_name(theirs)
    return sorted(name for name in ours.keys() | other.keys() if not close(ours.get(name), other.get(name)))


def recorded(model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{model}.json").read_text())
    return found


def opened(model: str) -> OnnxModel:
    findings: list[Diagnostic] = []
    found = open_model(str(DATA / f"{model}.onnx"), findings.append)
    assert found is not None, findings
    return found


def encodings_of(record: Mapping[str, Any]) -> dict[str, Encoding]:
    """Return the encodings that a record's 1.0.0 file holds, with the axes of its 2.0.0 file."""
    axes = {entry["name"]: entry.get("axis") for entry in record["2.0.0"]["encodings"]}
    found: dict[str, Encoding] = {}
    for section in ("activation_encodings", "param_encodings"):
        for entry in record["1.0.0"][section]:
            low = -(2 ** (entry["bw"] - 1)) if entry["is_sym"] else 0
            found[entry["name"]] = Encoding(
                scale=np.array(entry["scale"]),
                zero_point=low - np.array(entry["offset"]).astype(np.int64),
                qmin=low,
                qmax=low + 2 ** entry["bw"] - 1,
                bits=entry["bw"],
                symmetric=entry["is_sym"],
                axis=axes[entry["name"]],
            )
    return found


def everything(model: OnnxModel) -> Plan:
    plan = resolve(config_of(EVERYTHING), model.graph, lambda _: None)
    assert plan is not None
    return plan


VERSIONS: dict[str, Callable[[OnnxModel], dict[str, Any]]] = {
    "0.6.1": lambda _: {"version": "0.6.1"},
    "1.0.0": lambda _: {"version": "1.0.0"},
    "2.0.0": lambda model: {"version": "2.0.0", "constant": model.constant},
    "2.0.0 signed, no biases": lambda _: {"version": "2.0.0", "signed_activations": True},
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_written_file_is_the_one_that_aimet_wrote(model: str, version: str) -> None:
    record, float_model = recorded(model), opened(model)
    options = VERSIONS[version](float_model)
    mine = aimet_document(everything(float_model), encodings_of(record), **options)
    assert mine["version"] == record[version]["version"]
    assert same(mine, record[version]) == []


def test_2_1_0_is_2_0_0_but_for_its_name() -> None:
    record, model = recorded("attention"), opened("attention")
    mine = aimet_document(everything(model), encodings_of(record), "2.1.0", constant=model.constant)
    assert mine["version"] == "2.1.0"
    assert same(mine, record["2.0.0"]) == []


def test_another_version_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"2\.1\.0"):
        aimet_document(everything(opened("o_gemm_variants")), {}, "3.0.0")


# ── what follows from what ───────────────────────────────────────────────────────────────────


def names_of(graph: str, encodings: Mapping[str, Encoding], **options: Any) -> dict[str, Any]:
    plan = plan_of(EVERYTHING, graph)
    return {e["name"]: e for e in aimet_document(plan, encodings, "2.0.0", **options)["encodings"]}


def grid(scale: float, zero_point: int = 0) -> Encoding:
    return Encoding(
        scale=np.array([scale]), zero_point=np.array([zero_point]), qmin=0, qmax=255, bits=8, symmetric=False
    )


CLIPS = "g (float[2] x) => (float[2] y) { a = Exp(x) b = Clip(a) y = Exp(b) }"
MOVES = "g (float[2, 3] x) => (float[3, 2] y) { a = Relu(x) b = Transpose<perm=[1, 0]>(a) y = Relu(b) }"


def test_a_moved_tensor_takes_the_encoding_of_its_source() -> None:
    found = names_of(MOVES, {"a": grid(0.5, 3)})
    assert found == {
        "a": {"name": "a", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 3},
        "b": {"name": "b", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 3},
    }


def test_the_source_of_a_moved_tensor_takes_its_encoding() -> None:
    assert set(names_of(CLIPS, {"b": grid(0.5)})) == {"a", "b"}


def test_a_source_that_something_else_reads_keeps_its_own_grid() -> None:
    graph = "g (float[2] x) => (float[2] y, float[2] z) { a = Exp(x) b = Clip(a) y = Exp(b) z = Exp(a) }"
    assert set(names_of(graph, {"b": grid(0.5)})) == {"b"}


def test_values_chosen_from_two_grids_lie_on_neither() -> None:
    graph = "g (float[2] x, float[2] w) => (float[2] y) { a = Relu(x) b = Relu(w) c = Max(a, b) y = Exp(c) }"
    assert "c" not in names_of(graph, {"a": grid(0.5), "b": grid(0.25)})
    assert "c" in names_of(graph, {"a": grid(0.5), "b": grid(0.5)})


CONV = (
    "g (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) <float[1, 1, 1, 1] w = {2.0}, float[1] b = {3.0}>"
    " { y = Conv(x, w, b) }"
)


def test_a_bias_counts_in_steps_of_its_accumulator() -> None:
    found = names_of(CONV, {"x": grid(0.5), "w": grid(0.25)}, constant=lambda _: np.array([3.0]))
    assert found["b"] == {"name": "b", "output_dtype": "int32", "y_scale": 0.125}


def test_without_an_input_scale_a_bias_fills_int32() -> None:
    found = names_of(CONV, {"w": grid(0.25)}, constant=lambda _: np.array([3.0]))
    assert found["b"]["y_scale"] == 3.0 / 2**31


def test_a_bias_beside_a_float_weight_stays_float() -> None:
    assert "b" not in names_of(CONV, {"x": grid(0.5)}, constant=lambda _: np.array([3.0]))


# ── AIMET's numbers end to end, where its files are at hand ──────────────────────────────────


def _cases() -> list[Path]:
    """Return a folder per case; the recording's own where it holds none, which is skipped or fails."""
    return sorted(path.parent for path in ORACLE.glob("*/*/info.json")) or [ORACLE]


@pytest.mark.skipif(not ORACLE.is_dir(), reason="AIMET's exports are not here")
@pytest.mark.parametrize("folder", _cases(), ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_vendor_mode_writes_the_files_of_aimet(folder: Path) -> None:
    info = json.loads((folder / "info.json").read_text())
    configs = (SHARED / "configs" / "aimet" / "wheel-2.42", SHARED / "oracle" / "aimet" / "resolve" / "configs_hand")
    config = next(path for place in configs if (path := place / info["config"]).exists())
    calib = {"min_max": "minmax", "tf_enhanced": "sqnr"}[info["scheme"]]
    chosen = choices(f"int{info['act_bw']}", f"int{info['param_bw']}", calib, "vendor")
    stored = np.load(folder.parent / "calib.npz")
    numbers = sorted({int(key[5:].split("__")[0]) for key in stored if key.startswith("calib")})
    batches = [
        {k.split("__", 1)[1]: stored[k] for k in stored if k.startswith(f"calib{number}__")} for number in numbers
    ]
    with session(config, folder.parent / "model.onnx", chosen) as made:
        found = calibrate(made.backend, made.model, made.plan, batches, lambda _: None)
        files: dict[str, dict[str, Any]] = {
            "onnx_0.6.1": {"version": "0.6.1"},
            "onnx_1.0.0": {"version": "1.0.0"},
            "onnx_2.0.0": {"version": "2.0.0", "constant": made.model.constant},
            "onnx_2.0.0_nobias_signed": {"version": "2.0.0", "signed_activations": True},
        }
        for name, options in files.items():
            theirs = json.loads((folder / f"{name}.encodings").read_text())
            mine = aimet_document(made.plan, found.encodings, **options)
            assert same(mine, theirs) == []
            assert mine.get("quantizer_args") == theirs.get("quantizer_args")
