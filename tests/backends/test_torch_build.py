"""Generated modules: what they compute, what they look like, and what PyTorch can do with them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
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
from qsimc_torch import capture
from qsimc_torch.build import build, filled, generated_of
from qsimc_torch.layout import statement
from qsimc_torch.run import opened
from qsimc_torch.runtime import FakeQuantize, Simulation
from torch import Tensor, nn

import qsimc
from qsimc.backend import load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.pipeline.plan import Session, choices, session
from tests.backends.onnx_models import INT8, model_of, plan_of, value
from tests.backends.onnx_models import opened as opened_proto

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
CONFIG = DEMO / "config.json"
GOLDEN = ROOT / "tests/golden/torch/digits_quantsim.py"


class Block(nn.Module):
    """A residual block, as ResNet has it."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def resnet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a small ResNet whose batch norms have seen data, and an example."""
    torch.manual_seed(0)
    net = ResNet().train()
    net(torch.randn(8, 3, 32, 32))
    return net.eval(), (torch.randn(2, 3, 32, 32),)


@cache
def images(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module", params=["digits", "resnet"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, NDArray[np.float32]]:
    """Where a model is, and data for it."""
    if request.param == "digits":
        with np.load(DEMO / "digits_calibration.npz") as arrays:
            return str(DEMO / "digits.onnx"), arrays["image"][:200].astype(np.float32)
    path = capture(resnet, tmp_path_factory.mktemp("resnet"), lambda finding: pytest.fail(str(finding)))
    return str(path), images((32, 3, 32, 32))


@pytest.fixture(scope="module", params=["fixed", "vendor"])
def calibrated(
    request: pytest.FixtureRequest, model: tuple[str, NDArray[np.float32]]
) -> Iterator[tuple[Session, Mapping[str, Encoding], dict[str, NDArray[np.float32]]]]:
    """A plan on a model, its encodings by the ONNX backend, and a batch."""
    from qsimc.pipeline.calibrate import calibrate

    path, data = model
    with session(str(CONFIG), path, choices("int8", "int8", "minmax", request.param)) as made:
        batch = {made.model.graph.inputs[0]: data}
        yield made, calibrate(made.backend, made.model, made.plan, [batch], lambda _: None).encodings, batch


Calibrated = tuple[Session, Mapping[str, Encoding], dict[str, NDArray[np.float32]]]


def steps_apart(made: NDArray[Any], expected: NDArray[Any], encoding: Encoding) -> NDArray[np.int64]:
    return np.asarray(np.rint(np.abs(made - expected) / encoding.scale.max()), np.int64)


# ── what they compute ────────────────────────────────────────────────────────────────────────


def test_without_encodings_a_module_computes_the_model(calibrated: Calibrated, tmp_path: Path) -> None:
    made, _, batch = calibrated
    path = load_backend("torch").build(made.model, made.plan, tmp_path)[0]
    (found,) = load_backend("torch").run(path, [batch])
    (expected,) = load_backend("onnx").run(Path(made.model.path), [batch])
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_every_operator_and_quantizer_follows_the_onnx_simulation(calibrated: Calibrated, tmp_path: Path) -> None:
    """Each gets what the ONNX simulation made of what comes before: at most one step, on at most 0.1 % of values."""
    made, encodings, batch = calibrated
    onnx, torch_ = load_backend("onnx"), load_backend("torch")
    module = opened(torch_.build(made.model, made.plan, tmp_path, encodings)[0])
    simulation = onnx.build(made.model, made.plan, tmp_path, encodings)[0]
    shown = {t: name for t, name in onnx.quantized(simulation).items() if t in encodings}
    (values,) = onnx.run(simulation, [batch], [*shown.values()], optimise=False)
    apart: dict[str, NDArray[np.int64]] = {}

    class Follow:
        def __init__(self, tensors: tuple[str, ...]) -> None:
            self.waiting = list(tensors)

        def __call__(self, _: nn.Module, __: Any, result: Tensor) -> Tensor:
            tensor = self.waiting.pop(0)
            expected = values[shown[tensor]]
            apart[tensor] = steps_apart(result.numpy(), expected, encodings[tensor])
            return torch.from_numpy(expected)

    for quantizer in module.quantizers():
        quantizer.register_forward_hook(Follow(quantizer.tensors))
    with torch.no_grad():
        module(*map(torch.from_numpy, batch.values()))
    assert apart.keys() == encodings.keys()
    everything = np.concatenate([found.ravel() for found in apart.values()])
    assert everything.max() <= 1
    assert np.count_nonzero(everything) <= everything.size * 1e-4
    for tensor, found in apart.items():
        assert np.count_nonzero(found) <= max(1, found.size * 1e-3), tensor


def test_calibration_in_torch_finds_what_onnxruntime_finds(calibrated: Calibrated) -> None:
    from qsimc.pipeline.calibrate import calibrate

    made, encodings, batch = calibrated
    halves = [
        dict(zip(batch, parts, strict=True))
        for parts in zip(*(np.array_split(v, 2) for v in batch.values()), strict=True)
    ]
    found = calibrate(load_backend("torch"), made.model, made.plan, halves, lambda _: None).encodings
    assert found.keys() == encodings.keys()
    for tensor, encoding in encodings.items():
        np.testing.assert_allclose(found[tensor].scale, encoding.scale, rtol=1e-5)
        assert np.abs(found[tensor].zero_point - encoding.zero_point).max() <= 1


# ── what they look like ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("standalone", [False, True])
def test_formatters_and_linters_leave_a_module_alone(calibrated: Calibrated, tmp_path: Path, standalone: bool) -> None:
    made, encodings, _ = calibrated
    path = load_backend("torch").build(made.model, made.plan, tmp_path, encodings, standalone=standalone)[0]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "format", "--isolated", "--line-length=120", "--check", path], check=True)
    rules = "--select=E,F,W,I,B,C4,UP,SIM,RUF"
    subprocess.run([*ruff, "check", "--isolated", "--line-length=120", rules, path], check=True)


def test_a_module_is_the_same_text_every_time(update: bool) -> None:
    with session(str(CONFIG), str(DEMO / "digits.onnx"), choices("int8", "int8", "minmax", "fixed")) as made:
        text = generated_of(made.model, made.plan, {}).text  # type: ignore[arg-type]
    if update:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", range(10, 41, 6))
def test_long_lines_break_as_a_formatter_breaks_them(width: int, tmp_path: Path) -> None:
    x = "x" * width
    lines = [
        f"{x} = self.q_{x}(F.conv2d({x}, self.q_{x}(self.{x}.weight), self.{x}.bias, padding=1))",
        f"{x} = torch.cat([{x}, {x}, {x}, {x}], dim=1)",
        f"{x} = self.q_{x}(torch.cat([{x}, {x}, {x}, {x}], dim=1))",
        f"{x} = self.{x}[0].reshape({x}.shape[0], {x}.shape[1])",
        f'{x} = FakeQuantize("{x}", "{x}, (a", qmin=0, qmax=255)',
        f"{x} = self.{x}.{x} / self.{x}.weight",
        f"{x} = self.{x}.{x}.{x} / self.{x}.weight.{x}",
        f"{x} = self.{x}.{x} * 0.5 + self.{x}.weight - 12345.0",
        f"{x} = self.{x}.{x} * 0.5 + self.{x}.weight.{x} * self.{x}.bias.{x}",
        f"{x} = self.{x}.{x} * F.hardsigmoid(self.{x}.weight)",
        f"{x} = self.{x}.{x}.{x} * F.hardsigmoid(self.{x}.weight)",
        f"{x} = F.hardsigmoid(self.{x}.weight.{x}) * self.{x}.bias",
        f"{x} = F.layer_norm(self.{x}.weight, {x}.shape[-2:], eps=1e-05) * F.relu(self.{x}.bias)",
        f"{x} = F.layer_norm(self.{x}.weight, {x}.shape[-2:], eps=1e-05) * self.{x}.weight + self.{x}.bias",
        f"{x} = ({x} + {x} + self.{x}.{x}) / 2",
        f"{x} = self.{x}.weight.{x} < self.{x}.bias",
        f"{x} = torch.where({x} < 0, self.{x}.weight * self.{x}.{x}.bias + 0.5, {x})",
        f"{x} = torch.where({x} < 0, other=self.{x}.weight * self.{x}.{x}.bias + 0.5)",
    ]
    text = "\n".join("\n".join(statement(line, 0)) for line in lines) + "\n"
    path = tmp_path / "lines.py"
    path.write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", path],
        check=True,
        capture_output=True,
    )
    assert path.read_text(encoding="utf-8") == text


def test_a_standalone_module_needs_torch_only(calibrated: Calibrated, tmp_path: Path) -> None:
    made, encodings, batch = calibrated
    path = load_backend("torch").build(made.model, made.plan, tmp_path, encodings, standalone=True)[0]
    expected = next(iter(load_backend("torch").run(path, [batch])))
    np.savez(tmp_path / "batch.npz", *batch.values())
    script = (
        "import sys\n"
        "for name in ('qsimc', 'qsimc_torch', 'qsimc_onnx', 'onnx', 'safetensors'): sys.modules[name] = None\n"
        "import numpy, torch, runpy\n"
        f"names = runpy.run_path({path.name!r})\n"
        "cls = next(v for v in names.values() if isinstance(v, type) and 'outputs' in vars(v))\n"
        f"model = cls.load({path.stem.removesuffix('_quantsim') + '.safetensors'!r})\n"
        "inputs = numpy.load('batch.npz').values()\n"
        "numpy.save('made.npy', model(*map(torch.from_numpy, inputs)).detach().numpy())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ""})
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy"), next(iter(expected.values())))


# ── what PyTorch can do with them ────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def simulation() -> tuple[Simulation, Tensor]:
    net, _ = resnet()
    batch = {"x": images((8, 3, 32, 32))}
    from qsimc.pipeline.calibrate import calibrate

    with session(str(CONFIG), f"{__name__}:resnet", choices("int8", "int8", "minmax", "fixed")) as made:
        encodings = calibrate(made.backend, made.model, made.plan, [batch], lambda _: None).encodings
        return qsimc.torch.build(made.plan, net, encodings), torch.from_numpy(batch["x"])


def test_a_live_module_keeps_the_names_of_its_parameters(simulation: tuple[Simulation, Tensor]) -> None:
    net, _ = resnet()
    assert {*dict(simulation[0].named_parameters())} == {*dict(net.named_parameters())}
    for name, parameter in net.named_parameters():
        assert torch.equal(simulation[0].get_parameter(name), parameter)


def test_a_plan_for_another_model_is_refused(simulation: tuple[Simulation, Tensor]) -> None:
    with (
        session(str(CONFIG), str(DEMO / "digits.onnx"), choices("int8", "int8", "minmax", "fixed")) as made,
        pytest.raises(ValueError, match="another model"),
    ):
        qsimc.torch.build(made.plan, nn.Flatten())


def test_a_copy_computes_the_same(simulation: tuple[Simulation, Tensor]) -> None:
    model, x = simulation
    copied = copy.deepcopy(model)
    for quantizer in copied.quantizers():
        quantizer.encode(quantizer.scale * 2, quantizer.zero_point)
    assert not torch.equal(copied(x), model(x))
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied(x), model(x))


def test_a_module_can_be_exported_and_compiled(simulation: tuple[Simulation, Tensor]) -> None:
    model, x = simulation
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)
        assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), expected)


def test_weights_and_ranges_can_be_trained(simulation: tuple[Simulation, Tensor]) -> None:
    model, x = copy.deepcopy(simulation[0]), simulation[1]
    with torch.no_grad():
        target = model(x) + 1
    model.learn_ranges()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    untrained = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all("running" in name for name in untrained)
    model.freeze()
    assert {*model.encodings()} == {tensor for q in model.quantizers() for tensor in q.tensors}


# ── details ──────────────────────────────────────────────────────────────────────────────────


def test_tensors_that_share_a_quantizer_share_a_submodule(tmp_path: Path) -> None:
    proto = model_of(
        [make_node("Relu", ["x"], ["y"]), make_node("Neg", ["y"], ["z"])], [value("x", [2])], [value("z", [2])]
    )
    model = opened_proto(proto, tmp_path)
    plan = plan_of(model, dict.fromkeys(("x", "y", "z"), INT8), {"y": "x"})
    (first, second) = filled(generated_of(model, plan, {}), model).quantizers()
    assert (first.tensors, second.tensors) == (("x", "y"), ("z",))


def test_an_encoding_of_its_own_makes_a_quantizer_of_its_own(tmp_path: Path) -> None:
    proto = model_of([make_node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2])])
    model = opened_proto(proto, tmp_path)
    plan = plan_of(model, dict.fromkeys(("x", "y"), INT8), {"y": "x"})
    one = Encoding(np.array([0.5]), np.array([0]), 0, 255, 8, False)
    made = filled(generated_of(model, plan, {"x": one, "y": replace(one, scale=np.array([0.25]))}), model)
    assert [quantizer.encoding()["scale"] for quantizer in made.quantizers()] == [[0.5], [0.25]]


def test_nothing_is_written_of_a_model_with_unknown_operators(tmp_path: Path) -> None:
    unknown = ("ImageDecoder", "TfIdfVectorizer")
    nodes = [make_node(op, ["x"], [f"{op}.{n}"], name=f"/{op}/{n}") for op in unknown for n in range(7)]
    proto = model_of(nodes, [value("x", [2])], [value("ImageDecoder.0", [2]), value("TfIdfVectorizer.1", [2])])
    model = opened_proto(proto, tmp_path)
    with pytest.raises(qsimc.InputError) as refusal:
        build(model, plan_of(model, {}), tmp_path / "out")
    assert [finding.message for finding in refusal.value.findings] == [
        "`ImageDecoder` has no PyTorch expression",
        "`TfIdfVectorizer` has no PyTorch expression",
    ]
    assert refusal.value.findings[0].notes[0].endswith("and 2 more")
    assert not (tmp_path / "out").exists()


def test_quantize_writes_a_module_in_place_of_an_onnx_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = str(DEMO / "digits_calibration.npz")
    result = qsimc.quantize(str(CONFIG), model=str(DEMO / "digits.onnx"), data=data, out=str(out), backend="torch")
    names = {path.name for path in out.iterdir()}
    assert {"digits_quantsim.py", "digits.safetensors", "plan.json", "encodings.json", "report.html"} <= names
    assert not [name for name in names if name.endswith(".onnx")]
    model = opened(out / "digits_quantsim.py")
    assert all(isinstance(quantizer, FakeQuantize) and quantizer.calibrated for quantizer in model.quantizers())
    for tensor, entry in model.encodings().items():
        assert entry["scale"] == result.encodings[tensor].scale.tolist()
        assert entry["zero_point"] == result.encodings[tensor].zero_point.tolist()
