"""Calibration with onnxruntime."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from qsimc_onnx import BACKEND
from qsimc_onnx import observe as observing
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.session import run

from qsimc import native
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.grid import CELLS, Grid
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observer import Observer, Wants
from qsimc.calibrate.tally import BINS, SHIFT
from qsimc.diagnostics import InputError
from qsimc.ir.quant import QuantSpec
from tests.backends.onnx_models import INT8, data, encoding, model_of, opened, plan_of, small_net, value

CELLS_OF_ONE = Grid(np.float32(1), -CELLS // 2, 0, CELLS - 1)


@dataclass(frozen=True)
class Recorder:
    """Keeps everything it is shown: values, histograms, or counts on a grid that has a cell for each integer."""

    wants: Wants
    seen: tuple[Any, ...] = ()

    def observe(self, values: NDArray[Any]) -> Self:
        return replace(self, seen=(*self.seen, values.copy()))

    def observe_histogram(self, histogram: BitHistogram) -> Self:
        return replace(self, seen=(*self.seen, histogram))

    def grid(self, low: float, high: float) -> Grid | None:
        return CELLS_OF_ONE if self.seen or (low, high) != (0, 0) else None

    def observe_counts(self, counts: NDArray[Any], low: float, high: float) -> Self:
        return replace(self, seen=(*self.seen, (counts.copy(), low, high)))

    def merge(self, other: Self) -> Self:
        raise NotImplementedError

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        raise NotImplementedError


@pytest.fixture(autouse=True, params=["native", "numpy"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Count by the kernels, which the wheel builds wherever there is a compiler, and by NumPy."""
    if request.param == "numpy":
        monkeypatch.setattr(native, "kernels", lambda: None)
    elif native.kernels() is None:
        pytest.skip("the kernels are not built here")  # test_native.py fails if they should be
    return str(request.param)


def recorders(tensors: Sequence[str], *wants: Wants) -> dict[str, list[Any]]:
    return {tensor: [Recorder(wanted) for wanted in wants] for tensor in tensors}


def observed(
    model: OnnxModel,
    observers: Mapping[str, Sequence[Any]],
    batches: Sequence[Mapping[str, NDArray[Any]]],
    *,
    params: Mapping[str, Encoding] | None = None,
    shares: Mapping[str, str] | None = None,
    counts: list[int] | None = None,
) -> Mapping[str, Sequence[Any]]:
    tensors = {*observers, *(params or {}), *(shares or {})}
    plan = plan_of(model, dict.fromkeys(tensors, INT8), shares)
    seen = counts.append if counts is not None else lambda n: None
    return BACKEND.observe(model, plan, params or {}, batches, observers, {}, seen)[0]


INNER = ("x", "conv", "relu", "add", "flat", "matmul", "gemm", "y")


def truth(model: OnnxModel, batch: Mapping[str, NDArray[Any]], tensors: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """Return what the tensors hold, from a run with all optimisations off."""
    names = [tensor for tensor in tensors if tensor not in batch]
    return {**batch, **next(iter(run(model.path, [batch], names, optimise=False)))}


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21])
def test_every_activation_is_seen_even_those_that_would_be_fused(opset: int, tmp_path: Path) -> None:
    model = opened(small_net(opset), tmp_path)
    batch = {"x": data((2, 3, 4, 4))}
    found = observed(model, recorders(INNER, *Wants), [batch])
    for tensor, values in truth(model, batch, INNER).items():
        histogram, (counts, low, high), everything = (recorder.seen[0] for recorder in found[tensor])
        ends = [values.min(), values.max()]
        np.testing.assert_allclose([histogram.low[0], histogram.high[0]], ends, atol=1e-5)
        np.testing.assert_allclose([low, high], ends, atol=1e-5)
        assert counts.sum() == histogram.counts.sum() == values.size
        np.testing.assert_allclose(everything, values.reshape(1, -1), atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 2047, 2048, 2049, 65_535, 65_536, 1_000_003])
def test_counts_are_those_of_the_values(size: int, tmp_path: Path) -> None:
    """In one part and in many, and in whole blocks and not."""
    proto = model_of([make_node("Neg", ["x"], ["y"])], [value("x", ["n"])], [value("y", ["n"])])
    batches = [{"x": data((size,), seed) * 100} for seed in range(2)]
    found = observed(opened(proto, tmp_path), recorders(["y"], Wants.HISTOGRAM, Wants.GRID), batches)
    histogram, grid = found["y"]
    everything = np.concatenate([-batch["x"] for batch in batches])
    expected = np.bincount(everything.view(np.uint32) >> SHIFT, minlength=BINS)
    np.testing.assert_array_equal(histogram.seen[0].counts[0], expected)
    assert len(histogram.seen) == 1
    for batch, (counts, low, high) in zip(batches, grid.seen, strict=True):
        cells = np.clip(np.floor(-batch["x"]) + CELLS // 2, 0, CELLS - 1).astype(int)
        np.testing.assert_array_equal(counts, np.bincount(cells, minlength=CELLS))
        assert (low, high) == (-batch["x"].max(), -batch["x"].min())


def test_a_grid_is_laid_out_by_the_first_batch_that_asks_for_one(tmp_path: Path) -> None:
    """And the batch is counted on it, but no other statistic counts it twice."""
    proto = model_of([make_node("Neg", ["x"], ["y"])], [value("x", ["n"])], [value("y", ["n"])])
    batches = [{"x": np.full(5, number, np.float32)} for number in (0, 3, 0)]
    found = observed(opened(proto, tmp_path), recorders(["y"], Wants.HISTOGRAM, Wants.GRID), batches)
    histogram, grid = found["y"]
    assert histogram.seen[0].counts.sum() == 15
    assert [(int(counts.argmax()), int(counts.sum())) for counts, *_ in grid.seen] == [
        (0, 0),
        (CELLS // 2 - 3, 5),
        (CELLS // 2, 5),
    ]


def test_streams_of_one_observer_are_counted_on_one_grid(tmp_path: Path) -> None:
    """The grid of what comes first; zeros before it are not counted, as if one came after the other."""

    class Once(Recorder):
        def grid(self, low: float, high: float) -> Grid | None:
            laid_out = [low for _, low, high in self.seen if low != high]
            low = laid_out[0] if laid_out else low
            return replace(CELLS_OF_ONE, before=int(low)) if laid_out or low != high else None

    nodes = [make_node("Add", ["x", name], [f"y{name}"]) for name in ("zero", "two", "nine")]
    constants = {name: np.array(number, np.float32) for name, number in (("zero", 0), ("two", 2), ("nine", 9))}
    proto = model_of(nodes, [value("x", ["n"])], [value(f"y{name}", ["n"]) for name in constants], constants)
    shares = {"ytwo": "yzero", "ynine": "yzero"}
    batch = {"x": np.arange(4, dtype=np.float32)}
    found = observed(opened(proto, tmp_path), {"yzero": [Once(Wants.GRID)]}, [batch], shares=shares)
    first = [int(np.flatnonzero(counts)[0]) for counts, *_ in found["yzero"][0].seen]
    assert first == [0, 2, 9]


@pytest.mark.parametrize("opset", [6, 13])
def test_what_is_clipped_or_moved_has_the_histogram_of_its_values(opset: int, tmp_path: Path) -> None:
    constants = {"low": np.array(-0.3, np.float32), "high": np.array(0.7, np.float32), "flat": np.array([-1])}
    clip = (
        make_node("Clip", ["x"], ["c"], min=-0.3, max=0.7)
        if opset == 6
        else make_node("Clip", ["x", "low", "high"], ["c"])
    )
    nodes = [clip, make_node("Relu", ["c"], ["r"]), make_node("Reshape", ["r", "flat"], ["y"])]
    proto = model_of(nodes, [value("x", ["n", 9])], [value("y", ["m"])], constants, opset)
    batches = [{"x": data((40, 9), seed)} for seed in range(3)]
    tensors = ["x", "c", "r", "y"]
    alike = observed(opened(proto, tmp_path), recorders(tensors, Wants.HISTOGRAM), batches)
    counted = observed(opened(proto, tmp_path, "b.onnx"), recorders(tensors, Wants.HISTOGRAM, Wants.VALUES), batches)
    grids = observed(opened(proto, tmp_path, "c.onnx"), recorders(tensors, Wants.HISTOGRAM, Wants.GRID), batches)
    for tensor in tensors:
        expected, values = counted[tensor]
        for given in (alike[tensor][0].seen[0], grids[tensor][0].seen[0]):
            np.testing.assert_array_equal(given.counts, expected.seen[0].counts)
            assert (given.low, given.high) == (expected.seen[0].low, expected.seen[0].high)
        for (counts, low, high), batch in zip(grids[tensor][1].seen, values.seen, strict=True):
            assert (counts.sum(), low, high) == (batch.size, batch.min(), batch.max())


@pytest.mark.parametrize("opset", [9, 17, 21])
@pytest.mark.parametrize("channels", [16, 20])
def test_ranges_are_exact_in_every_layout(channels: int, opset: int, tmp_path: Path) -> None:
    """Values above zero show the padding of a blocked layout, if a probe reads it."""
    constants = {
        "w1": np.abs(data((channels, 3, 3, 3))),
        "w2": np.abs(data((channels, channels, 1, 1))),
        "one": np.full((1, channels, 1, 1), 10, np.float32),
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["c1"], kernel_shape=[3, 3]),
        make_node("Add", ["c1", "one"], ["a"]),
        make_node("Conv", ["a", "w2"], ["c2"], kernel_shape=[1, 1]),
        make_node("Relu", ["c2"], ["r"]),
        make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    proto = model_of(nodes, [value("x", ["n", 3, 9, 9])], [value("y", ["n", channels, 1, 1])], constants, opset)
    model = opened(proto, tmp_path)
    batch = {"x": np.abs(data((4, 3, 9, 9))) + 1}
    tensors = ("x", "c1", "a", "c2", "r", "y")
    found = observed(model, {t: [MinMax.empty()] for t in tensors}, [batch])
    for tensor, values in truth(model, batch, tensors).items():
        observer = found[tensor][0]
        np.testing.assert_allclose([observer.low[0], observer.high[0]], [values.min(), values.max()], rtol=1e-5)


def test_params_are_quantized_and_activations_are_not(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    params = {"matmul.weight": encoding([0.5] * 5, axis=1), "shared": encoding(0.25, 3)}
    batch = {"x": data((2, 3, 4, 4))}
    found = observed(model, recorders(INNER, Wants.VALUES), [batch], params=params)
    values = truth(model, batch, ["relu"])["relu"]
    shared = params["shared"].fake_quantize(model.constant("shared"))
    flat = ((values + shared) * shared).reshape(2, -1)
    expected = flat @ params["matmul.weight"].fake_quantize(model.constant("matmul.weight"))
    np.testing.assert_allclose(found["matmul"][0].seen[0], expected.reshape(1, -1), rtol=1e-4, atol=1e-4)


def test_a_tensor_that_shares_a_quantizer_feeds_its_owner_in_graph_order(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    batch = {"x": data((2, 3, 4, 4))}
    found = observed(model, recorders(["y"], Wants.VALUES), [batch], shares={"matmul": "y", "gemm": "y"})
    assert found.keys() == {"y"}
    expected = truth(model, batch, ["matmul", "gemm", "y"])
    for values, tensor in zip(found["y"][0].seen, ("matmul", "gemm", "y"), strict=True):
        np.testing.assert_allclose(values, expected[tensor].reshape(1, -1), atol=1e-5)


def test_batches_are_taken_in_order_and_only_a_few_are_held(tmp_path: Path) -> None:
    proto = model_of([make_node("Relu", ["x"], ["y"])], [value("x", ["n", 2])], [value("y", ["n", 2])])
    sizes = [3, 1, 5, 2, 7, 4, 6]
    counts: list[int] = []
    held: list[int] = []

    def batches() -> Any:
        for number, size in enumerate(sizes):
            held.append(number - len(counts))
            yield {"x": data((size, 2))}

    observed(opened(proto, tmp_path), {"y": [MinMax.empty()]}, batches(), counts=counts)
    assert counts == sizes
    assert max(held) <= observing.AT_ONCE + 1


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_batches_at_a_time_change_nothing(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "AT_ONCE", at_once)
    model = opened(small_net(), tmp_path)
    rng = np.random.default_rng(3)
    # The first two batches are of zeros, so that the grid is laid out late, with other batches on their way.
    batches = [{"x": (rng.normal(size=(2, 3, 4, 4)) * (k > 1)).astype(np.float32)} for k in range(9)]
    (recorded,) = observed(model, recorders(["x"], *Wants), batches).values()
    histogram, grid, values = recorded
    expected = np.concatenate([batch["x"].ravel() for batch in batches])
    assert histogram.seen[0].counts.sum() == expected.size
    assert (histogram.seen[0].low[0], histogram.seen[0].high[0]) == (expected.min(), expected.max())
    ends = [(batch["x"].min(), batch["x"].max()) for batch in batches]
    assert [(low, high) for _, low, high in grid.seen] == ends
    assert [int(counts.sum()) for counts, *_ in grid.seen] == [0, *(batch["x"].size for batch in batches[1:])]
    for shown, batch in zip(values.seen, batches, strict=True):
        np.testing.assert_array_equal(shown.ravel(), batch["x"].ravel())


def test_the_first_nan_is_named_though_later_batches_are_on_their_way(tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["a"], ["first"]), make_node("Relu", ["b"], ["second"])]
    proto = model_of(nodes, [value("a", [2]), value("b", [2])], [value("first", [2]), value("second", [2])])
    fine, nan = np.ones(2, np.float32), np.full(2, np.nan, np.float32)
    batches = [{"a": fine, "b": fine}, {"a": fine, "b": nan}, {"a": nan, "b": fine}]
    with pytest.raises(InputError) as caught:
        observed(opened(proto, tmp_path), {"a": [MinMax.empty()], "b": [MinMax.empty()]}, batches)
    assert "`b` is NaN" in str(caught.value)


def test_scalars_and_empty_tensors_are_observed(tmp_path: Path) -> None:
    nodes = [make_node("ReduceMax", ["x"], ["top"], keepdims=0), make_node("Relu", ["e"], ["none"])]
    inputs = [value("x", ["n"]), value("e", ["m", 3])]
    model = opened(model_of(nodes, inputs, [value("top", []), value("none", ["m", 3])]), tmp_path)
    batches = [{"x": data((5,)), "e": np.zeros((0, 3), np.float32)}, {"x": data((5,)), "e": data((2, 3))}]
    tensors = ("top", "none", "e")
    found = observed(model, recorders(tensors, *Wants), batches)
    histogram, _, values = found["top"]
    assert histogram.seen[0].high[0] == max(batch["x"].max() for batch in batches)
    assert values.seen[0].max() == batches[0]["x"].max()
    for tensor in ("none", "e"):
        histogram, grid, values = found[tensor]
        assert [shown.size for shown in values.seen] == [0, 6]
        assert [int(counts.sum()) for counts, *_ in grid.seen] == [0, 6]
        assert histogram.seen[0].counts.sum() == 6


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_are_observed_as_float32(dtype: type, tmp_path: Path) -> None:
    kind = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.DOUBLE
    proto = model_of([make_node("Neg", ["x"], ["y"])], [value("x", [4], kind)], [value("y", [4], kind)])
    x: NDArray[Any] = data((4,)).astype(dtype)
    found = observed(opened(proto, tmp_path), recorders(["x", "y"], *Wants), [{"x": x}])
    histogram, (counts, low, high), everything = (recorder.seen[0] for recorder in found["y"])
    assert everything.dtype == np.float32
    np.testing.assert_array_equal(everything, -x.astype(np.float32)[None])
    assert (low, high) == (histogram.low[0], histogram.high[0]) == (everything.min(), everything.max())
    assert counts.sum() == histogram.counts.sum() == 4


def spoilt(bad: float, position: int, folder: Path) -> OnnxModel:
    """Return a model that makes `b` of its input, with one bad value in it."""
    nodes = [make_node("Identity", ["x"], ["a"]), make_node("Add", ["a", "z"], ["b"]), make_node("Neg", ["b"], ["y"])]
    constants = {"z": np.zeros((1, 50), np.float32)}
    constants["z"][0, position] = bad
    return opened(model_of(nodes, [value("x", ["n", 50])], [value("y", ["n", 50])], constants), folder)


@pytest.mark.parametrize("wanted", list(Wants))
@pytest.mark.parametrize("position", [0, 37])
def test_nan_names_the_first_tensor_that_has_it(position: int, wanted: Wants, tmp_path: Path) -> None:
    model = spoilt(np.nan, position, tmp_path)
    with pytest.raises(InputError) as raised:
        observed(model, recorders(["a", "b", "y"], wanted), [{"x": data((2, 50))}])
    (finding,) = raised.value.findings
    assert finding.code == "Q0607"
    assert "`b`" in finding.message


@pytest.mark.parametrize("wanted", list(Wants))
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 37])
def test_a_tensor_with_infinity_is_missing_from_what_is_found(
    bad: float, position: int, wanted: Wants, tmp_path: Path
) -> None:
    model = spoilt(bad, position, tmp_path)
    found = observed(model, recorders(["a", "b", "y"], wanted), [{"x": data((2, 50))}] * 2)
    assert set(found) == {"a"}
    assert len(found["a"][0].seen) == (1 if wanted is Wants.HISTOGRAM else 2)


def test_who_shares_a_quantizer_with_infinity_loses_it_too(tmp_path: Path) -> None:
    model = spoilt(-np.inf, 3, tmp_path)
    found = observed(model, recorders(["a"], Wants.HISTOGRAM), [{"x": data((2, 50))}], shares={"b": "a"})
    assert not found


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    alive: list[int] = []

    def batches() -> Any:
        for seed in range(6):
            gc.collect()
            alive.append(sum(isinstance(thing, np.ndarray) for thing in gc.get_objects()))
            yield {"x": data((2, 3, 4, 4), seed)}

    observed(model, {t: [MinMax.empty()] for t in INNER}, batches())
    assert alive[-1] <= alive[1]


def test_models_with_external_data_are_observed_in_place(tmp_path: Path) -> None:
    onnx.save(small_net(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = BACKEND.open(str(tmp_path / "m.onnx"), lambda finding: pytest.fail(str(finding)))
    assert isinstance(model, OnnxModel)
    inline = opened(small_net(), tmp_path, "inline.onnx")
    batch = {"x": data((2, 3, 4, 4))}
    params = {"conv.weight": encoding([0.1] * 4, axis=0)}
    first = observed(model, recorders(INNER, Wants.VALUES), [batch], params=params)
    second = observed(inline, recorders(INNER, Wants.VALUES), [batch], params=params)
    for tensor in INNER:
        np.testing.assert_array_equal(first[tensor][0].seen[0], second[tensor][0].seen[0])


def failing() -> ModelProto:
    nodes = [make_node("Reshape", ["x", "shape"], ["y"])]
    return model_of(nodes, [value("x", ["n"])], [value("y", [3])], {"shape": np.array([3])})


def test_a_failing_run_quotes_onnxruntime_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = opened(failing(), tmp_path)
    observers: dict[str, list[Observer]] = {"y": [MinMax.empty()]}
    for attempt in (
        lambda: observed(model, observers, [{"x": data((4,))}]),
        lambda: list(BACKEND.run(Path(model.path), [{"x": data((4,))}])),
        lambda: list(BACKEND.run(Path(model.path), [{"x": data((3,)).astype(np.float64)}])),
        lambda: list(BACKEND.run(Path(model.path), [{}])),
    ):
        with pytest.raises(InputError) as raised:
            attempt()
        (finding,) = raised.value.findings
        assert finding.code == "Q0508"
        assert "\n" not in finding.message
    assert capfd.readouterr() == ("", "")


def test_a_plan_without_activations_only_counts(tmp_path: Path) -> None:
    counts: list[int] = []
    observed(opened(small_net(), tmp_path), {}, [{"x": data((2, 3, 4, 4))}], counts=counts)
    assert counts == [2]
