"""Encodings, fake-quantized values and shifts equal vai_q_pytorch 3.5's, which were recorded by running it.

Not imitated are its kernels' integer defects, so what they spoilt is left out of the comparison:
values whose step is 2^31 or more (C's cast of them is undefined; recorded as INT_MIN), and channels
whose zero point is no int8 (the kernel wraps it).  A third, that the kernel for per-channel transposed
convolutions reads the wrong elements, is repaired in the data: those outputs were derived.
"""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observers import encode, observer_for
from qsimc.calibrate.ranges import fixed_range
from qsimc.calibrate.vitis_kernels import SCALE_OF_NOTHING, rounded
from qsimc.calibrate.vitis_shift import Form, Layer, Role, legalised
from qsimc.ir.quant import Calib, QuantSpec, Round, ScaleKind

DATA = Path(__file__).parent.parent / "data"
ORACLE = Path(__file__).parents[3] / "shared/oracle/vitis"
recording_only = pytest.mark.skipif(not ORACLE.is_dir(), reason="the full recording is not part of the repository")

Case = dict[str, Any]
Arrays = dict[str, NDArray[np.float32]]

ROUNDINGS = {mode.value: mode for mode in Round} | {"std_round": Round.STD}


@cache
def recorded() -> dict[str, list[Case]]:
    document: dict[str, list[Case]] = json.loads((DATA / "vitis_numerics.json").read_text(encoding="utf-8"))
    return document


@cache
def arrays_of(path: Path) -> Arrays:
    with np.load(path) as archive:
        return dict(archive)


def lines(name: str) -> list[Case]:
    return [json.loads(line) for line in (ORACLE / name).read_text(encoding="utf-8").splitlines()]


def spec_of(case: Case) -> QuantSpec:
    """Return what is run, which on the DPU is not what the config says: method and rounding go by the tensor."""
    params = case["params"]
    said = params | case.get("effective", {})
    calib, rounding = said["method"], said.get("round_method", params.get("round_mode", "half_even"))
    if case["target_device"] == "DPU":
        calib = "maxmin" if case["op"] == "input" else "diffs"
        rounding = "std_round" if case["tensor_kind"] in ("weights", "bias") else "half_up"
    return QuantSpec(
        bits=said["bit_width"],
        symmetric=said.get("symmetric_mode", "symmetric") == "symmetric" and said.get("symmetry", True),
        signed=said.get("signed", True),
        narrow_range=said.get("narrow_range", False),
        scale=ScaleKind.POW2 if said.get("scale_type") == "poweroftwo" else ScaleKind.FLOAT,
        calib=Calib.MINMAX if calib == "maxmin" else Calib(calib),
        percentile=said.get("percentage"),
        round=ROUNDINGS[rounding],
        reduce=said.get("calib_statistic_method"),
    )


def numerics_of(case: Case) -> Numerics:
    return "vitis-dpu" if case["target_device"] == "DPU" else "vitis-cpu"


def axis_of(case: Case) -> int | None:
    per_channel = case["params"].get("per_channel") or case.get("effective", {}).get("granularity") == "per_channel"
    return (1 if case["op"] == "conv_transpose2d" else 0) if per_channel else None


def encoded(case: Case, arrays: Arrays) -> Encoding:
    batches = [arrays[name] for name in case["inputs"]]
    return encode(batches, spec_of(case), axis=axis_of(case), numerics=numerics_of(case))


def spoilt(values: NDArray[np.float32], encoding: Encoding) -> NDArray[np.bool_]:
    """Return where the original's kernels wrap or overflow."""
    shape = [1] * values.ndim
    if encoding.axis is not None:
        shape[encoding.axis] = -1
    overflown = np.abs(values / encoding.scale.reshape(shape)) >= 2.0**31 - 2.0**7  # which is 2^31 in float32
    wrapped = (encoding.axis is not None) & (np.abs(encoding.zero_point + 0.5) > 128)
    return np.asarray(overflown | wrapped.reshape(shape))


def disagreements(case: Case, arrays: Arrays) -> list[str]:
    """Return what differs: a scale by more than 1e-12 of it, anything else at all."""
    encoding = encoded(case, arrays)
    result = case["result"]
    wrong = []
    if "fix_pos" in result:
        if encoding.fix_position.tolist() != [result["fix_pos"]]:
            wrong.append("fix position")
    else:
        # A scale of 0, that of zeros, is recorded as such; the kernels replace it when they use it.
        expected = np.atleast_1d(np.array(result["scale"], np.float64))
        expected = np.where(expected == 0, SCALE_OF_NOTHING, expected)
        if encoding.scale.shape != expected.shape or not np.allclose(encoding.scale, expected, rtol=1e-12, atol=0):
            wrong.append("scale")
        if encoding.zero_point.tolist() != np.atleast_1d(result["zero_point"]).tolist():
            wrong.append("zero point")
    if "output" in case:
        name = case["output_intended"] if "output_intended" in case else case["output"]
        values = arrays[case["inputs"][-1]]
        differ = encoding.fake_quantize(values) != arrays[name]
        if np.any(differ & ~spoilt(values, encoding) if name == case["output"] else differ):
            wrong.append("values")
    return wrong


def crashes_for_no_reason(case: Case) -> bool:
    """Return whether the original crashes on a tensor whose scale its own rules define."""
    return str(case["exception"]).startswith(("IndexError", "AttributeError"))


RAN = [case for case in recorded()["calibration"] if case["status"] == "ok"]
CRASHED = [case for case in recorded()["calibration"] if case["status"] == "exception"]


@pytest.mark.parametrize("case", RAN, ids=lambda case: case["id"])
def test_encodings_and_values_are_those_of_vai_q_pytorch(case: Case) -> None:
    assert not disagreements(case, arrays_of(DATA / "vitis_numerics.npz"))


@pytest.mark.parametrize("case", CRASHED, ids=lambda case: case["id"])
def test_where_the_original_crashes_there_is_a_reason_or_an_encoding(case: Case) -> None:
    arrays = arrays_of(DATA / "vitis_numerics.npz")
    if crashes_for_no_reason(case):
        assert np.all(encoded(case, arrays).scale > 0)
    else:
        with pytest.raises(ValueError, match=r"differ|negative|half_even"):
            encoded(case, arrays)


def rounding_disagreements(case: Case) -> list[str]:
    """Return which of the recorded results of one value differ."""
    mode, values = ROUNDINGS[case["mode"]], np.array([float(case["x"])], case["dtype"])
    scale = np.array([1 / case.get("amp", 1.0)])
    plain = Encoding(scale, np.zeros(1, np.int64), -128, 127, 8, True, numerics="vitis-cpu", rounding=mode)
    shifted = Encoding(scale, np.array([3]), 0, 255, 8, False, numerics="vitis-cpu", rounding=mode)
    ours = {
        "rounded": rounded(values, mode)[0],
        "int8_sat": plain.fake_quantize(values)[0],
        "uint8_zp3_dequant": shifted.fake_quantize(values)[0],
    }
    return [name for name, value in ours.items() if name in case and value != np.float32(case[name])]


def test_ties_and_edges_round_as_in_vai_q_pytorch() -> None:
    cases = recorded()["rounding"]
    assert {case["mode"] for case in cases} == {"half_even", "half_up", "half_down", "std_round"}
    assert not [case for case in cases if rounding_disagreements(case)]


@pytest.mark.parametrize("mode", Round)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_next_to_a_tie_are_no_ties(mode: Round, dtype: type[np.floating[Any]]) -> None:
    ties = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 8388607.5 if dtype == np.float32 else 2.0**51 + 0.5], dtype)
    np.testing.assert_array_equal(rounded(np.nextafter(ties, dtype(-np.inf)), mode), np.floor(ties))
    np.testing.assert_array_equal(rounded(np.nextafter(ties, dtype(np.inf)), mode), np.ceil(ties))


CHAIN = ("input", "a", "b", "c", "fc")


def positions_of(entry: Case) -> dict[str, int]:
    """Return the fix positions of the chain input, a, b, c, fc and its parameters."""
    outputs = zip(CHAIN, entry["output"].values(), strict=True)
    named = [(name.removeprefix("ShiftBias::"), value) for name, value in entry["param"].items()]
    return {name: value[0][1] for name, value in [*named, *outputs]}


def shift_disagreements(case: Case) -> list[str]:
    layers = [
        Layer(Form.PRODUCT, (source,), output, f"{output}.weight", f"{output}.bias")
        for source, output in pairwise(CHAIN)
    ]
    found, changes = legalised(layers, positions_of(case["before"]))
    wrong = [] if found == positions_of(case["after"]) else ["positions"]
    text = r"(\w+) \S+ value is too small, so adjust the fix position from (\S+) to (\S+)"
    said = [match.groups() for message in case["messages"] if (match := re.fullmatch(text, message["text"]))]
    if said != [(c.role.value, str(c.before), str(c.after)) for c in changes]:
        wrong.append("changes")
    return wrong


@pytest.mark.parametrize("case", recorded()["shift"], ids=lambda case: case["id"])
def test_shifts_are_legalised_as_in_vai_q_pytorch(case: Case) -> None:
    assert not shift_disagreements(case)


def test_an_output_finer_than_its_products_is_moved_and_later_layers_see_it() -> None:
    layers = [
        Layer(Form.PRODUCT, ("x",), "y", "w"),
        Layer(Form.MOVE, ("y",), "z"),
    ]
    found, changes = legalised(layers, {"x": 3, "w": 2, "y": 7, "z": 7})
    assert found == {"x": 3, "w": 2, "y": 5, "z": 5}
    assert [(c.tensor, c.role, c.before, c.after) for c in changes] == [
        ("y", Role.OUTPUT, 7, 5),
        ("z", Role.OUTPUT, 7, 5),
    ]


def test_a_weight_is_moved_once_for_its_sum_and_once_for_its_bias() -> None:
    layer = Layer(Form.PRODUCT, ("x",), "y", "w", "b")
    found, changes = legalised([layer], {"x": 10, "w": 10, "y": 0, "b": -3})
    assert found["w"] == 3
    assert [(c.before, c.after) for c in changes] == [(10, 6), (6, 3)]


def test_hard_activations_keep_their_known_ranges() -> None:
    layers = [Layer(Form.HARD_SIGMOID, ("x",), "y"), Layer(Form.HARD_SWISH, ("y",), "z")]
    found, _ = legalised(layers, {"x": -1, "y": 4, "z": 20})
    assert found == {"x": 0, "y": 7, "z": 14}


def test_inputs_follow_an_output_only_where_that_is_asked_for() -> None:
    layers = [Layer(Form.POOL, ("x",), "y"), Layer(Form.CONCAT, ("y", "v"), "z")]
    positions = {"x": 1, "y": 2, "v": 3, "z": 4}
    assert legalised(layers, positions) == (positions, ())
    assert legalised(layers, positions, inputs_follow=[Form.CONCAT])[0] == {"x": 1, "y": 4, "v": 4, "z": 4}
    assert set(legalised(layers, positions, inputs_follow=[Form.CONCAT, Form.POOL])[0].values()) == {4}


def test_a_product_without_a_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="`y` has no weight"):
        Layer(Form.PRODUCT, ("x",), "y")


BATCHES = [np.array([[top, -0.1]], np.float32) for top in (1.0, 1.0, 4.0, 4.0)]


def test_the_dpu_takes_the_coarsest_of_equally_frequent_scales_and_the_cpu_the_finest() -> None:
    spec = QuantSpec(calib=Calib.MINMAX, round=Round.HALF_UP)
    assert encode(BATCHES, spec, numerics="vitis-dpu").fix_position.tolist() == [4]
    assert encode(BATCHES, spec, numerics="vitis-cpu").fix_position.tolist() == [6]


@pytest.mark.parametrize(("reduce", "expected"), [("max", 4.0), ("mean", 2.5), ("median", 2.5), ("modal", 1.0)])
def test_scales_of_batches_are_reduced_as_the_spec_says(reduce: str, expected: float) -> None:
    spec = QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.MINMAX, reduce=reduce)
    assert encode(BATCHES, spec, numerics="vitis-cpu").max[0] == pytest.approx(expected)


def test_words_serve_as_well_as_enums() -> None:
    words: dict[str, Any] = {"calib": "diffs", "round": "half_up", "scale": "pow2", "reduce": "modal"}
    enums = QuantSpec(calib=Calib.DIFFS, round=Round.HALF_UP, scale=ScaleKind.POW2, reduce="modal")
    one, other = (encode(BATCHES, spec, numerics="vitis-cpu") for spec in (QuantSpec(**words), enums))
    assert one.scale[0] == other.scale[0]
    assert one.rounding is other.rounding


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (QuantSpec(calib=Calib.SQNR), "`sqnr` is not available under `vitis-cpu` numerics; choose from minmax, diffs"),
        (QuantSpec(calib=Calib.MSE), "`mse` is not for a `pow2` scale"),
        (QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.DIFFS), "`diffs` is not for a `float` scale"),
        (QuantSpec(symmetric=False), "signed and symmetric"),
        (QuantSpec(signed=False), "signed and symmetric"),
        (QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.ENTROPY, symmetric=False), "symmetric tensors only"),
        (QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.MSE), "`half_even` only"),
        (QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.PERCENTILE, percentile=0.0), "more than 0"),
        (QuantSpec(reduce="mode"), "no reduction is called `mode`"),
        (QuantSpec(bits=1), "bits must be"),
    ],
)
def test_what_the_original_cannot_is_refused_before_there_is_data(spec: QuantSpec, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode([np.ones((1, 4))], spec, numerics="vitis-cpu")


def test_histograms_are_of_whole_tensors() -> None:
    spec = QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.PERCENTILE)
    with pytest.raises(ValueError, match="per channel are calibrated by `minmax` only"):
        observer_for(spec, "vitis-cpu", channels=2)


def test_the_dpu_reads_neither_sign_nor_symmetry_nor_narrow_range_nor_statistic() -> None:
    plain = QuantSpec(calib=Calib.DIFFS)
    said = QuantSpec(calib=Calib.DIFFS, signed=False, symmetric=False, narrow_range=True, reduce="mean")
    one, other = (encode(BATCHES, spec, numerics="vitis-dpu") for spec in (plain, said))
    assert (one.scale[0], one.qmin, one.qmax) == (other.scale[0], other.qmin, other.qmax)


def test_a_stated_range_goes_through_the_min_max_rule() -> None:
    spec = QuantSpec(bits=8, symmetric=True, range=(-2.0, 1.0), scale=ScaleKind.FLOAT)
    assert fixed_range(spec, "vitis-cpu").scale[0] == 2.0 / 127
    assert fixed_range(spec, "vitis-dpu").fix_position.tolist() == [6]


def test_a_scale_that_is_no_power_of_two_has_no_fix_position() -> None:
    encoding = Encoding(np.array([0.5, 0.3]), np.zeros(2, np.int64), -128, 127, 8, True, axis=0, numerics="vitis-cpu")
    with pytest.raises(ValueError, match="power of two"):
        _ = encoding.fix_position


@recording_only
def test_every_recorded_encoding_is_that_of_vai_q_pytorch() -> None:
    arrays = arrays_of(ORACLE / "calib.npz")
    cases = [case for case in lines("calib.jsonl") if case["status"] == "ok"]
    wrong = {case["id"]: disagreements(case, arrays) for case in cases}
    assert not {name: what for name, what in wrong.items() if what}


@recording_only
def test_every_recorded_rounding_is_that_of_vai_q_pytorch() -> None:
    cases = [case for case in lines("rounding.jsonl") if case["mode"] in ROUNDINGS and not case["c_int_overflow_ub"]]
    assert not [case for case in cases if rounding_disagreements(case)]


@recording_only
def test_every_recorded_shift_is_that_of_vai_q_pytorch() -> None:
    assert not [case["id"] for case in lines("shift.jsonl") if shift_disagreements(case)]
