"""Running a model piece by piece, tensors for single edges, and what calibration does with both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_node
from qsimc_onnx.edges import split_edges
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.session import run
from qsimc_onnx.walk import walk

import qsimc
from qsimc.calibrate.bias_correction import BiasCorrection
from qsimc.diagnostics import InputError
from qsimc.encodings.vitis import bias_corrections
from qsimc.pipeline.evaluate import evaluate
from qsimc.pipeline.export import export as export_result
from qsimc.planning.plan import Edge
from tests.backends.onnx_models import data, model_of, opened, plan_of, small_net, value

Batch = Mapping[str, NDArray[Any]]

X = data((2, 3, 4, 4))


def nothing(_: Batch) -> Batch:
    return {}


def whole(model: OnnxModel) -> NDArray[Any]:
    return next(iter(run(model.proto.SerializeToString(), [{"x": X}], optimise=False)))["y"]


# ── walks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stops", [[], ["relu"], ["x", "conv", "relu", "add", "mul", "flat", "matmul", "gemm", "y"]])
def test_a_walk_computes_what_the_model_does(stops: list[str], tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    seen: list[str] = []

    def settle(made: Batch) -> Batch:
        seen.extend(made)
        return {}

    found = walk(model, plan_of(model, {}), stops, {}, [], {})[0].run({"x": X}, {}, settle)
    assert np.array_equal(found["y"], whole(model))
    assert sorted(seen) == sorted(stops)


def test_what_a_stop_becomes_is_what_later_nodes_read(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    steps = walk(model, plan_of(model, {}), ["relu", "add"], {}, [], {})[0]
    found = steps.run({"x": X}, {}, lambda made: {name: np.zeros_like(made[name]) for name in made})
    assert np.array_equal(found["y"], np.broadcast_to(found["y"][0], found["y"].shape))
    assert not np.array_equal(found["y"], whole(model))


def test_a_fed_constant_takes_the_place_of_the_model_s(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    steps = walk(model, plan_of(model, {}), ["relu"], {}, ["conv.weight"], {})[0]
    own = {"conv.weight": model.constant("conv.weight")}
    assert np.array_equal(steps.run({"x": X}, own, nothing)["y"], whole(model))
    other = {"conv.weight": np.zeros_like(own["conv.weight"])}
    assert not np.array_equal(steps.run({"x": X}, other, nothing)["y"], whole(model))


def test_a_fed_constant_may_come_from_a_constant_node(tmp_path: Path) -> None:
    held = onnx.numpy_helper.from_array(np.array(2.0, np.float32))
    nodes = [make_node("Constant", [], ["k"], value=held), make_node("Mul", ["x", "k"], ["y"])]
    model = opened(model_of(nodes, [value("x", [2])], [value("y", [2])]), tmp_path)
    steps = walk(model, plan_of(model, {}), [], {}, ["k"], {})[0]
    x = np.ones(2, np.float32)
    assert steps.run({"x": x}, {"k": np.array(5.0, np.float32)}, nothing)["y"].tolist() == [5.0, 5.0]


def test_a_twin_computes_with_parameters_of_its_own(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    params = {name: model.constant(name) for name in ("conv.weight", "conv.bias")}
    fed = {name: np.zeros_like(array) for name, array in params.items()}
    steps, twins = walk(model, plan_of(model, {}), [], {}, list(fed), {"conv": params})
    shown: dict[str, NDArray[Any]] = {}

    def settle(made: Batch) -> Batch:
        shown.update(made)
        return {}

    steps.run({"x": X}, fed, settle)
    assert (shown["conv"] == 0).all()
    reference = next(iter(run(model.proto.SerializeToString(), [{"x": X}], ["conv"], optimise=False)))["conv"]
    assert np.array_equal(shown[twins["conv"]], reference)


# ── edges ────────────────────────────────────────────────────────────────────────────────────


def branched(tmp_path: Path) -> OnnxModel:
    nodes = [
        make_node("Relu", ["x"], ["r"], "r"),
        make_node("Sigmoid", ["r"], ["a"], "a"),
        make_node("Tanh", ["r"], ["b"], "b"),
        make_node("Add", ["a", "b"], ["c"], "c"),
        make_node("Add", ["c", "r"], ["y"], "y"),
    ]
    return opened(model_of(nodes, [value("x", [2, 3, 4, 4])], [value("y", [2, 3, 4, 4])]), tmp_path)


def reads(model: OnnxModel) -> dict[str, list[str]]:
    return {node.output[0]: list(node.input) for node in model.proto.graph.node}


def test_an_edge_gets_a_tensor_for_one_reader(tmp_path: Path) -> None:
    model = branched(tmp_path)
    found = split_edges(model, [Edge("r", "b", ("b",))])
    onnx.checker.check_model(found.proto, full_check=True)
    assert reads(found) == {
        "r": ["x"], "a": ["r"], "r/for/b": ["r"], "b": ["r/for/b"], "c": ["a", "b"], "y": ["c", "r"],
    }  # fmt: skip
    assert np.array_equal(whole(found), whole(model))


def test_an_edge_in_place_is_read_by_all_later_readers(tmp_path: Path) -> None:
    model = branched(tmp_path)
    found = split_edges(model, [Edge("r", "b", ("b",), in_place=True), Edge("r", "y", ("y",), in_place=True)])
    onnx.checker.check_model(found.proto, full_check=True)
    assert reads(found)["a"] == ["r"]
    assert reads(found)["r/for/y"] == ["r/for/b"]
    assert reads(found)["y"] == ["c", "r/for/y"]
    assert np.array_equal(whole(found), whole(model))


def test_an_edge_to_the_caller_keeps_the_public_name(tmp_path: Path) -> None:
    model = branched(tmp_path)
    found = split_edges(model, [Edge("y", "")])
    onnx.checker.check_model(found.proto, full_check=True)
    assert reads(found)["y"] == ["y/inner"]
    assert np.array_equal(whole(found), whole(model))


# ── bias correction ──────────────────────────────────────────────────────────────────────────


def test_a_correction_takes_off_a_part_of_the_mean_error() -> None:
    reference = data((4, 3, 5, 5))
    shifted = reference + np.array([0.1, -0.1, 0.0], np.float32)[:, None, None]
    found = BiasCorrection(np.zeros(3, np.float32)).observe(shifted, reference, 1)
    assert np.allclose(found.bias, [-0.005, 0.005, 0.0], atol=1e-6)


def test_a_correction_ends_where_there_is_no_error() -> None:
    reference = data((4, 3))
    start = BiasCorrection(np.zeros(3, np.float32))
    assert start.observe(reference, reference, -1).done
    assert start.observe(reference, reference, -1).observe(reference + 1, reference, -1).bias.tolist() == [0, 0, 0]


def test_corrections_are_read_by_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "bias_corr.pth"
    written = bias_corrections(
        {"Net::nndct_conv2d_1": np.array([0.5, -0.25], np.float32), "Net::nndct_dense_2": np.ones(1)}
    )
    path.write_bytes(written)
    assert torch.load(path, weights_only=True) == {"Net::nndct_conv2d_1": [0.5, -0.25], "Net::nndct_dense_2": [1.0]}
    assert written == bias_corrections(
        {"Net::nndct_conv2d_1": np.array([0.5, -0.25]), "Net::nndct_dense_2": np.ones(1)}
    )


def four_bits(tmp_path: Path) -> tuple[Path, Path]:
    """Return a model of four-bit trouble, and its data."""
    (tmp_path / "m.onnx").write_bytes(small_net().SerializeToString())
    np.savez(tmp_path / "d.npz", x=data((8, 3, 4, 4), 5))
    return tmp_path / "m.onnx", tmp_path / "d.npz"


def test_biases_are_corrected_for_any_configuration(tmp_path: Path) -> None:
    model, batches = four_bits(tmp_path)
    quality = []
    for rewrites in ((), ("correct-biases",)):
        out = tmp_path / f"out{len(rewrites)}"
        qsimc.quantize(
            "aimet:default", model=model, data=str(batches), out=out, param="int4", rewrites=rewrites, batch_size=2
        )
        found = evaluate(out, model=str(model), data=str(batches))
        assert found.qdq_equals_simulation
        quality.append(found.outputs[0].sqnr_float_simulation)
    assert quality[1] > quality[0]


def test_a_generator_is_too_short_for_a_correction(tmp_path: Path) -> None:
    model, _ = four_bits(tmp_path)

    def once() -> Iterator[Batch]:
        yield {"x": X}

    found = qsimc.quantize(
        "aimet:default", model=model, data=once(), out=tmp_path / "out", rewrites=("correct-biases",)
    )
    assert [finding.code for finding in found.findings if finding.code == "Q0617"] == ["Q0617"]


# ── results ──────────────────────────────────────────────────────────────────────────────────

CPU = {"method": "maxmin", "scale_type": "float", "round_mode": "half_even", "calib_statistic_method": "max"}


def result(tmp_path: Path, config: dict[str, Any], mode: str = "fixed") -> Path:
    model, batches = four_bits(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    out = tmp_path / "out"
    qsimc.quantize(str(path), model=model, data=str(batches), out=out, mode=mode)
    return out


@pytest.mark.parametrize(
    "overall",
    [CPU, {**CPU, "symmetry": False}, {**CPU, "bit_width": 16}, {**CPU, "bit_width": 4}, {"datatype": "bfloat16"}],
    ids=["int8", "asymmetric", "int16", "int4", "bfloat16"],
)
def test_the_deployed_model_is_the_simulation(overall: dict[str, Any], tmp_path: Path) -> None:
    out = result(tmp_path, {"target_device": "CPU", "overall_quantize_config": overall})
    found = evaluate(out, model=str(tmp_path / "m.onnx"), data=str(tmp_path / "d.npz"))
    assert found.qdq_equals_simulation
    assert found.outputs[0].sqnr_float_simulation > 8


def test_a_result_has_the_vendor_s_files_and_the_model_that_they_are_about(tmp_path: Path) -> None:
    out = result(tmp_path, {"target_device": "DPU"})
    names = {path.name for path in out.iterdir()}
    assert names == {
        "plan.json", "encodings.json", "qsimc.lock", "report.html", "m.qdq.onnx", "m.float.onnx", "quant_info.json",
        "bias_corr.pth",
    }  # fmt: skip
    filed = json.loads((out / "quant_info.json").read_text(encoding="utf-8"))
    assert all(len(numbers) == 2 for section in ("param", "output") for n in filed[section].values() for numbers in n)
    assert filed["bias_corrected"]
    biases = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(out / "m.float.onnx").graph.initializer}
    offsets = torch.load(out / "bias_corr.pth", weights_only=True)["m::nndct_conv2d_2"]
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert np.allclose(biases["conv.bias"], before["conv.bias"] - np.array(offsets, np.float32), atol=1e-6)


def test_a_model_whose_rewritten_form_was_changed_is_refused(tmp_path: Path) -> None:
    out = result(tmp_path, {"target_device": "DPU"})
    (out / "m.float.onnx").write_bytes((tmp_path / "m.onnx").read_bytes())
    with pytest.raises(InputError) as caught:
        evaluate(out, model=str(tmp_path / "m.onnx"), data=str(tmp_path / "d.npz"))
    assert [finding.code for finding in caught.value.findings] == ["Q0802"]


def test_the_vendor_s_files_can_be_exported_again(tmp_path: Path) -> None:
    out = result(tmp_path, {"target_device": "DPU"})
    files, _ = export_result(out, "vitis", model=str(tmp_path / "m.onnx"), out=tmp_path / "again")
    assert {path.name for path in files} == {"quant_info.json", "bias_corr.pth"}
    for path in files:
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_result_of_another_vendor_has_no_such_files(tmp_path: Path) -> None:
    model, batches = four_bits(tmp_path)
    qsimc.quantize("aimet:default", model=model, data=str(batches), out=tmp_path / "out")
    with pytest.raises(InputError) as caught:
        export_result(tmp_path / "out", "vitis", model=str(model))
    assert "quant_info.json" in caught.value.findings[0].message


def test_infinity_stays_float_and_nan_stops(tmp_path: Path) -> None:
    nodes = [make_node("Log", ["x"], ["l"]), make_node("Softmax", ["l"], ["y"])]
    proto = model_of(nodes, [value("x", [2, 3], TensorProto.FLOAT)], [value("y", [2, 3])])
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    zero = {"x": np.array([[0, 1, 2], [3, 4, 5]], np.float32)}
    found = qsimc.quantize("vitis:default", model=path, data=[zero], out=tmp_path / "out")
    assert not found.plan["l"].spec.enabled
    assert "Q0614" in [finding.code for finding in found.findings]
    with pytest.raises(InputError) as caught:
        qsimc.quantize("vitis:default", model=path, data=[{"x": -zero["x"]}], out=tmp_path / "again")
    assert [finding.code for finding in caught.value.findings] == ["Q0607"]
