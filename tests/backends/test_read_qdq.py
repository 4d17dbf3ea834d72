"""Encodings out of QDQ models: our own, and one that AIMET exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info
from qsimc_onnx.read_qdq import read_qdq

import qsimc
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic
from qsimc.planning.plan import Kind

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "aimet_encodings_files"
DEMO = ROOT / "demo"


def read(path: Path) -> tuple[dict[str, tuple[Kind, Encoding]], list[Diagnostic]]:
    findings: list[Diagnostic] = []
    found = read_qdq(str(path), findings.append)
    assert found is not None, findings
    return found, findings


@pytest.mark.parametrize("act", ["int8", "int16", "int5"])
@pytest.mark.parametrize("param", ["int8", "int4"])
def test_what_qsimc_exported_is_read_back(act: str, param: str, tmp_path: Path) -> None:
    result = qsimc.quantize(
        DEMO / "config.json",
        model=DEMO / "digits.onnx",
        data=str(DEMO / "digits_calibration.npz"),
        out=tmp_path / "out",
        act=act,
        param=param,
        limit=32,
    )
    found, findings = read(tmp_path / "out" / "digits.qdq.onnx")
    assert findings == []
    assert found.keys() == result.encodings.keys()
    for tensor, mine in result.encodings.items():
        kind, theirs = found[tensor]
        assert kind is result.plan[tensor].kind
        np.testing.assert_allclose(theirs.scale, mine.scale, rtol=1e-6)
        np.testing.assert_array_equal(theirs.zero_point, mine.zero_point)
        assert (theirs.qmin, theirs.qmax, theirs.bits, theirs.axis) == (mine.qmin, mine.qmax, mine.bits, mine.axis)


def test_what_aimet_exported_is_its_encodings_file() -> None:
    found, findings = read(DATA / "concat_branches.qdq.onnx")
    assert findings == []
    record = json.loads((DATA / "concat_branches.json").read_text())["2.0.0"]["encodings"]
    assert found.keys() == {entry["name"] for entry in record}
    for entry in record:
        _, encoding = found[entry["name"]]
        kind = f"{'' if encoding.signed else 'u'}int{encoding.bits}"
        assert kind == entry["output_dtype"]
        np.testing.assert_allclose(encoding.scale, np.atleast_1d(entry["y_scale"]), rtol=1e-6)
        np.testing.assert_array_equal(
            encoding.zero_point, np.broadcast_to(entry.get("y_zero_point", 0), encoding.scale.shape)
        )
        assert encoding.axis == entry.get("axis")


def test_params_are_known_from_their_readers() -> None:
    kinds = {tensor: kind for tensor, (kind, _) in read(DATA / "concat_branches.qdq.onnx")[0].items()}
    assert kinds["c1.weight"] is kinds["c1.bias"] is Kind.PARAM
    assert kinds["in0"] is Kind.INPUT
    assert kinds["/c1/Conv_output_0"] is Kind.ACTIVATION


def pair(
    tmp_path: Path, scale: list[float], zero_point: list[int], dtype: int = TensorProto.UINT8, **attributes: Any
) -> Path:
    """Write a model with one QuantizeLinear and DequantizeLinear."""
    shape = [len(scale)] if len(scale) > 1 else []
    graph = make_graph(
        [
            make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
            make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dq", **attributes),
        ],
        "g",
        [make_tensor_value_info("x", TensorProto.FLOAT, [4, 2])],
        [make_tensor_value_info("y", TensorProto.FLOAT, [4, 2])],
        [make_tensor("s", TensorProto.FLOAT, shape, scale), make_tensor("z", dtype, shape, zero_point)],
    )
    path = tmp_path / "m.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 21)]), path)
    return path


def test_an_output_keeps_its_public_name(tmp_path: Path) -> None:
    assert list(read(pair(tmp_path, [0.5], [3]))[0]) == ["y"]


def test_a_zero_point_in_the_middle_is_symmetric(tmp_path: Path) -> None:
    assert read(pair(tmp_path, [0.5], [128]))[0]["y"][1].symmetric
    assert not read(pair(tmp_path, [0.5], [127]))[0]["y"][1].symmetric


@pytest.mark.parametrize(
    ("scale", "attributes", "why"),
    [
        ([0.0], {}, "positive"),
        ([float("nan")], {}, "positive"),
        ([0.5, 0.5], {"axis": 1, "block_size": 2}, "per block"),
    ],
)
def test_what_no_encoding_says_is_reported(
    tmp_path: Path, scale: list[float], attributes: dict[str, int], why: str
) -> None:
    found, findings = read(pair(tmp_path, scale, [0] * len(scale), **attributes))
    assert found == {}
    assert [f.code for f in findings] == ["Q0818"]
    assert why in findings[0].message


def test_a_file_that_is_no_model_is_reported(tmp_path: Path) -> None:
    findings: list[Diagnostic] = []
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    assert read_qdq(str(tmp_path / "m.onnx"), findings.append) is None
    assert [f.code for f in findings] == ["Q0502"]
