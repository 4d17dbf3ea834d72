"""Training with quantizers: what is learned, what is exported, and quantizers on modules that stay as they are."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx.helper import make_node
from qsimc_torch.captured import trained
from qsimc_torch.runtime import Simulation
from torch import Tensor, nn
from torch.nn import functional

import qsimc
from qsimc.backend import load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import InputError
from qsimc.ir.quant import ScaleKind
from qsimc.pipeline.evaluate import evaluate
from qsimc.planning.plan import Plan
from tests.backends.onnx_models import INT8, encoding, model_of, opened, plan_of, value
from tests.backends.test_torch_build import CONFIG, DEMO, images, resnet

DIGITS = DEMO / "digits.onnx"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small models, and tests that run beside each other: more threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def digits() -> NDArray[np.float32]:
    with np.load(DEMO / "digits_calibration.npz") as arrays:
        return np.asarray(arrays["image"][:128], np.float32)


class Net(nn.Module):
    """A net with all sorts of steps: parts of their own, functions between them, a part that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(4, 4, 1)
        self.gelu = nn.GELU(approximate="tanh")
        self.head = nn.Linear(4, 5)
        self.shift = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        y = functional.silu(x)  # read by `mix` and by an addition: nothing to stand on
        x = self.act(self.mix(y)) + y
        x = self.gelu(x * self.shift)
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def net() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(1)
    return Net().eval(), (torch.randn(2, 3, 8, 8),)


class Tied(nn.Module):
    """Two layers with one weight, and a result of several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.both = Pair()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        low, high = self.both(self.second(torch.relu(self.first(x))))
        return {"low": low, "high": high}


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(x), torch.tanh(x)


def tied() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(2)
    return Tied().eval(), (torch.randn(2, 6),)


@cache
def planned(factory: str, **words: str) -> Plan:
    return qsimc.plan(str(CONFIG), f"{__name__}:{factory}", **words)


# ── training, and what is exported of it ─────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def learned() -> tuple[Simulation, Plan]:
    """Digits at 4 bits, after a few steps that moved weights and ranges."""
    torch.manual_seed(0)
    plan = qsimc.plan(str(CONFIG), str(DIGITS), act="int4", param="int4")
    model: Simulation = qsimc.torch.build(plan, DIGITS, qsimc.torch.calibrate(plan, DIGITS, [{"image": digits()}]))
    model.learn_ranges()
    groups = model.parameter_groups(scale_lr=5e-3, zero_point_lr=0.5)
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    x = torch.from_numpy(digits())
    for _ in range(4):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, plan


def test_an_exported_model_computes_what_was_trained(learned: tuple[Simulation, Plan], tmp_path: Path) -> None:
    """Each tensor within a step of its own, on all but 0.1 % of the values, where one runtime rounds a tie its way."""
    model, _ = learned
    result = qsimc.torch.export(model, tmp_path / "out")
    (found,) = load_backend("onnx").run(result.model, [{"image": digits()}], optimise=False)
    with torch.no_grad():
        expected = model(torch.from_numpy(digits())).numpy()
    steps = np.rint(np.abs(found["logits"] - expected) / result.encodings["logits"].scale)
    assert np.count_nonzero(steps) <= steps.size * 1e-2
    np.testing.assert_array_equal(found["logits"].argmax(1), expected.argmax(1))
    assert {finding.code for finding in result.findings} == {"Q0714"}  # onnxruntime makes a MaxPool of 4 bits
    with pytest.raises(InputError, match="MaxPool"):
        list(load_backend("onnx").run(result.model, [{"image": digits()}]))


def test_a_folder_of_a_trained_model_is_one_of_quantize(learned: tuple[Simulation, Plan], tmp_path: Path) -> None:
    model, _ = learned
    out = tmp_path / "out"
    result = qsimc.torch.export(model, out)
    written = {path.name for path in out.iterdir()}
    assert written == {
        "digits.qdq.onnx", "digits.float.onnx", "digits.aimet.json", "encodings.json", "plan.json", "qsimc.lock",
    }  # fmt: skip
    found = evaluate(out, model=str(result.original), data=str(DEMO / "digits_calibration.npz"), limit=64)
    assert found.qdq_equals_simulation
    written_encodings = json.loads((out / "encodings.json").read_text(encoding="utf-8"))["encodings"]
    for tensor, entry in model.encodings().items():
        assert entry.items() <= written_encodings[tensor].items()


def test_training_moves_scales_zero_points_and_weights(learned: tuple[Simulation, Plan]) -> None:
    model, plan = learned
    before = qsimc.torch.calibrate(plan, DIGITS, [{"image": digits()}])
    after = qsimc.torch.encodings(model)
    assert before.keys() == after.keys()
    assert any((before[t].zero_point != after[t].zero_point).any() for t in after)
    for tensor, found in after.items():
        assert (found.scale != before[tensor].scale).any(), tensor
        assert (found.qmin <= found.zero_point).all()
        assert (found.zero_point <= found.qmax).all()
        if found.symmetric:
            np.testing.assert_array_equal(found.zero_point, before[tensor].zero_point)
    original, _ = trained(qsimc.torch.build(plan, DIGITS))
    for name in ("stem.weight", "classify.bias"):
        assert (trained(model)[0].constant(name) != original.constant(name)).any()


def test_a_trained_copy_is_exported_by_itself(learned: tuple[Simulation, Plan]) -> None:
    model = copy.deepcopy(learned[0])
    with torch.no_grad():
        model.get_parameter("stem.bias").add_(1.0)
    was, now = (trained(m)[0].constant("stem.bias") for m in (learned[0], model))
    np.testing.assert_allclose(now, was + 1.0, rtol=1e-6)


def test_parameters_that_python_cannot_name_are_exported_under_their_own_names(tmp_path: Path) -> None:
    weight = np.eye(3, dtype=np.float32)
    proto = model_of(
        [make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"])],
        [value("x", [2, 3])],
        [value("y", [2, 3])],
        {"onnx::MatMul_7": weight},
    )
    plan = plan_of(opened(proto, tmp_path), {"onnx::MatMul_7": INT8, "y": INT8})
    encodings = {"onnx::MatMul_7": encoding(0.5), "y": encoding(0.25)}
    model = qsimc.torch.build(plan, tmp_path / "m.onnx", encodings)
    (parameter,) = (p for name, p in model.named_parameters())
    with torch.no_grad():
        parameter.mul_(2.0)
    result = qsimc.torch.export(model, tmp_path / "out")
    (found,) = load_backend("onnx").run(result.model, [{"x": np.ones((2, 3), np.float32)}])
    np.testing.assert_array_equal(found["y"], np.full((2, 3), 2.0, np.float32))


def test_scales_that_have_to_be_powers_of_two_stay_so(tmp_path: Path) -> None:
    proto = model_of([make_node("Relu", ["x"], ["y"])], [value("x", [2, 3])], [value("y", [2, 3])])
    plan = plan_of(opened(proto, tmp_path), {"y": replace(INT8, scale=ScaleKind.POW2)})
    model = qsimc.torch.build(plan, tmp_path / "m.onnx", {"y": encoding(0.25)})
    model.learn_ranges()
    with torch.no_grad():
        next(model.quantizers()).scale.fill_(0.1)
    assert qsimc.torch.encodings(model)["y"].scale == 0.125


def test_what_was_not_built_here_is_refused() -> None:
    with pytest.raises(ValueError, match="comes from neither"):
        qsimc.torch.export(nn.Linear(1, 1), "out")


def test_each_kind_of_parameter_has_a_group(learned: tuple[Simulation, Plan]) -> None:
    model = learned[0]
    weights, scales, zero_points = model.parameter_groups(scale_lr=1.0, zero_point_lr=2.0)
    quantizers = list(model.quantizers())
    assert len(scales["params"]) == len(quantizers)
    assert len(zero_points["params"]) == sum(not q.symmetric for q in quantizers)
    everything = [*weights["params"], *scales["params"], *zero_points["params"]]
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(list(model.parameters()))


def test_digits_recover_what_few_bits_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """demo/qat.py with fewer epochs: 3 bits lose accuracy, training gets it back, and the exported model has it too."""
    monkeypatch.syspath_prepend(str(DEMO))
    qat: Any = importlib.import_module("qat")
    training, test = qat.digits()
    measured = qat.train(qat.SETTINGS[1], training, test, tmp_path / "out", epochs=2)
    assert measured.calibrated < 94.0
    assert measured.trained > measured.calibrated + 3.0
    assert abs(measured.deployed - measured.trained) <= qat.ALLOWED_DIFFERENCE
    page = importlib.import_module("qat_page").page(
        99.0, [importlib.import_module("qat_page").Curve("a", measured.curve)]
    )
    assert page.count("<path") >= 3


# ── quantizers on a live module ──────────────────────────────────────────────────────────────


def data_for(factory: str) -> Mapping[str, NDArray[np.float32]]:
    shapes = {"resnet_model": (8, 3, 32, 32), "net": (4, 3, 8, 8), "tied": (4, 6)}
    return {"x": images(shapes[factory])}


def resnet_model() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return resnet()


def results(made: Any) -> list[Tensor]:
    return list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, tuple) else [made]


@pytest.fixture(scope="module", params=["resnet_model", "net", "tied"])
def prepared(request: pytest.FixtureRequest) -> tuple[str, Plan, Mapping[str, Encoding]]:
    plan = planned(request.param)
    module, _ = globals()[request.param]()
    return request.param, plan, qsimc.torch.calibrate(plan, module, [data_for(request.param)])


Planned = tuple[str, Plan, Mapping[str, Encoding]]


def test_a_prepared_module_computes_what_a_generated_one_does(prepared: Planned) -> None:
    """Those of the plan's quantizers that the live module cannot hold, the generated one has to do without as well."""
    factory, plan, encodings = prepared
    module, _ = globals()[factory]()
    live = qsimc.torch.prepare(module, plan, encodings)
    generated = qsimc.torch.build(plan, module=globals()[factory]()[0], encodings=without(encodings, live.unmapped))
    x = torch.from_numpy(data_for(factory)["x"])
    with torch.no_grad():
        plain = results(globals()[factory]()[0](x))
        for found, expected, float_ in zip(results(live(x)), results(generated(x)), plain, strict=True):
            scale = encodings[plan.graph.outputs[0]].scale.max()
            assert (found - expected).abs().max() <= 1.01 * scale
            assert (found != expected).float().mean() <= 1e-2
            assert (expected != float_).any()


def without(encodings: Mapping[str, Encoding], tensors: Mapping[str, str]) -> dict[str, Encoding]:
    return {tensor: encoding for tensor, encoding in encodings.items() if tensor not in tensors}


def test_every_tensor_of_a_plan_is_quantized_or_named(prepared: Planned) -> None:
    factory, plan, encodings = prepared
    live = qsimc.torch.prepare(globals()[factory]()[0], plan, encodings)
    placed = {tensor for quantizer in live.quantizers() for tensor in quantizer.tensors}
    assert placed | live.unmapped.keys() == encodings.keys()
    assert not placed & live.unmapped.keys()
    assert {*live.encodings()} == placed


def test_what_no_module_gives_or_takes_is_named_with_a_reason() -> None:
    plan = planned("net")
    live = qsimc.torch.prepare(net()[0], plan)
    assert live.unmapped
    reasons = set(live.unmapped.values())
    assert "`Mul` is a step of `forward` in `Net`, and not all that reads it is a module of its own" in reasons
    assert all("forward" in reason or "inside of" in reason for reason in reasons)
    assert not qsimc.torch.prepare(resnet()[0], planned("resnet_model")).unmapped


def test_removing_the_quantizers_leaves_the_module_as_it_was(prepared: Planned) -> None:
    factory, plan, encodings = prepared
    module, _ = globals()[factory]()
    x = torch.from_numpy(data_for(factory)["x"])
    before, names = [r.detach() for r in results(module(x))], list(module.state_dict())
    parameters = {id(parameter) for parameter in module.parameters()}
    live = qsimc.torch.prepare(module, plan, encodings)
    assert {id(parameter) for parameter in module.parameters()} == parameters
    live.remove()
    assert sorted(module.state_dict()) == sorted(names)
    assert all(torch.equal(a, b) for a, b in zip(results(module(x)), before, strict=True))
    assert not list(live.quantizers())
    assert trained(live)[0].constant(names[0]).shape == module.state_dict()[names[0]].shape


def test_a_prepared_module_is_trained_and_exported_like_a_generated_one(tmp_path: Path) -> None:
    plan = planned("resnet_model", act="int8", param="int4")
    module, _ = resnet()
    batch = data_for("resnet_model")
    live = qsimc.torch.prepare(module, plan, qsimc.torch.calibrate(plan, module, [batch]))
    x = torch.from_numpy(batch["x"])
    with torch.no_grad():
        target = live(x) + 0.1
    live.learn_ranges(lsq_scaling=True)
    optimizer = torch.optim.SGD(live.parameters(), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = (live(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    result = qsimc.torch.export(live, tmp_path / "out")
    (found,) = load_backend("onnx").run(result.model, [batch], optimise=False)
    with torch.no_grad():
        expected = module(x).numpy()
    steps = np.rint(np.abs(found["output"] - expected) / result.encodings["output"].scale)
    assert steps.max() <= 2
    assert np.count_nonzero(steps) <= steps.size * 0.1


def test_a_run_that_breaks_off_does_not_confuse_the_next() -> None:
    plan = planned("net")
    module, _ = net()
    live = qsimc.torch.prepare(module, plan, qsimc.torch.calibrate(plan, module, [data_for("net")]))
    x = torch.from_numpy(data_for("net")["x"])
    with torch.no_grad():
        expected = live(x)
        with pytest.raises(RuntimeError):
            live(x[:, :2])
        assert torch.equal(live(x), expected)


def test_quantizers_of_a_prepared_module_can_be_frozen_and_observe() -> None:
    plan = planned("net")
    live = qsimc.torch.prepare(net()[0], plan)
    seen: dict[str, tuple[int, ...]] = {}

    class Note:
        def __init__(self, tensor: str) -> None:
            self.tensor = tensor

        def __call__(self, values: Tensor) -> None:
            seen[self.tensor] = tuple(values.shape)

    for quantizer in live.quantizers():
        quantizer.observe(Note(quantizer.tensors[0]))
    with torch.no_grad():
        live(torch.from_numpy(data_for("net")["x"]))
    assert seen["x"] == (4, 3, 8, 8)
    live.freeze()
    assert all(quantizer.observer is None for quantizer in live.quantizers())
