"""Whole models: a generated module computes what onnxruntime computes, its simulation what the ONNX simulation does.

`tests/conformance/modules` does the same with large models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx.helper import make_node

from qsimc.backend import load_backend
from qsimc.calibrate.encoding import Encoding
from tests.backends.onnx_models import INT8, encoding, model_of, opened, plan_of, value
from tests.conformance.modules.compare import compare, steps_apart
from tests.conformance.modules.models import RECORDINGS, distinct, shipped, subject
from tests.conformance.modules.row import Row

SHIPPED = shipped()


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_module_agrees_with_its_model(path: Path) -> None:
    found = subject(path)
    row = compare(found.model, found.batches)
    assert row.failures == ()
    assert row.values > 0


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the whole set of AIMET's models is not here")
def test_every_recorded_model_agrees_with_its_module() -> None:
    wrong = {}
    for path in distinct([*SHIPPED, *sorted(RECORDINGS.rglob("*.onnx"))])[len(SHIPPED) :]:
        found = subject(path)
        if failures := compare(found.model, found.batches).failures:
            wrong[str(path)] = failures
    assert not wrong


def test_an_output_that_nobody_reads_has_its_quantizer_all_the_same(tmp_path: Path) -> None:
    """Its values are in the range of those that share its quantizer, and are not taken for theirs."""
    split = make_node("Split", ["x"], ["left", "right"], axis=0)
    nodes = [split, make_node("Neg", ["right"], ["y"])]
    model = opened(model_of(nodes, [value("x", [4])], [value("y", [2])], opset=11), tmp_path)
    plan = plan_of(model, dict.fromkeys(("left", "right"), INT8), {"right": "left"})
    path = load_backend("torch").build(model, plan, tmp_path)[0]
    x = np.arange(4, dtype=np.float32)
    (found,) = load_backend("torch").run(path, [{"x": x}], ["left", "right", "y"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "left": [0, 1],
        "right": [2, 3],
        "y": [-2, -3],
    }


@pytest.mark.parametrize(
    ("made", "expected", "quantizer", "apart"),
    [
        ([0.5, 1.0], [0.5, 1.0], encoding(0.5), [0, 0]),
        ([0.5, 1.0], [0.5, 0.0], encoding(0.5), [0, 2]),
        ([[0.5], [1.0]], [[0.0], [0.0]], encoding([0.5, 0.25], axis=0), [[1], [4]]),
        ([[0.5, 1.0]], [[0.0, 0.0]], encoding([0.5, 0.25], axis=1), [[1, 4]]),
    ],
)
def test_a_difference_is_counted_in_steps_of_its_channel(
    made: Sequence[object], expected: Sequence[object], quantizer: Encoding, apart: Sequence[object]
) -> None:
    assert steps_apart(np.array(made), np.array(expected), quantizer).tolist() == apart


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row(model="m", operator_error=9e-6, float_error=9e-6, values=1000, apart=1, worst=1), ()),
        (Row(model="m", operator_error=2e-5, operator="t"), ("`t` is off by 2.0e-05",)),
        (Row(model="m", float_error=3e-5, module_error=3e-5, runtime_error=2e-5), ()),
        (
            Row(model="m", float_error=3e-5, module_error=5e-5, runtime_error=2e-5),
            ("float outputs are off by 3.0e-05",),
        ),
        (
            Row(model="m", float_error=3e-5, module_error=2e-5, runtime_error=1e-7),
            ("float outputs are off by 3.0e-05",),
        ),
        (Row(model="m", values=1000, apart=2, worst=1), ("2 of 1000 quantized values are off",)),
        (Row(model="m", values=1000, apart=1, worst=2), ("by up to 2 steps",)),
    ],
)
def test_what_float32_does_not_explain_fails(row: Row, said: Sequence[str]) -> None:
    assert len(row.failures) == len(said)
    assert all(part in failure for part, failure in zip(said, row.failures, strict=True))
