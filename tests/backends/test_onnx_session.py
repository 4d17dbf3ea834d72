"""Plain runs with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.helper import make_node
from qsimc_onnx import BACKEND
from qsimc_onnx.order import execution_order
from qsimc_onnx.session import run

from qsimc.diagnostics import InputError
from tests.backends.onnx_models import data, model_of, opened, small_net, value


def test_unknown_operators_are_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    proto = model_of([make_node("Nobody", ["x"], ["y"])], [value("x", [2])], [value("y", [2])])
    with pytest.raises(InputError, match="Q0508"):
        list(BACKEND.run(Path(opened(proto, tmp_path).path), [{"x": data((2,))}]))
    assert capfd.readouterr() == ("", "")


def test_any_inner_tensor_can_be_read(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    batch = {"x": data((2, 3, 4, 4))}
    (found,) = run(model.path, [batch], ["relu", "y", "conv"], optimise=False)
    assert list(found) == ["relu", "y", "conv"]
    np.testing.assert_array_equal(found["relu"], np.maximum(found["conv"], 0))
    (default,) = run(Path(model.path).read_bytes(), [batch], optimise=True)
    np.testing.assert_allclose(default["y"], found["y"], rtol=1e-4, atol=1e-5)


def test_of_two_branches_onnxruntime_runs_the_later_one_first(tmp_path: Path) -> None:
    nodes = [
        make_node("Relu", ["x"], ["first"]),
        make_node("Neg", ["first"], ["early"]),
        make_node("Abs", ["first"], ["late"]),
        make_node("Concat", ["early", "late"], ["y"], axis=0),
    ]
    model = opened(model_of(nodes, [value("x", ["n", 2])], [value("y", ["m", 2])]), tmp_path)
    order = execution_order(model.graph)
    assert sorted(order, key=order.__getitem__) == ["first", "late", "early", "y"]
