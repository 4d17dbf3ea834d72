"""Constants after their quantizers: the values that the quantizers' nodes make, and where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from qsimc_onnx.build import instrument
from qsimc_onnx.model import OnnxModel, open_model
from qsimc_onnx.session import run
from qsimc_onnx.stored import with_quantized_constants
from qsimc_onnx.write import save

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.ir.quant import QuantSpec
from tests.backends.onnx_models import (
    BFLOAT16,
    FLOAT16,
    INT8,
    data,
    encoding,
    model_of,
    opened,
    plan_of,
    small_net,
    value,
)

CONSTANTS = ("conv.weight", "shared", "matmul.weight", "gemm.weight")

CHANNELS = {"conv.weight": 0, "matmul.weight": 1, "gemm.weight": 1, "shared": None}


def encodings(model: OnnxModel, numerics: Numerics = "onnx") -> dict[str, Encoding]:
    """Return an encoding of each constant, coarse enough to clip and to round."""
    found = {}
    for tensor, axis in CHANNELS.items():
        channels = 1 if axis is None else model.constant(tensor).shape[axis]
        scale = np.linspace(0.01, 0.03, channels) if numerics != "vitis-dpu" else np.full(channels, 2.0**-5)
        found[tensor] = encoding(list(scale), grid=(-100, 99), axis=axis, numerics=numerics)
    return found


def external(folder: Path) -> OnnxModel:
    """Open the small net with its weights in another file."""
    source = folder / "source"
    source.mkdir()
    path = source / "m.onnx"
    onnx.save(small_net(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = open_model(str(path), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    return model


def outputs(model: ModelProto | Path, batch: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    source = model if isinstance(model, Path) else model.SerializeToString()
    (made,) = run(source, [{"x": batch}], optimise=False)
    return b"".join(array.tobytes() for array in made.values())


def written(model: OnnxModel, specs: Mapping[str, QuantSpec], found: Mapping[str, Encoding], path: Path) -> Path:
    plan = plan_of(model, specs)
    proto, deferred = with_quantized_constants(model, plan.enabled(), found)
    return save(proto, model.folder, path, deferred, one_file=0)[0]


@pytest.mark.parametrize("numerics", ["onnx", "aimet", "aimet-torch", "vitis-dpu"])
def test_the_model_computes_what_it_computes_with_quantizers(numerics: Numerics, tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    specs, found = dict.fromkeys(CONSTANTS, INT8), encodings(model, numerics)
    with_nodes = instrument(model, plan_of(model, specs).enabled(), found)
    batch = data((2, 3, 4, 4))
    assert outputs(written(model, specs, found, tmp_path / "q.onnx"), batch) == outputs(with_nodes, batch)


@pytest.mark.parametrize("spec", [FLOAT16, BFLOAT16])
def test_casts_are_made_as_well(spec: QuantSpec, tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    specs = dict.fromkeys(CONSTANTS, spec)
    with_nodes = instrument(model, plan_of(model, specs).enabled(), {})
    batch = data((2, 3, 4, 4))
    assert outputs(written(model, specs, {}, tmp_path / "q.onnx"), batch) == outputs(with_nodes, batch)


def test_weights_of_sixteen_bits_and_those_of_constant_nodes_are_initializers_of_their_type(tmp_path: Path) -> None:
    weight = data((4, 4)).astype(np.float16)
    nodes = [
        make_node("Constant", [], ["w"], "constant", value=onnx.numpy_helper.from_array(weight)),
        make_node("MatMul", ["x", "w"], ["y"], "matmul"),
    ]
    half = TensorProto.FLOAT16
    model = opened(model_of(nodes, [value("x", [2, 4], half)], [value("y", [2, 4], half)]), tmp_path)
    found = {"w": encoding(0.125)}
    path = written(model, {"w": INT8}, found, tmp_path / "q.onnx")
    proto = onnx.load(path)
    assert [node.op_type for node in proto.graph.node] == ["MatMul"]
    (stored,) = map(onnx.numpy_helper.to_array, proto.graph.initializer)
    assert stored.dtype == np.float16
    assert stored.tobytes() == found["w"].fake_quantize(weight).astype(np.float16).tobytes()


def test_what_has_no_encoding_and_is_no_cast_stays_as_it_is(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    proto, deferred = with_quantized_constants(model, plan_of(model, {"shared": INT8}).enabled(), {})
    assert not deferred
    assert proto.graph == model.proto.graph


def test_values_are_made_one_at_a_time_as_they_are_written(tmp_path: Path) -> None:
    model = external(tmp_path)
    plan = plan_of(model, dict.fromkeys(CONSTANTS, INT8))
    proto, deferred = with_quantized_constants(model, plan.enabled(), encodings(model))
    assert not any(t.raw_data for t in proto.graph.initializer if t.name in CONSTANTS)
    apart = save(proto, model.folder, tmp_path / "apart.onnx", deferred, one_file=0)
    assert [path.name for path in apart] == ["apart.onnx", "apart.onnx.data"]
    copied, deferred = with_quantized_constants(model, plan.enabled(), encodings(model))
    for tensor in copied.graph.initializer:
        if tensor.name not in deferred:
            tensor.CopyFrom(onnx.numpy_helper.from_array(model.constant(tensor.name), tensor.name))
    whole = save(copied, model.folder, tmp_path / "whole.onnx", deferred)
    assert [path.name for path in whole] == ["whole.onnx"]
    batch = data((2, 3, 4, 4))
    assert outputs(apart[0], batch) == outputs(whole[0], batch)
