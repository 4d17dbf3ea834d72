"""A module becomes an ONNX file whose parameters are those of `state_dict`, or a diagnostic says why not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", minversion="2.6")
pytest.importorskip("onnxscript")

import onnx
import onnxruntime
import torch
from qsimc_torch import capture
from torch import nn

from qsimc.diagnostics import Diagnostic, Severity


class Classifier(nn.Module):
    """Convolution, batch norm, linear layers with and without bias, and a buffer called like an operator."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(8, 5)
        self.head = nn.Linear(5, 4, bias=False)
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.pool(self.stem(image - self.mean)).flatten(1)
        scores: torch.Tensor = self.head(self.hidden(features)) * self.scale
        return scores


class Tied(nn.Module):
    """An embedding whose weight is the output layer's as well, and a linear layer over three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.query = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.query(self.embedding(ids))) * mask[..., None]
        scores: torch.Tensor = self.head(hidden)
        return scores


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.shape[0] > 5 else -x


class FixedView(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(2, 3) + torch.ones(2, 3)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> Any:
        return self.cell(x, state)  # an output and a state


class DataDependent(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Untranslatable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.svd(x)[1]
        return values


class Optional(nn.Module):
    def forward(self, x: torch.Tensor, *, gain: torch.Tensor | None = None, negate: bool = False) -> torch.Tensor:
        y = x if gain is None else x * gain
        return -y if negate else y


class Many(nn.Module):
    def forward(self, *parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return parts[0] + parts[1], parts[0] - parts[1]


def classifier() -> Any:
    torch.manual_seed(0)
    return Classifier(), torch.rand(1, 3, 8, 8)


def tied() -> Any:
    torch.manual_seed(0)
    return Tied(), (torch.randint(0, 20, (2, 6)), torch.ones(2, 6))


def captured(factory: Callable[[], Any], out: Path, **options: Any) -> tuple[onnx.ModelProto, list[Diagnostic]]:
    found: list[Diagnostic] = []
    path = capture(factory, out, found.append, **options)
    assert path is not None, found
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model, found


def refused(factory: Callable[[], Any] | str, out: Path) -> Diagnostic:
    found: list[Diagnostic] = []
    assert capture(factory, out, found.append) is None
    assert list(out.iterdir()) == []
    (finding,) = found
    assert finding.severity is Severity.ERROR
    return finding


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def runs_like(module: nn.Module, path: Path, *inputs: torch.Tensor) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    with torch.no_grad():
        expected = module.eval()(*inputs).numpy()
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of both example models, exported once for the tests that only look."""
    out = tmp_path_factory.mktemp("captured")
    for factory in (classifier, tied):
        assert captured(factory, out)[1] == []
    return out


def test_every_parameter_keeps_its_name_and_value(folder: Path) -> None:
    model = onnx.load(folder / "Classifier.onnx")
    module = classifier()[0]
    state = {k: v.numpy() for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    assert state.keys() <= weights.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(weights[name], value)


def test_every_parameter_is_read_by_the_operator_it_belongs_to(folder: Path) -> None:
    model = onnx.load(folder / "Classifier.onnx")
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    assert {
        name: readers[name] for name in ("stem.0.weight", "stem.1.running_var", "hidden.weight", "head.weight")
    } == {
        "stem.0.weight": "Conv",
        "stem.1.running_var": "BatchNormalization",
        "hidden.weight": "Gemm",
        "head.weight": "Gemm",
    }


def test_tied_parameters_are_one_under_the_first_name(folder: Path) -> None:
    model = onnx.load(folder / "Tied.onnx")
    names = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    assert names == {name for name, _ in Tied().named_parameters()}
    readers = {node.op_type for node in model.graph.node if "embedding.weight" in node.input}
    assert readers == {"Gather", "Transpose"}


def test_a_linear_layer_over_three_axes_transposes_its_own_weight(folder: Path) -> None:
    model = onnx.load(folder / "Tied.onnx")
    (node,) = [node for node in model.graph.node if "query.weight" in node.input]
    (reader,) = [other for other in model.graph.node if node.output[0] in other.input]
    assert (node.op_type, reader.op_type) == ("Transpose", "MatMul")


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_file_computes_what_the_module_computes(samples: int, folder: Path) -> None:
    runs_like(classifier()[0], folder / "Classifier.onnx", torch.rand(samples, 3, 8, 8))
    ids, mask = torch.randint(0, 20, (samples, 6)), torch.rand(samples, 6)
    runs_like(tied()[0], folder / "Tied.onnx", ids, mask)


def test_no_operator_serves_the_exporter_only(folder: Path) -> None:
    model = onnx.load(folder / "Classifier.onnx")
    operators = "Sub Conv BatchNormalization Clip ReduceMean Reshape Gemm Gemm Mul"
    assert [node.op_type for node in model.graph.node] == operators.split()
    (convolution,) = [node for node in model.graph.node if node.op_type == "Conv"]
    assert list(convolution.input)[1:] == ["stem.0.weight"]  # no bias was asked for, none is made up


def test_names_lead_back_to_the_module(folder: Path) -> None:
    model = onnx.load(folder / "Classifier.onnx")
    names = {node.name for node in model.graph.node}
    assert {"/Sub", "/stem.0/Conv", "/stem.1/BatchNormalization", "/stem.2/Clip", "/hidden/Gemm", "/head/Gemm"} <= names
    assert {node.name: list(node.output) for node in model.graph.node}["/stem.2/Clip"] == ["/stem.2/Clip_output_0"]
    assert ([i.name for i in model.graph.input], [o.name for o in model.graph.output]) == (["image"], ["output"])
    assert model.graph.name == "Classifier"


def test_the_batch_axis_of_every_input_is_open(folder: Path) -> None:
    model = onnx.load(folder / "Tied.onnx")
    assert {i.name: shape(i) for i in model.graph.input} == {"ids": ["batch", 6], "mask": ["batch", 6]}
    assert [shape(o) for o in model.graph.output] == [["batch", 6, 20]]


def test_arguments_may_be_given_by_name(tmp_path: Path) -> None:
    def factory() -> Any:
        return Optional(), {"x": torch.rand(2, 3), "gain": torch.rand(2, 1), "negate": True}

    model, found = captured(factory, tmp_path)
    assert found == []
    assert {i.name: shape(i) for i in model.graph.input} == {"x": ["batch", 3], "gain": ["batch", 1]}


def test_any_number_of_arguments_will_do(tmp_path: Path) -> None:
    model, found = captured(lambda: (Many(), (torch.rand(2, 3), torch.rand(2, 3))), tmp_path)
    assert found == []
    assert [shape(i) for i in model.graph.input] == [["batch", 3]] * 2
    assert [o.name for o in model.graph.output] == ["output_0", "output_1"]


def test_the_same_module_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    captured(classifier, tmp_path)
    assert (tmp_path / "Classifier.onnx").read_bytes() == (folder / "Classifier.onnx").read_bytes()


def test_the_file_tells_nothing_about_the_machine(folder: Path) -> None:
    content = (folder / "Classifier.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert b".py" not in content


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = Classifier()
    module.train()
    module.hidden.eval()
    captured(lambda: (module, torch.rand(1, 3, 8, 8)), tmp_path)
    assert (module.training, module.stem.training, module.hidden.training) == (True, True, False)


@pytest.mark.parametrize("factory", [classifier, lambda: (DataDependent(), torch.rand(2, 3))])
def test_nothing_is_printed(factory: Callable[[], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capture(factory, tmp_path, list[Diagnostic]().append)
    assert capfd.readouterr() == ("", "")


def test_large_weights_go_beside_the_model(tmp_path: Path) -> None:
    captured(classifier, tmp_path, inline_limit=100)
    assert {path.name for path in tmp_path.iterdir()} == {"Classifier.onnx", "Classifier.onnx.data"}
    runs_like(classifier()[0], tmp_path / "Classifier.onnx", torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (lambda: (FixedView(), torch.rand(2, 3)), ""),
        (
            lambda: (Branches(), torch.rand(2, 3)),
            "`forward` branches on the batch size, and its trace holds for 0 to 5",
        ),
        (lambda: (Recurrent(), (torch.rand(1, 3, 4), torch.rand(1, 1, 5))), ""),
    ],
    ids=["view", "branch", "state"],
)
def test_a_batch_that_must_stay_fixed_is_a_warning(factory: Callable[[], Any], why: str, tmp_path: Path) -> None:
    model, found = captured(factory, tmp_path)
    size = factory()[1][0].shape[0] if isinstance(factory()[1], tuple) else len(factory()[1])
    (finding,) = found
    assert (finding.code, finding.severity) == ("Q0512", Severity.WARNING)
    assert finding.message.endswith(f"could be exported for batches of {size} only")
    assert finding.notes[0].startswith(why)
    assert all(shape(i)[0] == size for i in model.graph.input)


@pytest.mark.parametrize(
    ("module", "words"),
    [(DataDependent(), "data-dependent"), (Untranslatable(), "_linalg_svd"), (nn.Linear(4, 4), "reduction dim")],
    ids=["data", "operator", "shape"],
)
def test_a_module_that_cannot_be_exported_is_told_in_two_lines(module: nn.Module, words: str, tmp_path: Path) -> None:
    finding = refused(lambda: (module, torch.rand(2, 3)), tmp_path)
    assert (finding.code, finding.name) == ("Q0511", "torch-export")
    assert finding.message == f"`{type(module).__name__}` cannot be exported to ONNX"
    assert words in finding.notes[0]
    assert len(finding.notes) <= 2
    assert all("\n" not in note and len(note) < 400 for note in finding.notes)


def test_the_line_that_stopped_the_export_is_named(tmp_path: Path) -> None:
    finding = refused(lambda: (DataDependent(), torch.rand(2, 3)), tmp_path)
    assert f"{__file__}:" in finding.notes[1]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda: 7, "returned a `int`, not an `nn.Module` and example inputs"),
        (lambda: (1, 2, 3), "returned a `tuple`, not an `nn.Module` and example inputs"),
        (lambda: nn.ReLU(), "returned a `ReLU` without example inputs"),
        (lambda: (nn.ReLU, torch.rand(1)), "returned the class `ReLU`, not an instance of it"),
        (lambda: (torch.rand(1), nn.ReLU()), "returned a `Tensor` where the `nn.Module` belongs"),
        (lambda: (nn.ReLU(), 7), "returned a `int` as example inputs, not a tensor, a tuple or a mapping"),
        (lambda: (nn.ReLU(), ("a",)), "returned example inputs without a tensor"),
        (lambda: (nn.ReLU(), ()), "do not fit `ReLU.forward(input)`"),
        (lambda: (nn.ReLU(), {"y": torch.rand(1)}), "do not fit `ReLU.forward(input)`"),
        (lambda: None, "returned nothing"),
        (lambda: 1 / 0, "raised an exception"),
    ],
)
def test_a_factory_that_returns_the_wrong_thing_is_told(
    returned: Callable[[], Any], words: str, tmp_path: Path
) -> None:
    finding = refused(returned, tmp_path)
    assert finding.code == "Q0510"
    assert words in finding.message


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module `their_model` in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path / "their_model.py"
    sys.modules.pop("their_model", None)


def test_a_model_is_found_by_reference(theirs: Path, tmp_path: Path) -> None:
    theirs.write_text("import torch\ndef make():\n    return torch.nn.Linear(4, 2), torch.rand(1, 4)\n")
    found: list[Diagnostic] = []
    assert capture("their_model:make", tmp_path / "out", found.append) == tmp_path / "out" / "Linear.onnx"
    assert found == []


def test_a_reference_to_nothing_is_told(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert refused("their_model:make", tmp_path / "out").message == "no Python module `their_model`"
