"""Depthwise convolutions by the kernels, beside onnxruntime's."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from onnx.numpy_helper import from_array
from qsimc_onnx import depthwise, observe
from qsimc_onnx.depthwise import convolve_inside
from qsimc_onnx.session import FAILURES

import qsimc
from qsimc import native
from tests.backends.onnx_models import data, model_of, needs_kernels, operators, outputs_of, value

needs_alike = pytest.mark.skipif(
    native.kernels() is None or platform.machine() != "x86_64",
    reason="needs the kernels, and x86-64, where onnxruntime is known to add up as they do",
)
"""No test asks the kernels whether they are right: a wrong sum must fail here, not be left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A depthwise convolution in ONNX's terms."""

    channels: int = 4
    kernel: Sequence[int] = (3, 3)
    bias: bool = False
    attributes: dict[str, Any]

    def model(self) -> ModelProto:
        """Return a model of it alone; dimensions are open."""
        constants = {"w": data((self.channels, 1, *self.kernel)), "b": data((self.channels,), 1)}
        node = make_node("Conv", ["x", "w", *["b"] * self.bias], ["y"], group=self.channels, **self.attributes)
        size = [None] * len(self.kernel)
        return model_of(
            [node],
            [value("x", [None, self.channels, *size])],
            [value("y", [None, self.channels, *size])],
            constants,
        )


def by_kernels(model: ModelProto, threads: int = 1) -> ModelProto:
    found = ModelProto()
    found.CopyFrom(model)
    convolve_inside(found, threads=threads)
    return found


def result(model: ModelProto, x: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    return outputs_of(model, x, threads)[0]


PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Convolution, tuple[int, ...]]:
    """Return a convolution that the kernels may do, and the shape of an input that it accepts."""
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)) | st.just((12, 11)))
    strides, dilations = draw(PAIR), draw(PAIR)
    pads = draw(st.lists(st.integers(0, 4), min_size=4, max_size=4))
    assume(any(pads) or strides != (1, 1))
    reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
    least = [max(1, size - before - after) for size, before, after in zip(reach, pads[:2], pads[2:], strict=True)]
    size = [low + draw(st.integers(0, 40)) for low in least]
    channels = draw(st.integers(2, 5))
    made = Convolution(
        channels=channels,
        kernel=kernel,
        bias=draw(st.booleans()),
        attributes={"strides": strides, "dilations": dilations, "pads": pads},
    )
    return made, (draw(st.integers(1, 2)), channels, *size)


@needs_alike
@given(convolutions(), st.integers(0, 2**16), st.integers(1, 3))
def test_every_bit_is_that_of_onnxruntime(drawn: tuple[Convolution, tuple[int, ...]], seed: int, threads: int) -> None:
    convolution, shape = drawn
    plain = convolution.model()
    inside = by_kernels(plain, threads)
    assert operators(inside) == ["DepthwiseConv"]
    x = data(shape, seed)
    one, other = result(plain, x), result(inside, x, threads)
    assert one.shape == other.shape
    assert one.tobytes() == other.tobytes()


@needs_alike
@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan, -0.0])
def test_what_is_not_finite_goes_where_it_does_in_onnxruntime(special: float) -> None:
    plain = Convolution(attributes={"pads": [1, 1, 1, 1], "strides": [2, 1]}).model()
    x = data((1, 4, 9, 11))
    x[0, :, 4, 3:6] = special
    x[0, 1] = special
    np.testing.assert_array_equal(result(plain, x), result(by_kernels(plain), x))


PADS = {"pads": [1, 1, 1, 1]}


@needs_kernels
@pytest.mark.parametrize(
    "model",
    [
        Convolution(attributes={}).model(),
        Convolution(channels=1, attributes=PADS).model(),
        Convolution(kernel=(3,), attributes={"pads": [1, 1]}).model(),
        Convolution(kernel=(3, 3, 3), attributes={"pads": [1] * 6}).model(),
        Convolution(attributes={"auto_pad": "SAME_UPPER"}).model(),
    ],
    ids=["neither padding nor strides", "one channel", "1-d", "3-d", "auto_pad"],
)
def test_other_convolutions_stay_as_they_are(model: ModelProto) -> None:
    assert by_kernels(model) == model


@needs_kernels
@pytest.mark.parametrize("change", ["two filters a channel", "weights that come in", "weights of another type"])
def test_other_weights_stay_as_they_are(change: str) -> None:
    model = Convolution(attributes=PADS).model()
    weights = model.graph.initializer[0]
    if change == "two filters a channel":
        weights.CopyFrom(from_array(data((8, 1, 3, 3)), weights.name))
    elif change == "weights of another type":
        weights.CopyFrom(from_array(data((4, 1, 3, 3)).astype(np.float64), weights.name))
    else:
        model.graph.input.append(value(weights.name, list(weights.dims), TensorProto.FLOAT))
        del model.graph.initializer[0]
    assert by_kernels(model) == model


@needs_kernels
def test_a_runtime_that_rounds_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "_adds_up_as_the_kernels", lambda: False)
    model = Convolution(attributes=PADS).model()
    assert by_kernels(model) == model


@needs_alike
@pytest.mark.parametrize("shape", [(1, 4, 2, 9), (1, 3, 9, 9), (4, 9, 9)])
def test_what_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    node = by_kernels(Convolution(attributes={"strides": [2, 2]}).model()).graph.node
    model = model_of(node, [value("x", [None] * len(shape))], [value("y", [None] * 4)], {"w": data((4, 1, 3, 3))})
    model.opset_import.add(domain=native.DOMAIN, version=1)
    with pytest.raises(FAILURES, match=r"not those of a depthwise|larger than its input"):
        result(model, data(shape))


@needs_alike
def test_vendor_mode_finds_the_same_encodings_with_it_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(Convolution(bias=True, attributes=PADS).model().SerializeToString())
    batches = [{"x": data((2, 4, 9, 9), seed)} for seed in range(3)]
    changed: list[list[str]] = []

    def noted(proto: ModelProto, *, threads: int) -> None:
        convolve_inside(proto, threads=threads)
        changed.append(operators(proto))

    found = []
    for convolve in (noted, lambda *_, **__: None):
        monkeypatch.setattr(observe, "convolve_inside", convolve)
        made = qsimc.quantize(
            "aimet:default", model=str(model), data=batches, mode="vendor", calib="sqnr", out=str(tmp_path / "out")
        )
        found.append({name: (e.scale.tobytes(), e.zero_point.tobytes()) for name, e in made.encodings.items()})
    assert changed == [["DepthwiseConv"]]
    assert found[0] == found[1]
