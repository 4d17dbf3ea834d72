"""Each rewrite of the float model, on small models: what it changes, and what it must leave as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto
from onnx.helper import make_node
from qsimc_onnx.passes import rewrite
from qsimc_onnx.passes.averages import dpu_factor
from qsimc_onnx.passes.equalize import channel_scales
from qsimc_onnx.passes.hard import SIXTH
from qsimc_onnx.passes.leaky import SLOPE
from qsimc_onnx.session import run

from qsimc.backend import Change
from qsimc.rewrites import REWRITES
from tests.backends.onnx_models import data, model_of, opened, value

Arrays = Mapping[str, NDArray[Any]]

ANY = [None] * 4
"""A shape of four unknown sizes."""


def conv(x: str, result: str, **attributes: Any) -> NodeProto:
    return make_node("Conv", [x, f"{result}.weight", f"{result}.bias"], [result], result, **attributes)


def net(nodes: Sequence[NodeProto], constants: Arrays, channels: int = 3, opset: int = 17) -> ModelProto:
    last = nodes[-1].output[0]
    return model_of(nodes, [value("x", [2, channels, 8, 8])], [value(last, ANY)], constants, opset)


def rewritten(proto: ModelProto, folder: Path, *names: str) -> tuple[ModelProto, Sequence[Change]]:
    """Return a model after rewrites; it must be valid."""
    model, changes = rewrite(opened(proto, folder), names)
    onnx.checker.check_model(model.proto, full_check=True)
    return model.proto, changes


def outputs(proto: ModelProto, channels: int = 3) -> NDArray[np.float32]:
    batch = {"x": data((2, channels, 8, 8), scale=2.0)}
    return next(iter(next(iter(run(proto.SerializeToString(), [batch], optimise=False))).values()))


def ops(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def test_an_unknown_rewrite_is_refused(tmp_path: Path) -> None:
    proto = net([make_node("Relu", ["x"], ["y"])], {})
    with pytest.raises(LookupError, match="no rewrite `equalise`; there are own-copies"):
        rewrite(opened(proto, tmp_path), ["equalise"])


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_without_a_place_changes_nothing(name: str, tmp_path: Path) -> None:
    model = opened(net([make_node("Relu", ["x"], ["y"], "relu")], {}), tmp_path)
    found, changes = rewrite(model, [name])
    assert (found, changes) == (model, ())


# ── norms ────────────────────────────────────────────────────────────────────────────────────


def norm(x: str, result: str, channels: int) -> tuple[NodeProto, dict[str, NDArray[np.float32]]]:
    names = [f"{result}.{part}" for part in ("weight", "bias", "mean", "var")]
    values = [data((channels,), seed) for seed in range(4)]
    values[3] = np.abs(values[3]) + np.float32(0.1)
    return make_node("BatchNormalization", [x, *names], [result], result), dict(zip(names, values, strict=True))


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_norm_is_folded_into_the_convolution_before_it(op: str, with_bias: bool, tmp_path: Path) -> None:
    bn, constants = norm("c", "y", 4)
    shape = (4, 3, 3, 3) if op == "Conv" else (3, 4, 3, 3)
    inputs = ["x", "c.weight", *(["c.bias"] if with_bias else [])]
    constants |= {"c.weight": data(shape), **({"c.bias": data((4,))} if with_bias else {})}
    proto = net([make_node(op, inputs, ["c"], "c"), bn], constants)
    found, changes = rewritten(proto, tmp_path, "fold-norms")
    assert ops(found) == [op]
    assert {t.name for t in found.graph.initializer} == {"c.weight", "c.bias"}
    assert [change.node for change in changes] == ["y"]
    assert np.allclose(outputs(found), outputs(proto), rtol=1e-4, atol=1e-4)


def test_a_norm_is_folded_through_a_concatenation(tmp_path: Path) -> None:
    bn, constants = norm("cat", "y", 6)
    constants |= {"a.weight": data((4, 3, 1, 1)), "a.bias": data((4,)), "b.weight": data((2, 3, 1, 1), 1)}
    constants |= {"b.bias": data((2,), 1)}
    proto = net([conv("x", "a"), conv("x", "b"), make_node("Concat", ["a", "b"], ["cat"], axis=1), bn], constants)
    found, _ = rewritten(proto, tmp_path, "fold-norms")
    assert ops(found) == ["Conv", "Conv", "Concat"]
    assert np.allclose(outputs(found), outputs(proto), rtol=1e-4, atol=1e-4)


def test_a_norm_after_what_others_read_stays(tmp_path: Path) -> None:
    bn, constants = norm("c", "n", 4)
    constants |= {"c.weight": data((4, 3, 1, 1)), "c.bias": data((4,))}
    proto = net([conv("x", "c"), bn, make_node("Add", ["c", "n"], ["y"])], constants)
    found, changes = rewritten(proto, tmp_path, "fold-norms")
    assert (ops(found), changes) == (ops(proto), ())


def test_a_shared_weight_is_folded_for_one_reader_only(tmp_path: Path) -> None:
    bn, constants = norm("a", "n", 4)
    constants |= {"w": data((4, 3, 1, 1)), "a.bias": data((4,)), "b.bias": data((4,), 1)}
    nodes = [
        make_node("Conv", ["x", "w", "a.bias"], ["a"], "a"),
        bn,
        make_node("Conv", ["x", "w", "b.bias"], ["b"], "b"),
        make_node("Add", ["n", "b"], ["y"]),
    ]
    proto = net(nodes, constants)
    found, _ = rewritten(proto, tmp_path, "fold-norms")
    assert ops(found) == ["Conv", "Conv", "Add"]
    assert np.allclose(outputs(found), outputs(proto), rtol=1e-4, atol=1e-4)


def test_a_norm_alone_keeps_its_factor_and_summand_only(tmp_path: Path) -> None:
    bn, constants = norm("x", "y", 3)
    proto = net([bn], constants)
    found, _ = rewritten(proto, tmp_path, "simplify-norms")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in found.graph.initializer}
    assert (stored["y.mean"] == 0).all()
    assert (stored["y.var"] == 1).all()
    assert np.allclose(outputs(found), outputs(proto), rtol=1e-5, atol=1e-5)


# ── rectifiers ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("opset", [9, 17])
def test_a_relu6_loses_its_bound(opset: int, tmp_path: Path) -> None:
    limits = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    if opset < 11:
        proto = net([make_node("Clip", ["x"], ["y"], "c", min=0.0, max=6.0)], {}, opset=opset)
    else:
        proto = net([make_node("Clip", ["x", "low", "high"], ["y"], "c")], limits, opset=opset)
    found, changes = rewritten(proto, tmp_path, "relu6-to-relu")
    assert ops(found) == ["Relu"]
    assert [change.node for change in changes] == ["c"]


def test_another_clip_stays(tmp_path: Path) -> None:
    limits = {"low": np.array(-1, np.float32), "high": np.array(6, np.float32)}
    proto = net([make_node("Clip", ["x", "low", "high"], ["y"], "c")], limits)
    assert rewritten(proto, tmp_path, "relu6-to-relu")[1] == ()


@pytest.mark.parametrize("opset", [13, 17])
def test_a_silu_becomes_hardswish(opset: int, tmp_path: Path) -> None:
    nodes = [make_node("Sigmoid", ["x"], ["s"], "s"), make_node("Mul", ["x", "s"], ["y"], "m")]
    found, changes = rewritten(net(nodes, {}, opset=opset), tmp_path, "silu-to-hswish")
    x = data((2, 3, 8, 8), scale=2.0)
    assert np.allclose(outputs(found), x * np.clip(x + 3, 0, 6) / 6, atol=1e-6)
    assert ("HardSwish" in ops(found)) == (opset >= 14)
    assert [change.node for change in changes] == ["m"]


def test_a_gate_by_another_tensor_is_no_silu(tmp_path: Path) -> None:
    nodes = [make_node("Sigmoid", ["x"], ["s"]), make_node("Relu", ["x"], ["r"]), make_node("Mul", ["r", "s"], ["y"])]
    assert rewritten(net(nodes, {}), tmp_path, "silu-to-hswish")[1] == ()


def test_a_leaky_relu_gets_the_dpus_slope(tmp_path: Path) -> None:
    proto = net([make_node("LeakyRelu", ["x"], ["y"], "l", alpha=0.3)], {})
    found, changes = rewritten(proto, tmp_path, "leaky-relu")
    x = data((2, 3, 8, 8), scale=2.0)
    assert np.allclose(outputs(found), np.where(x < 0, x * np.float32(SLOPE), x))
    assert changes == (Change("leaky-relu", "l", "from 0.3 to 0.1015625"),)
    assert rewritten(found, tmp_path, "leaky-relu")[1] == ()


# ── the DPU's constants ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("window", "factor"),
    [
        ((2, 2), 1.0),
        ((8, 8), 1.0),
        ((3, 3), 63 / 64),
        ((5, 5), 250 / 256),
        ((6, 6), 252 / 256),
        ((3, 6), 252 / 256),
        ((7, 7), 1029 / 1024),
        ((14, 14), 4116 / 4096),
    ],
)
def test_the_factors_are_the_dpus(window: tuple[int, int], factor: float) -> None:
    assert dpu_factor(window) == factor


@given(st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_a_factor_is_near_one(window: tuple[int, int]) -> None:
    assert abs(dpu_factor(window) - 1) <= 1 / 32


@pytest.mark.parametrize(
    "pool",
    [
        make_node("AveragePool", ["x"], ["y"], "p", kernel_shape=[3, 3]),
        make_node("GlobalAveragePool", ["x"], ["y"], "p"),
    ],
    ids=lambda node: node.op_type,
)
def test_an_average_gets_the_dpus_factor(pool: NodeProto, tmp_path: Path) -> None:
    proto = model_of([pool], [value("x", [2, 3, 5, 5])], [value("y", ANY)])
    found, changes = rewritten(proto, tmp_path, "round-averages")
    batch = {"x": data((2, 3, 5, 5))}
    before, after = (next(iter(run(p.SerializeToString(), [batch], optimise=False)))["y"] for p in (proto, found))
    factor = dpu_factor((3, 3) if pool.op_type == "AveragePool" else (5, 5))
    assert np.allclose(after, before * np.float32(factor), rtol=1e-6)
    assert len(changes) == 1


def test_an_average_of_an_unknown_window_stays(tmp_path: Path) -> None:
    proto = model_of(
        [make_node("GlobalAveragePool", ["x"], ["y"])],
        [value("x", [2, 3, None, None])],
        [value("y", ANY)],
    )
    assert rewritten(proto, tmp_path, "round-averages")[1] == ()


@pytest.mark.parametrize("op", ["HardSigmoid", "HardSwish"])
def test_a_hard_activation_computes_as_the_dpu_does(op: str, tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"alpha": 1 / 6, "beta": 0.5} if op == "HardSigmoid" else {}
    found, _ = rewritten(net([make_node(op, ["x"], ["y"], "h", **attributes)], {}), tmp_path, "hard-activations")
    x = data((2, 3, 8, 8), scale=2.0)
    gate = np.clip(x + np.float32(3), 0, 6) * np.float32(SIXTH)
    if op == "HardSwish":
        gate = x * (np.clip(np.floor(gate * 128 + np.float32(0.5)), -128, 127) / np.float32(128))
    assert np.array_equal(outputs(found), gate)


# ── equalization ─────────────────────────────────────────────────────────────────────────────


def test_equalization_keeps_the_results_and_evens_the_weights(tmp_path: Path) -> None:
    constants = {"a.weight": data((6, 3, 3, 3)) * np.logspace(-1, 1, 6, dtype=np.float32)[:, None, None, None]}
    constants |= {"a.bias": data((6,), 1, 0.01), "b.weight": data((4, 6, 1, 1), 2), "b.bias": data((4,), 3)}
    proto = net([conv("x", "a"), make_node("Relu", ["a"], ["r"]), conv("r", "b")], constants)
    found, changes = rewritten(proto, tmp_path, "equalize")
    assert [(change.node, change.detail) for change in changes] == [("a", "with `b`")]
    assert np.allclose(outputs(found), outputs(proto), rtol=1e-3, atol=1e-3)
    stored = {t.name: np.abs(onnx.numpy_helper.to_array(t)) for t in found.graph.initializer}
    rows, columns = stored["a.weight"].max(axis=(1, 2, 3)), stored["b.weight"].max(axis=(0, 2, 3))
    assert np.allclose(rows, columns, rtol=1e-4)


@pytest.mark.parametrize("between", [["Relu", "Sigmoid"], ["Tanh"]])
def test_equalization_ends_at_any_other_operator(between: list[str], tmp_path: Path) -> None:
    constants = {"a.weight": data((4, 3, 1, 1)), "a.bias": data((4,)), "b.weight": data((4, 4, 1, 1))}
    constants["b.bias"] = data((4,))
    nodes, last = [conv("x", "a")], "a"
    for op in between:
        nodes.append(make_node(op, [last], [f"{last}_{op}"]))
        last = f"{last}_{op}"
    assert rewritten(net([*nodes, conv(last, "b")], constants), tmp_path, "equalize")[1] == ()


def test_equalization_ends_where_a_tensor_is_read_twice(tmp_path: Path) -> None:
    constants = {"a.weight": data((4, 3, 1, 1)), "a.bias": data((4,)), "b.weight": data((4, 4, 1, 1))}
    constants["b.bias"] = data((4,))
    nodes = [conv("x", "a"), conv("a", "b"), make_node("Add", ["a", "b"], ["y"])]
    assert rewritten(net(nodes, constants), tmp_path, "equalize")[1] == ()


@given(
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 100),
    st.booleans(),
)
def test_channel_scales_are_positive_and_even_what_they_change(
    channels: int, seed: int, size: float, with_bias: bool
) -> None:
    rows, columns = data((channels, 6), seed, size), data((channels, 4), seed + 1)
    bias = data((channels,), seed + 2) if with_bias else None
    scale = channel_scales(rows, columns, bias)
    assert (scale > 0).all()
    if bias is None:
        reach, read = np.abs(rows).max(axis=1), np.abs(columns).max(axis=1)
        changed = reach + read >= 0.5
        assert np.allclose((reach / scale)[changed], (read * scale)[changed], rtol=1e-4)
        assert (scale[~changed] == 1).all()


# ── copies and pads ──────────────────────────────────────────────────────────────────────────


def test_a_copy_of_a_constant_becomes_its_own(tmp_path: Path) -> None:
    nodes = [
        make_node("Identity", ["w"], ["v"], "i"),
        make_node("Mul", ["x", "v"], ["m"]),
        make_node("Add", ["m", "w"], ["y"]),
    ]
    proto = net(nodes, {"w": data((3, 1, 1))})
    found, _ = rewritten(proto, tmp_path, "own-copies")
    assert ops(found) == ["Mul", "Add"]
    assert {t.name for t in found.graph.initializer} == {"w", "v"}
    assert np.array_equal(outputs(found), outputs(proto))


@pytest.mark.parametrize(
    ("arguments", "pads"),
    [("", [1, 1, 1, 1]), (", [1, 1], [1, 1]", None), (", [2, 2], [0, 1]", [1, 0, 1, 0])],
)
def test_a_pad_that_was_merged_into_a_convolution_stands_before_it_again(
    arguments: str, pads: list[int] | None, tmp_path: Path
) -> None:
    node = conv("x", "y", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    call = f"%conv2d : [num_users=1] = call_function[target=x](args = (%pad, %p_w, %p_b{arguments}), kwargs = {{}})"
    node.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseConvPad")
    node.metadata_props.add(key="pkg.torch.onnx.fx_node", value=call)
    proto = net([node], {"y.weight": data((4, 3, 3, 3)), "y.bias": data((4,))})
    found, changes = rewritten(proto, tmp_path, "split-pads")
    assert len(changes) == (pads is not None)
    assert ops(found) == (["Conv"] if pads is None else ["Pad", "Conv"])
    assert np.allclose(outputs(found), outputs(proto), atol=1e-5)
    if pads is not None:
        stored = onnx.numpy_helper.to_array(found.graph.initializer[-1])
        assert stored.tolist() == [0, 0, *pads[:2], 0, 0, *pads[2:]]


def test_metadata_that_is_no_call_is_passed_by(tmp_path: Path) -> None:
    node = conv("x", "y", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    node.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseConvPad")
    node.metadata_props.add(key="pkg.torch.onnx.fx_node", value="(" * 20_000)
    proto = net([node], {"y.weight": data((4, 3, 3, 3)), "y.bias": data((4,))})
    assert rewritten(proto, tmp_path, "split-pads")[1] == ()
