"""Chains of elementwise operators, made and counted by the kernels, beside onnxruntime and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_node, make_opsetid
from onnx.numpy_helper import from_array, to_array
from qsimc_onnx import chains, probes
from qsimc_onnx.chains import Chained, chain_up
from qsimc_onnx.session import FAILURES

import qsimc
from qsimc import native
from qsimc.calibrate.tally import Tally
from qsimc.calibrate.together import tell_apart
from tests.backends.onnx_models import data, model_of, needs_kernels, operators, outputs_of, value

Recipe: TypeAlias = "tuple[str, *tuple[float, ...]]"
"""A step: `Add` or `Mul` and a number; `Gate`, alpha and beta; `AddChannels` or `MulChannels`."""

SHIFT: Recipe = ("Add", 0.25)
SCALE: Recipe = ("Mul", -1.5)
GATE: Recipe = ("Gate", 1 / 6, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Steps from `x`, of shape (n, channels, height, width), to `t1`, `t2` and so on."""

    steps: Sequence[Recipe]
    channels: int = 16
    block: int = 16

    @property
    def tensors(self) -> list[str]:
        """All tensors, in order."""
        return ["x", *(f"t{k}" for k in range(1, len(self.steps) + 1))]

    def model(self, outputs: Sequence[str]) -> ModelProto:
        """Return it as a model."""
        nodes: list[NodeProto] = []
        constants: dict[str, NDArray[Any]] = {"channels": data((1, self.channels, 1, 1), 5)}
        for (op, *numbers), x, y in zip(self.steps, self.tensors, self.tensors[1:], strict=False):
            if op == "Gate":
                nodes.append(make_node("HardSigmoid", [x], [f"{y}/share"], alpha=numbers[0], beta=numbers[1]))
                nodes.append(make_node("Mul", [x, f"{y}/share"], [y]))
            elif op.endswith("Channels"):
                inside: dict[str, Any] = {"domain": native.DOMAIN, "block": self.block}
                nodes.append(make_node(op.removesuffix("Channels"), [x, "channels"], [y], **inside))
            else:
                constants[f"{y}/number"] = np.array(numbers, np.float32)
                nodes.append(make_node(op, [x, f"{y}/number"], [y]))
        shape = [None, self.channels, None, None]
        made = model_of(nodes, [value("x", shape)], [value(name, shape) for name in outputs], constants)
        made.opset_import.append(make_opsetid(native.DOMAIN, 1))
        return made


def chained(model: ModelProto, rows: Sequence[str], kept: Sequence[str] = (), threads: int = 1) -> Chained:
    """Let the kernels make and count chains of a model; rows are numbered from 0 on."""
    model.graph.input.append(value("tally", [None, None], TensorProto.INT64))
    kept = [*kept, *(output.name for output in model.graph.output)]
    return chain_up(model, {name: row for row, name in enumerate(rows)}, kept, "tally", threads=threads)


def run(model: ModelProto, x: NDArray[Any], tally: Tally, threads: int = 1) -> NDArray[Any]:
    return outputs_of(model, x, threads, tally=tally.rows)[0]


NUMBER = st.floats(-4, 4, width=32) | st.floats(width=32, allow_nan=False, allow_infinity=False)
RECIPE = st.one_of(
    st.tuples(st.just("Add"), NUMBER),
    st.tuples(st.just("Mul"), NUMBER.filter(bool)),
    st.just(GATE),
    st.tuples(st.just("Gate"), st.floats(-1, 1, width=32), st.floats(2**-9, 1, width=32)),
    st.tuples(st.sampled_from(("AddChannels", "MulChannels"))),
)
SPECIAL = np.array([np.inf, -np.inf, -0.0, 0, 1e-42, -1e-45, 3e38, -3e38], np.float32)


@st.composite
def nets(draw: st.DrawFn) -> tuple[Net, tuple[int, ...]]:
    """Return a net that is one chain, and the shape of its input."""
    block = draw(st.sampled_from((1, 8, 16)))
    channels = block * draw(st.integers(1, 3))
    steps = draw(st.lists(RECIPE, min_size=1, max_size=7))
    size = draw(st.integers(1, 9) | st.just(61))
    return Net(steps=steps, channels=channels, block=block), (draw(st.integers(1, 2)), channels, size, size)


@needs_kernels
@given(nets(), st.data(), st.integers(0, 2**16), st.booleans(), st.integers(1, 3))
def test_values_and_counts_are_those_of_one_operator_after_the_other(
    drawn: tuple[Net, tuple[int, ...]], choice: st.DataObject, seed: int, special: bool, threads: int
) -> None:
    net, shape = drawn
    counted = choice.draw(st.lists(st.sampled_from(net.tensors), min_size=2, unique=True))
    x = data(shape, seed, scale=2.0)
    if special:
        x.flat[: SPECIAL.size] = SPECIAL[: x.size]
    plain = dict(zip(net.tensors[1:], outputs_of(net.model(net.tensors[1:]), x), strict=True))
    assume(not any(np.isnan(made).any() for made in plain.values()))
    model = net.model(net.tensors[-1:])
    found = chained(model, counted, threads=threads)
    assert operators(model) == ["Chain"]
    assert {*found.counted} == {*counted}
    tally, alone = Tally(len(counted)), Tally(len(counted))
    last = run(model, x, tally, threads)
    assert last.tobytes() == plain[net.tensors[-1]].tobytes()
    for group in found.groups:
        tell_apart(tally.rows, group)
    for row, name in enumerate(counted):
        alone.count(row, {"x": x, **plain}[name])
    np.testing.assert_array_equal(tally.rows, alone.rows)


@needs_kernels
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_what_is_not_finite_is_seen_in_every_tensor_and_disturbs_no_later_count(bad: float) -> None:
    net = Net(steps=[SHIFT, SCALE, GATE, SCALE])
    model = net.model(net.tensors[-1:])
    groups = chained(model, net.tensors).groups
    x = data((1, 16, 7, 5))
    wrong = x.copy()
    wrong[0, 3, 4, 2] = bad
    tally = Tally(5)
    run(model, wrong, tally)
    # The gate multiplies minus infinity by zero.
    assert tally.nan.tolist() == [bool(np.isnan(bad))] * 3 + [True] * 2
    assert tally.infinite.all()
    tally, alone = Tally(5), Tally(5)
    run(model, x, tally)
    for group in groups:
        tell_apart(tally.rows, group)
    for row, made in enumerate([x, *outputs_of(net.model(net.tensors[1:]), x)]):
        alone.count(row, made)
    np.testing.assert_array_equal(tally.rows, alone.rows)


@needs_kernels
def test_tensors_are_counted_together_until_the_order_of_values_is_lost() -> None:
    net = Net(steps=[SCALE, SHIFT, GATE, SHIFT, ("AddChannels",), SCALE])
    found = chained(net.model(net.tensors[-1:]), net.tensors)
    assert [list(group.rows) for group in found.groups] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [group.falls() for group in found.groups] == [[False, True, True], [False, False], [False, True]]


@needs_kernels
def test_steps_of_what_is_not_counted_stand_between_members() -> None:
    net = Net(steps=[SCALE, SHIFT, SCALE])
    (group,) = chained(net.model(net.tensors[-1:]), ["x", "t3"]).groups
    assert [[op for op, _ in steps] for steps in group.steps] == [[], ["Mul", "Add", "Mul"]]


@needs_kernels
def test_a_chain_ends_at_what_is_kept_and_another_begins_there() -> None:
    net = Net(steps=[SCALE, SHIFT, SCALE, SHIFT])
    model = net.model(net.tensors[-1:])
    found = chained(model, net.tensors, kept=["t2"])
    assert operators(model) == ["Chain", "Chain"]
    assert found.results == ["t2", "t4"]
    # `x` to `t2` are counted by the first.
    assert [list(group.rows) for group in found.groups] == [[0, 1, 2], [3, 4]]


@needs_kernels
@pytest.mark.parametrize("steps", [[SHIFT] * 20, [SHIFT, GATE] * 10])
@pytest.mark.parametrize(("every", "count"), [(1, 3), (4, 2)])
def test_long_chains_are_cut_into_some_that_the_kernels_bear(steps: list[Recipe], every: int, count: int) -> None:
    net = Net(steps=steps)
    model = net.model(net.tensors[-1:])
    found = chained(model, net.tensors[::every])
    assert operators(model) == ["Chain"] * count
    assert {*found.counted} == {*net.tensors[::every]}
    x = data((2, 16, 5, 5))
    tally = Tally(len(net.tensors))
    assert run(model, x, tally).tobytes() == outputs_of(net.model(net.tensors[-1:]), x)[0].tobytes()


def changed(change: str) -> ModelProto:
    """Return a model of two steps, of which none may be taken, because something is different."""
    recipe: Recipe = {"a gate whose share is read": GATE}.get(change, SHIFT)
    model = Net(steps=[recipe]).model(["t1"])
    node, constants = model.graph.node, model.graph.initializer
    if change == "the number comes in":
        model.graph.input.append(value("t1/number", [1]))
        del constants[1]
    elif change == "the number may come in":
        model.graph.input.append(value("t1/number", [1]))
    elif change == "the number is a vector":
        constants[1].CopyFrom(from_array(np.ones((1, 1, 1, 3), np.float32), "t1/number"))
    elif change == "the number has more dimensions":
        constants[1].CopyFrom(from_array(np.ones((1,) * 5, np.float32), "t1/number"))
    elif change == "a product with zero":
        node[0].op_type = "Mul"
        constants[1].CopyFrom(from_array(np.zeros(1, np.float32), "t1/number"))
    elif change == "infinity":
        constants[1].CopyFrom(from_array(np.array([np.inf], np.float32), "t1/number"))
    elif change == "another operator":
        node[0].op_type = "Div"
    elif change == "a gate whose share is read":
        node.append(make_node("Neg", ["t1/share"], ["negative"]))
    elif change == "another domain":
        node[0].domain = "com.example"
    elif change == "twice the same":
        node[0].input[1] = "x"
    return model


@needs_kernels
@pytest.mark.parametrize(
    "change",
    [
        "the number comes in",
        "the number may come in",
        "the number is a vector",
        "the number has more dimensions",
        "a product with zero",
        "infinity",
        "another operator",
        "a gate whose share is read",
        "another domain",
        "twice the same",
    ],
)
def test_other_operators_stay_as_they_are(change: str) -> None:
    model = changed(change)
    before = operators(model)
    assert not chained(model, ["x", "t1"]).results
    assert operators(model) == before


@needs_kernels
def test_a_gate_whose_share_is_counted_is_left_alone() -> None:
    assert not chained(Net(steps=[GATE]).model(["t1"]), ["x", "t1", "t1/share"]).results


@needs_kernels
def test_a_chain_ends_at_what_somebody_else_reads() -> None:
    model = Net(steps=[SHIFT, SCALE]).model(["t2"])
    model.graph.node.append(make_node("Neg", ["t1"], ["negative"]))
    assert chained(model, ["x", "t1", "t2"]).results == ["t1", "t2"]
    assert operators(model) == ["Chain", "Chain", "Neg"]


@needs_kernels
def test_one_tensor_alone_is_no_chain() -> None:
    model = Net(steps=[SHIFT, SCALE]).model(["t2"])
    assert not chained(model, ["t1"]).results


@needs_kernels
def test_a_runtime_whose_gates_round_otherwise_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "_gates_as_the_kernels", lambda: False)
    model = Net(steps=[SHIFT, GATE, SHIFT, SCALE]).model(["t4"])
    chained(model, ["x", "t1", "t2", "t3", "t4"])
    assert operators(model) == ["Chain", "HardSigmoid", "Mul", "Chain"]


KIND, BY_CHANNEL, ROW, BEGINS, FALLS = range(5)


@needs_kernels
@pytest.mark.parametrize(
    ("place", "fact", "number", "why"),
    [
        (0, KIND, 1, "source comes first"),
        (1, KIND, 0, "source comes first"),
        (1, KIND, 4, "source comes first"),
        (1, BY_CHANNEL, 1, "number for each channel"),
        (1, ROW, 3, "no such row"),
        (0, ROW, -1, "a group begins"),
        (0, BEGINS, 0, "a group begins"),
        (0, FALLS, 1, "a group begins"),
        (2, BEGINS, 0, "a group begins"),
    ],
)
def test_programs_that_make_no_sense_are_refused(place: int, fact: int, number: int, why: str) -> None:
    model = Net(steps=[SHIFT, GATE]).model(["t2"])
    chained(model, ["x", "t1", "t2"])
    (facts,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("/facts"))
    program = to_array(facts).copy()
    program[place, fact] = number
    facts.CopyFrom(from_array(program, facts.name))
    with pytest.raises(FAILURES, match=why):
        run(model, data((1, 16, 3, 3)), Tally(3))


@needs_kernels
def test_other_channels_are_refused() -> None:
    model = Net(steps=[("AddChannels",), SHIFT]).model(["t2"])
    chained(model, ["x", "t1", "t2"])
    model.graph.input[0].CopyFrom(value("x", [None] * 4))
    with pytest.raises(FAILURES, match="number for each channel"):
        run(model, data((1, 32, 3, 3)), Tally(3))


@needs_kernels
def test_nothing_is_counted_of_nothing() -> None:
    model = Net(steps=[SHIFT, SCALE]).model(["t2"])
    chained(model, ["x", "t1", "t2"])
    tally = Tally(3)
    assert run(model, data((0, 16, 3, 3)), tally).shape == (0, 16, 3, 3)
    assert tally.empty.all()


def network() -> ModelProto:
    """Return two convolutions, and between them what quantizers stand after: shifts, scales and a gate."""
    constants = {
        "w1": data((32, 3, 3, 3)),
        "w2": data((32, 32, 3, 3), 1),
        "bias": data((1, 32, 1, 1), 2),
        "scale": np.array([-0.75], np.float32),
        "shift": np.array([0.5], np.float32),
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["c"], pads=[1, 1, 1, 1]),
        make_node("Add", ["c", "bias"], ["a"]),
        make_node("Mul", ["scale", "a"], ["m"]),
        make_node("Add", ["m", "shift"], ["b"]),
        make_node("HardSwish", ["b"], ["h"]),
        make_node("Mul", ["h", "scale"], ["n"]),
        make_node("Conv", ["n", "w2"], ["y"], pads=[1, 1, 1, 1]),
    ]
    return model_of(nodes, [value("x", ["n", 3, 9, 9])], [value("y", ["n", 32, 9, 9])], constants)


@needs_kernels
@pytest.mark.parametrize("calib", ["minmax", "entropy"])
def test_the_same_encodings_are_found_with_chains_and_without_kernels(
    calib: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(network().SerializeToString())
    batches = [{"x": data((2, 3, 9, 9), seed)} for seed in range(3)]
    counted: list[int] = []

    def noted(*args: Any, **kwargs: Any) -> Chained:
        made = chain_up(*args, **kwargs)
        counted.extend(len(group.rows) for group in made.groups)
        return made

    monkeypatch.setattr(probes, "chain_up", noted)
    found = []
    for kernels in (native.kernels(), None):
        monkeypatch.setattr(native, "kernels", lambda kernels=kernels: kernels)
        made = qsimc.quantize("aimet:default", model=str(model), data=batches, calib=calib, out=str(tmp_path / "out"))
        found.append({name: (e.scale.tobytes(), e.zero_point.tobytes()) for name, e in made.encodings.items()})
    # `h` and `n`; `a`, `m` and `b`; what the convolution makes as well, if the processor has a blocked layout.
    assert sorted(counted)[-2:] == [2, 3]
    assert found[0] == found[1]
