"""Port graphs of live PyTorch modules: models that AIMET's plans exist for, and how models can be written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from qsimc_torch.ports import capture_ports
from torch import Tensor, nn

from qsimc.diagnostics import Diagnostic
from qsimc.planning.plan import Mode
from qsimc.planning.torch.graph import PortGraph
from qsimc.planning.torch.resolve import resolve_ports
from qsimc.planning.why import why
from tests.backends import torch_models
from tests.unit.torch_plans import (
    CONFIGS,
    ORACLE,
    config_at,
    differences,
    shared_cases,
    shipped_cases,
    shipped_graph,
)


def ports_of(module: nn.Module, *inputs: Any) -> PortGraph:
    findings: list[Diagnostic] = []
    graph = capture_ports(lambda: (module, inputs), findings.append)
    assert graph is not None, findings
    return graph


def calls_of(graph: PortGraph) -> list[tuple[str, str | None]]:
    return [(call.type, call.module) for call in graph.in_order]


# ── AIMET's own plans ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", torch_models.MODELS)
def test_a_live_module_gives_the_plans_that_aimet_made(model: str) -> None:
    graph = ports_of(*_example(model))
    wrong = {str(case): found for case in shipped_cases(model) if (found := differences(case, graph))}
    assert wrong == {}


@pytest.mark.skipif(not ORACLE.exists(), reason="AIMET's whole set of plans is not part of the project")
@pytest.mark.parametrize("model", torch_models.MODELS)
def test_a_live_module_gives_every_plan_that_aimet_made(model: str) -> None:
    graph = ports_of(*_example(model))
    path = ORACLE / "public" / f"{model}.torch.json"
    wrong = {str(case): found for case in shared_cases(path) if (found := differences(case, graph))}
    assert wrong == {}


@pytest.mark.parametrize("model", torch_models.MODELS)
def test_a_live_module_has_the_modules_and_the_calls_that_aimet_sees(model: str) -> None:
    ours, theirs = ports_of(*_example(model)), shipped_graph(model)
    assert ours.modules == theirs.modules
    assert [(c.type, c.module, c.groups) for c in ours.calls] == [(c.type, c.module, c.groups) for c in theirs.calls]
    assert _edges(ours) == _edges(theirs)


def _example(model: str) -> tuple[Any, ...]:
    module, inputs = torch_models.MODELS[model]()
    return (module, *inputs)


def _edges(graph: PortGraph) -> list[list[int]]:
    """Return which calls read what each call computes, by place."""
    place = {call.name: i for i, call in enumerate(graph.calls)}
    return [[place[reader.name] for reader in graph.readers(call)] for call in graph.calls]


# ── how models are written ───────────────────────────────────────────────────────────────────


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(self.act(x)))  # type: ignore[no-any-return]


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Block()
        self.rest = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Sequential(nn.Tanh()))

    def forward(self, x: Tensor) -> dict[str, Tensor] | Tensor:
        return self.rest(self.first(x))  # type: ignore[no-any-return]


def test_modules_go_by_their_full_names() -> None:
    graph = ports_of(Nested(), torch.rand(2, 4))
    assert list(graph.modules) == ["first.fc", "first.act", "rest.0", "rest.1", "rest.2.0"]


def test_a_module_that_is_called_twice_has_two_calls() -> None:
    graph = ports_of(Nested(), torch.rand(2, 4))
    assert calls_of(graph)[:3] == [("Relu", "first.act"), ("Gemm", "first.fc"), ("Relu", "first.act")]
    assert graph.times_called["first.act"] == 2


def test_an_identity_is_no_step() -> None:
    graph = ports_of(Nested(), torch.rand(2, 4))
    assert calls_of(graph)[3:] == [("Gemm", "rest.0"), ("Tanh", "rest.2.0")]


def test_a_part_that_is_called_twice_is_entered_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(x))  # type: ignore[no-any-return]

    graph = ports_of(Twice(), torch.rand(2, 4))
    assert graph.times_called == {"block.act": 4, "block.fc": 2}
    assert [len(graph.readers(call)) for call in graph.calls] == [1, 1, 1, 1, 1, 0]


def test_a_module_under_two_names_has_the_first() -> None:
    class Alias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.two = self.one

        def forward(self, x: Tensor) -> Tensor:
            return self.two(x)  # type: ignore[no-any-return]

    assert calls_of(ports_of(Alias(), torch.rand(2, 4))) == [("Gemm", "one")]


def test_functions_are_calls_without_a_module() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x).reshape(4, 2)
            y += 1.0
            return torch.cat([y, y * 2.0], 1)

    graph = ports_of(Functions(), torch.rand(2, 4))
    assert calls_of(graph) == [("Gemm", "fc"), ("reshape", None), ("Add", None), ("Mul", None), ("Concat", None)]
    assert [call.inputs[0].source for call in graph.calls if call.is_split] == ["Add_2"]


def test_outputs_are_known_by_their_calls() -> None:
    graph = ports_of(*_example("multi_io"))
    assert [graph.by_name[name].module for name in graph.outputs] == ["c3", "r"]


def test_inputs_may_be_given_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.fc(x) * scale  # type: ignore[no-any-return]

    findings: list[Diagnostic] = []
    inputs = {"scale": torch.ones(1), "x": torch.rand(2, 4)}
    graph = capture_ports(lambda: (Named(), inputs), findings.append)
    assert graph is not None, findings
    assert calls_of(graph) == [("Gemm", "fc"), ("Mul", None)]


def test_a_constant_above_zero_is_known_as_such() -> None:
    class Scaled(nn.Module):
        factor: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("factor", torch.tensor(0.5))
            self.mul = torch_models.Multiply()
            self.neg = torch_models.Multiply()

        def forward(self, x: Tensor) -> Tensor:
            return self.neg(self.mul(x, self.factor), -1.0)  # type: ignore[no-any-return]

    first, second = ports_of(Scaled(), torch.rand(2, 4)).in_order
    assert [edge.positive_scalar for edge in (*first.inputs, *second.inputs)] == [False, True, False, False]


def test_a_class_of_the_users_own_is_one_module() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    graph = ports_of(nn.Sequential(nn.Linear(4, 4), Swish()), torch.rand(2, 4))
    assert [call.module for call in graph.calls] == ["0", "1"]
    assert not graph.modules["1"].known
    findings: list[Diagnostic] = []
    config = config_at(CONFIGS / "h_min_asym.json")
    assert resolve_ports(config, graph, findings.append, mode=Mode.VENDOR) is None
    assert [d.code for d in findings] == ["Q0536"]


def test_a_module_is_left_in_the_mode_it_had() -> None:
    module = Nested().train()
    module.rest.eval()
    ports_of(module, torch.rand(2, 4))
    assert (module.training, module.first.training, module.rest.training) == (True, True, False)


def test_a_module_that_fails_is_reported_with_the_line() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no such luck")

    findings: list[Diagnostic] = []
    assert capture_ports(lambda: (Broken(), (torch.rand(1),)), findings.append) is None
    assert [d.code for d in findings] == ["Q0513"]
    assert findings[0].notes[0] == "ValueError: no such luck"
    assert "test_torch_ports.py" in findings[0].notes[1]


def test_a_module_may_return_a_mapping_and_print(capsys: pytest.CaptureFixture[str]) -> None:
    class Talkative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            print("running")
            return {"y": self.fc(x), "x": x}

    graph = ports_of(Talkative(), torch.rand(2, 4))
    assert graph.outputs == ("Gemm_0",)
    assert capsys.readouterr().out == ""


def test_a_plan_of_a_live_module_explains_itself() -> None:
    findings: list[Diagnostic] = []
    plan = resolve_ports(config_at(CONFIGS / "h_min_asym.json"), ports_of(*_example("mlp")), findings.append)
    assert plan is not None
    assert "`fc1.weight`, weight of `fc1` (Gemm), is quantized" in why(plan.as_plan(), "fc1.weight").sentence
