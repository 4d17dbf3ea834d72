"""Encodings and fake-quantized values equal AIMET 2.42's, which were recorded by running it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observers import encode
from qsimc.calibrate.ranges import fixed_range
from qsimc.ir.quant import Calib, QuantSpec

DATA = Path(__file__).parent.parent / "data"
ORACLE = Path(__file__).parents[3] / "shared/oracle/aimet/encodings/public"

Case = dict[str, Any]


@cache
def recorded() -> dict[str, list[Case]]:
    document: dict[str, list[Case]] = json.loads((DATA / "aimet_encodings.json").read_text(encoding="utf-8"))
    return document


@cache
def inputs(path: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(path) as archive:
        return dict(archive)


def spec_of(case: Case) -> QuantSpec:
    scheme, _, percentile = case["scheme"].partition("_9")
    return QuantSpec(
        bits=case["bits"],
        symmetric=case["mode"] != "asymmetric",
        narrow_range=case["mode"] == "strict_symmetric",
        unsigned_symmetric=case["mode"] == "unsigned_symmetric",
        calib={"min_max": Calib.MINMAX, "tf_enhanced": Calib.SQNR, "percentile": Calib.PERCENTILE}[scheme],
        percentile=float("9" + percentile) if percentile else None,
    )


def ulps(ours: NDArray[np.float64], theirs: list[float]) -> float:
    """Return the largest difference, in units of the last place of float32."""
    expected = np.array(theirs)
    return float(np.max(np.abs(ours - expected) / np.spacing(np.abs(expected).astype(np.float32))))


def shares_a_grid_with_zeros(case: Case) -> bool:
    """Return whether AIMET gave an all-zero channel one integer more (-128) than the other channels of a narrow range.

    One encoding has one grid, so such a channel, which holds nothing but zeros, ends at -127 here.
    """
    return case["mode"] == "strict_symmetric" and len(set(case["offset"])) > 1


def disagreements(case: Case, batches: list[NDArray[np.float32]]) -> list[str]:
    """Return what differs between our encoding and AIMET's, scale and range to 1 ulp, all else exactly."""
    encoding = encode(batches, spec_of(case), axis=case["axis"], numerics=case["numerics"])
    counted_from = encoding.qmin if case["numerics"] == "aimet" else 0
    wrong = []
    if ulps(encoding.scale, case["scale"]) > 1:
        wrong.append("scale")
    if not shares_a_grid_with_zeros(case):
        if max(ulps(encoding.min, case["min"]), ulps(encoding.max, case["max"])) > 1:
            wrong.append("range")
        if not np.array_equal(counted_from - encoding.zero_point, case["offset"]):
            wrong.append("offset")
    values = encoding.fake_quantize(batches[-1]).ravel()[:16]
    if not np.array_equal(values.astype(np.float64), np.array(case["qdq"]), equal_nan=True):
        wrong.append("values")
    return wrong


@pytest.mark.parametrize("numerics", ["aimet", "aimet-torch"])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric", "strict_symmetric", "unsigned_symmetric"])
@pytest.mark.parametrize("scheme", ["min_max", "tf_enhanced", "percentile_99.9", "percentile_99.99"])
def test_encodings_are_those_of_aimet(numerics: Numerics, mode: str, scheme: str) -> None:
    arrays = inputs(DATA / "aimet_encodings.npz")
    keys = {"numerics": numerics, "mode": mode, "scheme": scheme}
    cases = [case for case in recorded()["encodings"] if keys.items() <= case.items()]
    wrong = {case["id"]: disagreements(case, [arrays[name] for name in case["data"]]) for case in cases}
    assert cases
    assert not {name: what for name, what in wrong.items() if what}


@pytest.mark.parametrize("case", recorded()["rounding"], ids=lambda c: f"{c['scale']}:{c['offset']}")
@pytest.mark.parametrize(("numerics", "column"), [("aimet", "pymo"), ("aimet-torch", "torch_nograd")])
def test_ties_and_edges_round_as_in_aimet(case: Case, numerics: Numerics, column: str) -> None:
    top = 2 ** case["bitwidth"] - 1
    scale, zero_point = np.array([case["scale"]]), np.array([-case["offset"]])
    encoding = Encoding(scale, zero_point, 0, top, case["bitwidth"], symmetric=False, numerics=numerics)
    values = np.array(case["x"], np.float32)
    expected = np.array(case[column], np.float32)
    np.testing.assert_array_equal(encoding.fake_quantize(values), expected)
    np.testing.assert_array_equal(encoding.dequantize(encoding.quantize(values)), expected)


@pytest.mark.parametrize(("numerics", "column"), [("aimet", "aimet_onnx"), ("aimet-torch", "aimet_torch_v2")])
def test_fixed_ranges_are_those_of_aimet(numerics: Numerics, column: str) -> None:
    for case in recorded()["fixed"]:
        expected = case[column]
        if expected is None:  # AIMET refuses
            continue
        spec = QuantSpec(
            bits=case["bitwidth"],
            symmetric=case["symmetric"],
            narrow_range=case["strict"],
            range=(case["fixed_min"], case["fixed_max"]),
        )
        encoding = fixed_range(spec, numerics)
        assert ulps(encoding.scale, [expected["scale"]]) <= 1, case
        assert ulps(encoding.min, [expected["min"]]) <= 1, case
        assert ulps(encoding.max, [expected["max"]]) <= 1, case


def test_nan_takes_the_lowest_value_in_both_engines() -> None:
    for numerics in ("aimet", "aimet-torch"):
        encoding = Encoding(np.array([0.1]), np.array([100]), 0, 255, 8, symmetric=False, numerics=numerics)
        assert encoding.fake_quantize(np.array([np.nan]))[0] == np.float32(-10.0)


@pytest.mark.skipif(not ORACLE.is_dir(), reason="the full recording is not part of the repository")
def test_every_recorded_encoding_is_that_of_aimet() -> None:
    arrays = inputs(ORACLE / "inputs.npz")
    wrong = {}
    for line in (ORACLE / "encodings.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        result = row["result"]
        case = row | result | {"bits": row["bitwidth"], "axis": row["channel_axis"]}
        case["numerics"] = {"pymo": "aimet", "torch": "aimet-torch"}[row["engine"]]
        case["qdq"] = result["qdq"] if row["engine"] == "pymo" else result["qdq_nograd"]
        if differing := disagreements(case, [arrays[name] for name in row["data"]]):
            wrong[row["id"], row["channel_axis"]] = differing
    assert not wrong
