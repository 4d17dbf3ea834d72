"""Weight scales that accumulators demand: rules 1 and 2 of AIMET's `compute_encodings`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import qsimc
from qsimc.calibrate.accumulator import BIAS_STEPS, SMALLEST_REQUANTIZATION, linears, raise_weight_scales
from qsimc.calibrate.encoding import Encoding
from tests.unit.plans import graph_of

CONV = graph_of(
    "g (float[1, 1, 4, 4] x) => (float[1, 2, 4, 4] y) <float[2, 1, 1, 1] w = {1.0, 1.0}, float[2] b = {1.0, 1.0}>"
    " { c = Conv(x, w, b) y = Relu(c) }"
)

positive = st.floats(1e-9, 1e3)


def grid(*scale: float) -> Encoding:
    return Encoding(
        scale=np.array(scale),
        zero_point=np.zeros(len(scale), np.int64),
        qmin=-128,
        qmax=127,
        bits=8,
        symmetric=True,
        axis=0 if len(scale) > 1 else None,
    )


def bias(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_a_bias_that_fits_changes_nothing() -> None:
    encodings = {"x": grid(0.1), "w": grid(0.1, 0.1)}
    found, raised = raise_weight_scales(CONV, encodings, lambda _: bias(1, 1))
    assert (found, raised) == (encodings, ())


def test_a_scale_is_raised_until_its_bias_fits_int32() -> None:
    found, (raised,) = raise_weight_scales(CONV, {"x": grid(1e-6), "w": grid(1e-6, 1.0)}, lambda _: bias(1000, 1))
    assert found["w"].scale.tolist() == [1000 / (BIAS_STEPS * 1e-6), 1.0]
    assert (raised.weight, raised.channels, raised.of) == ("w", 1, 2)
    assert "`b` would overflow int32" in raised.why


def test_one_scale_for_all_channels_fits_the_largest_bias() -> None:
    found, _ = raise_weight_scales(CONV, {"x": grid(1e-6), "w": grid(1e-6)}, lambda _: bias(1, 1000))
    assert found["w"].scale.tolist() == [1000 / (BIAS_STEPS * 1e-6)]


def test_a_scale_is_raised_until_requantization_does_not_underflow() -> None:
    found, (raised,) = raise_weight_scales(
        CONV, {"x": grid(1e-3), "w": grid(1e-6, 1.0), "y": grid(1000.0)}, lambda _: bias(0, 0)
    )
    assert found["w"].scale.tolist() == [SMALLEST_REQUANTIZATION * 1000.0 / 1e-3, 1.0]
    assert "grid of `y` would underflow" in raised.why


def test_a_bias_with_an_encoding_of_its_own_demands_nothing() -> None:
    encodings = {"x": grid(1e-6), "w": grid(1e-6, 1e-6), "b": grid(1.0)}
    assert raise_weight_scales(CONV, encodings, lambda _: bias(1000, 1000))[1] == ()


def test_a_weight_beside_a_float_input_is_left_alone() -> None:
    assert raise_weight_scales(CONV, {"w": grid(1e-9, 1e-9)}, lambda _: bias(1000, 1000))[1] == ()


def test_the_bias_of_a_matmul_is_what_is_added_to_it() -> None:
    graph = graph_of(
        "g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1.0, 1.0, 1.0, 1.0}, float[2] b = {1.0, 1.0}>"
        " { m = MatMul(x, w) y = Add(b, m) }"
    )
    (linear,) = linears(graph)
    assert (linear.weight, linear.bias, linear.output) == ("w", "b", "y")


@given(positive, st.tuples(positive, positive), st.tuples(positive, positive))
def test_scales_only_grow_and_every_bias_fits(
    step: float, weights: tuple[float, float], biases: tuple[float, float]
) -> None:
    values = np.array(biases)
    found, _ = raise_weight_scales(CONV, {"x": grid(step), "w": grid(*weights)}, lambda _: values)
    assert (found["w"].scale >= weights).all()
    assert (values / (found["w"].scale * step) <= BIAS_STEPS * (1 + 1e-9)).all()


@given(positive, st.tuples(positive, positive))
def test_raising_twice_is_raising_once(step: float, weights: tuple[float, float]) -> None:
    once, _ = raise_weight_scales(CONV, {"x": grid(step), "w": grid(*weights)}, lambda _: bias(1e6, 1e6))
    assert raise_weight_scales(CONV, once, lambda _: bias(1e6, 1e6))[1] == ()


def test_calibration_raises_scales_and_says_so(tmp_path: Path) -> None:
    text = (
        '<ir_version: 9, opset_import: ["" : 17]> g (float[1, 1, 1, 1] x) => (float[1, 1, 1, 1] y)'
        " <float[1, 1, 1, 1] w = {0.00001}, float[1] b = {100000.0}> { y = Conv(x, w, b) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    (tmp_path / "cfg.qsim").write_text(
        "dialect aimet\n*[output]: on\n*[param]: on symmetric\n*[bias]: off\nmodel[input]: on\n"
    )
    batches = [{"x": np.full((1, 1, 1, 1), 1e-3, np.float32)}]
    result = qsimc.quantize(
        tmp_path / "cfg.qsim", model=tmp_path / "m.onnx", data=batches, out=tmp_path / "out", act="int16", param="int16"
    )
    (finding,) = (f for f in result.findings if f.code == "Q0613")
    assert finding.message.startswith("the scale of `w` was raised, up to ")
    stored = json.loads((tmp_path / "out" / "encodings.json").read_text())["encodings"]
    assert stored["w"]["scale"][0] == pytest.approx(1e5 / (BIAS_STEPS * stored["x"]["scale"][0]))
