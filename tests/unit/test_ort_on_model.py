"""Settings of ONNX Runtime's quantizer on a model, which it quantizes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.quantization import quantize_static

from qsimc.formats.foreign._ort.marks import activations, marked
from qsimc.ir.loss import LossKind
from qsimc.pipeline.translate import translated
from tests.conformance.formats import ort as oracle
from tests.unit.ort_documents import GRAPH, MODEL, W8A8, config, kinds, read, said, write
from tests.unit.plans import SHARED

ROOT = Path(__file__).parents[2]


def quantized(document: dict[str, Any], tmp_path: Path) -> onnx.ModelProto:
    """Return the model as ONNX Runtime quantizes it with a document; it must run."""
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(MODEL, source)
    quantize_static(source, target, oracle.Reader(), **oracle.settings(document))
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, oracle.Reader().get_next())
    assert np.isfinite(result).all()
    return onnx.load(target)


def grids(model: onnx.ModelProto) -> dict[str, tuple[str, float, int]]:
    """Return type, scale and zero point of each quantized tensor, of the first channel."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            tensor = node.input[0].removesuffix("_QuantizeLinear_Output").removesuffix("_quantized")
            scale, zero = values[node.input[1]], values[node.input[2]]
            found[tensor] = (str(zero.dtype), float(scale.ravel()[0]), int(zero.ravel()[0]))
    return found


# ── on a model ───────────────────────────────────────────────────────────────────────────────


def test_types_are_those_of_the_model() -> None:
    document, losses = write(config(W8A8), GRAPH)
    assert document["op_types_to_quantize"] == sorted({node.op for node in GRAPH.nodes})
    assert kinds(losses) == ["MATERIALISED"]


@pytest.mark.parametrize(
    ("rules", "overrides"),
    [
        ("Sigmoid[output]: range=0..1", {"s": [{"rmin": 0.0, "rmax": 1.0}]}),
        ("Relu[output]: range=0..", {"r": [{"rmin": 0.0}]}),
        ("Add[output]: bits=16", {"a": [{"quant_type": "QUInt16"}]}),
        ("Add[output]: symmetric signed", {"a": [{"quant_type": "QInt8", "symmetric": True}]}),
        ("model[input]: bits=16", {"x": [{"quant_type": "QUInt16"}]}),
        ("model[output]: bits=16", {"y": [{"quant_type": "QUInt16"}]}),
        ("Gemm[weight]: per_channel", {"gemm.w": [{"axis": 0}]}),
        ("MatMul[weight]: per_channel", {"matmul.w": [{"axis": 1}]}),
        ('"conv2"[weight]: bits=4', {"conv2.w": [{"quant_type": "QInt4"}]}),
        ('~"conv?"[weight]: bits=4', {"conv2.w": [{"quant_type": "QInt4"}]}),
        ("Gemm[bias]: on bits=8 signed symmetric", {"gemm.b": [{"quant_type": "QInt8", "symmetric": True}]}),
        ("Softmax[output]: range=0..1", {}),  # by itself
    ],
)
def test_what_arguments_cannot_say_becomes_overrides(rules: str, overrides: dict[str, Any], tmp_path: Path) -> None:
    document, losses = write(config(W8A8 + rules + "\n"), GRAPH)
    assert document["extra_options"].get("TensorQuantOverrides", {}) == overrides
    named = [loss for loss in losses if loss.kind is LossKind.MATERIALISED and loss.tensors]
    assert {tensor for loss in named for tensor in loss.tensors} == set(overrides)
    assert not any(str(loss.kind.value[2]) == "warning" for loss in losses)
    found = grids(quantized(document, tmp_path))
    for tensor, (override,) in overrides.items():
        if "quant_type" in override:
            assert found[tensor][0].endswith(override["quant_type"].removeprefix("Q").removeprefix("U").lower())
        if "rmax" in override:
            assert found[tensor][1] == pytest.approx(override["rmax"] / 255)


def test_what_is_said_of_an_output_on_the_inputs_grid_is_lost() -> None:
    for rules, kind in (("bits=16", LossKind.DTYPE), ("range=0..1", LossKind.CONSTRAINT)):
        document, losses = write(config(W8A8 + f"MaxPool[output]: {rules}\n"), GRAPH)
        assert "TensorQuantOverrides" not in document["extra_options"]
        assert kind.name in kinds(losses)


def test_a_sign_alone_takes_no_override() -> None:
    document, losses = write(config(W8A8 + "Add[output]: signed asymmetric\n"), GRAPH)
    assert "TensorQuantOverrides" not in document["extra_options"]
    assert kinds(losses) == ["MATERIALISED"]


def test_channels_are_symmetric_unless_a_model_names_them(tmp_path: Path) -> None:
    channels = config(W8A8 + "*[weight]: per_channel asymmetric unsigned\n")
    assert "SYMMETRY" in kinds(write(channels)[1])
    document, losses = write(channels, GRAPH)
    assert document["extra_options"]["TensorQuantOverrides"]["gemm.w"] == [{"axis": 0, "symmetric": False}]
    assert "SYMMETRY" not in kinds(losses)
    quantized(document, tmp_path)


def test_weights_per_channel_but_one_type(tmp_path: Path) -> None:
    document, _ = write(config(W8A8 + "*[weight]: per_channel\nGemm[weight]: per_tensor\n"), GRAPH)
    assert document["per_channel"] is True
    assert document["extra_options"]["TensorQuantOverrides"] == {"gemm.w": [{"quant_type": "QInt8"}]}
    scales = {t.name: t.dims for t in quantized(document, tmp_path).graph.initializer if t.name.endswith("_scale")}
    assert (list(scales["conv.w_scale"]), list(scales["gemm.w_scale"])) == ([4], [])


def test_patterns_become_names_of_the_model() -> None:
    document, losses = write(config(W8A8 + '~"conv*": off\n'), GRAPH)
    assert document["nodes_to_exclude"] == []
    assert "Conv" not in document["op_types_to_quantize"]
    document, losses = write(config(W8A8 + '~"conv[2]": off\n'), GRAPH)
    assert document["nodes_to_exclude"] == ["conv2"]
    assert any(loss.tensors == ("conv2",) for loss in losses if loss.kind is LossKind.MATERIALISED)


def test_what_readers_quantize_all_the_same_is_said_with_its_tensors() -> None:
    placed = "*[input]: off\nmodel[input]: on\n"
    _, losses = write(config(W8A8 + placed + "Sigmoid[output]: off\n"), GRAPH)
    (loss,) = [loss for loss in losses if loss.kind is LossKind.PLACEMENT]
    assert (loss.tensors, loss.fields) == (("s",), ("enabled",))
    _, losses = write(config(W8A8 + placed + "Softmax[output]: off\n"), GRAPH)
    assert "PLACEMENT" not in kinds(losses)


def test_supergroups_hold_where_the_quantizer_removes_the_activation(tmp_path: Path) -> None:
    document, losses = write(config(W8A8 + "*[input]: off\nmodel[input]: on\nfuse Conv -> Relu\n"), GRAPH)
    assert "SUPERGROUP" not in kinds(losses)
    assert "c" not in grids(quantized(document, tmp_path))
    _, losses = write(config(W8A8 + "*[input]: off\nmodel[input]: on\nfuse Conv -> Sigmoid\n"), GRAPH)
    assert [loss.tensors for loss in losses if loss.kind is LossKind.SUPERGROUP] == [("c2",)]


rules = st.lists(
    st.sampled_from(
        [
            "Add[output]: bits=16", "Conv[weight]: per_channel", "Gemm[weight]: bits=4", "Sigmoid[output]: range=0..1",
            "Relu: off", "Conv: off", "Softmax[output]: off", '"conv2": off', '"conv2"[output]: bits=16',
            "*[bias]: on bits=32", "*[bias]: on bits=8", "Gemm[bias]: on", "*[input, output]: symmetric signed",
            "*[weight]: asymmetric unsigned", "*[input]: off", "*[output]: off", "MatMul[input]: off",
            "model[input]: bits=16", "model[output]: off", "fuse Conv -> Relu", "fuse Conv -> Sigmoid",
            "Flatten[output]: off", "*[output]: calib=percentile percentile=99.9", "*[output]: calib=entropy",
        ]
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rules, st.booleans())
def test_whatever_is_written_quantizes_a_model_that_runs(lines: list[str], on_model: bool) -> None:
    document, _ = write(config(W8A8 + "\n".join(lines) + "\n"), GRAPH if on_model else None)
    with tempfile.TemporaryDirectory() as folder:
        quantized(document, Path(folder))


@settings(max_examples=40, deadline=None)
@given(rules)
def test_the_marks_are_those_of_the_quantizer(lines: list[str]) -> None:
    document, _ = write(config(W8A8 + "\n".join(lines) + "\n"), GRAPH)
    chosen = {
        node.name
        for node in GRAPH.nodes
        if node.op in document["op_types_to_quantize"] and node.name not in document["nodes_to_exclude"]
    }
    extra = document["extra_options"]
    without = extra.get("OpTypesToExcludeOutputQuantization", [])
    mine = marked(GRAPH, chosen, without, symmetric=extra["ActivationSymmetric"])
    with tempfile.TemporaryDirectory() as folder:
        theirs = grids(quantized(document, Path(folder)))
    assert mine == {tensor for tensor in activations(GRAPH) if tensor in theirs}


# ── files of vendors ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["aimet-default", "htp-v73", "enpu-v7", "vitis-dpu", "vitis-gpu", "tflite-int8"])
@pytest.mark.parametrize("on_model", [False, True])
def test_built_in_configurations_are_accepted(name: str, on_model: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(MODEL, path)
    built_in = ROOT / "specs" / "targets" / f"{name}.qsim"
    text = translated(str(built_in), "ort", model=str(path) if on_model else None).text
    quantized(json.loads(text), tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the vendors' files are not here")
def test_every_known_file_is_read() -> None:
    paths = list((SHARED / "configs" / "others" / "ort_tensor_quant_overrides").glob("*.json"))
    for path in paths:
        found, findings = read(json.loads(path.read_text()))
        assert {f.code for f in findings} == {"Q0748"}
        assert said(read(write(found)[0])[0])
    assert paths
