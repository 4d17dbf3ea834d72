"""The dialect of aimet_torch: plans of module ports, held against those that aimet_torch 2.42.0 itself made."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from qsimc import explain, resources
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats import read
from qsimc.ir.config import Config
from qsimc.planning.dump import plan_text, read_plan
from qsimc.planning.plan import Kind, Mode
from qsimc.planning.torch import rules
from qsimc.planning.torch.facts import port_graph_from_facts
from qsimc.planning.torch.graph import Call, Edge, Feed, Module, PortGraph, call_type, with_splits
from qsimc.planning.torch.plan import PortPlan
from qsimc.planning.torch.resolve import resolve_ports
from qsimc.planning.why import why
from qsimc.source import Source
from qsimc.spec.operators import names
from qsimc.spec.torch_classes import TorchClass, TorchClasses, torch_classes
from tests.unit.torch_plans import (
    ORACLE,
    ROOT,
    differences,
    shared_cases,
    shipped,
    shipped_cases,
    shipped_graph,
    shipped_models,
)

# ── AIMET's own plans ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", shipped_models())
def test_shipped_plans_are_aimets(model: str) -> None:
    graph = shipped_graph(model)
    wrong = {str(case): found for case in shipped_cases(model) if (found := differences(case, graph))}
    assert wrong == {}


def _recorded() -> list[Path]:
    """Return a file per model; the recording's folder where it holds none, which is skipped or fails."""
    return sorted(ORACLE.glob("*/*.torch.json")) or [ORACLE]


@pytest.mark.skipif(not ORACLE.exists(), reason="AIMET's whole set of plans is not part of the project")
@pytest.mark.parametrize("path", _recorded(), ids=lambda path: path.name.split(".")[0])
def test_every_plan_of_aimets_is_ours(path: Path) -> None:
    facts = json.loads(path.with_name(path.name.replace(".torch.json", ".torch_graph.json")).read_text())
    graph = port_graph_from_facts(facts)
    wrong = {str(case): found for case in shared_cases(path) if (found := differences(case, graph))}
    assert wrong == {}


# ── what is known about classes ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", shipped_models())
def test_the_table_of_classes_says_what_aimet_says(model: str) -> None:
    graph = shipped_graph(model)
    for name, facts in shipped(model)["facts"]["modules"].items():
        row = graph.modules[name].row
        assert (list(row.onnx) or None, row.backend or None) == (facts["onnx_types"], facts["backend_type"])
        assert (row.inputs, row.outputs) == (facts["n_inputs_realized"], facts["n_outputs_realized"])
        assert (row.any_inputs, row.math_invariant) == (facts["dynamic_inputs"], facts["math_invariant"])


@pytest.mark.parametrize("model", shipped_models())
def test_a_value_is_quantized_where_aimet_thinks_so(model: str) -> None:
    graph = shipped_graph(model)
    for op in shipped(model)["facts"]["ops"]:
        edges = graph.by_name[op["name"]].inputs
        assert [graph.is_quantized(edge) for edge in edges] == [product["is_quantized"] for product in op["inputs"]]


@pytest.mark.parametrize("model", shipped_models())
def test_the_type_of_a_modules_calls_follows_from_its_class(model: str) -> None:
    graph = shipped_graph(model)
    for call in graph.calls:
        assert call.module is None or call.type == call_type(graph.modules[call.module].cls)


@pytest.mark.parametrize("model", shipped_models())
def test_splits_stand_where_aimet_puts_them(model: str) -> None:
    graph = shipped_graph(model)
    source_of = {call.name: call.inputs[0].source for call in graph.calls if call.is_split}
    plain = [
        Call(c.name, c.type, c.module, tuple(_unsplit(edge, source_of) for edge in c.inputs), c.groups)
        for c in graph.in_order
    ]
    again = PortGraph(graph.name, graph.modules, with_splits(plain))
    ours = {call.name: [reader.name for reader in again.readers(call)] for call in again.calls}
    assert ours == {call.name: [reader.name for reader in graph.readers(call)] for call in graph.calls}


def _unsplit(edge: Edge, source_of: Mapping[str, str]) -> Edge:
    return Edge(edge.name, edge.feed, source_of.get(edge.source, edge.source), edge.shape)


# ── small models ─────────────────────────────────────────────────────────────────────────────


def chain(*classes: str, outputs: tuple[str, ...] = (), **options: Any) -> PortGraph:
    """Return modules in a row, called `m0`, `m1`, ...; weights are [4, 4]."""
    modules = {f"m{i}": _module(f"m{i}", cls, **options) for i, cls in enumerate(classes)}
    calls: list[Call] = []
    for module in modules.values():
        data = Edge(f"to_{module.name}", Feed.CALL, calls[-1].name) if calls else Edge("x", Feed.INPUT, shape=(1, 4))
        calls.append(Call(f"call_{module.name}", call_type(module.cls), module.name, (data,)))
    return PortGraph("chain", modules, with_splits(calls), outputs)


def _module(name: str, cls: str, **options: Any) -> Module:
    weights: dict[str, tuple[int, ...]] = {"weight": (4, 4), "bias": (4,)} if cls in ("nn.Linear", "nn.Conv2d") else {}
    return Module(name, cls, params=options.pop("params", weights), **options)


def config_of(sections: Mapping[str, Any]) -> Config:
    empty: dict[str, Any] = {"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {}}
    empty |= {"supergroups": [], "model_input": {}, "model_output": {}}
    findings: list[Diagnostic] = []
    config = read(Source("cfg.json", json.dumps(empty | dict(sections), indent=1)), findings.append)
    assert config is not None, findings
    return config


def outcome(
    sections: Mapping[str, Any], graph: PortGraph, mode: Mode = Mode.FIXED
) -> tuple[PortPlan | None, list[Diagnostic]]:
    findings: list[Diagnostic] = []
    return resolve_ports(config_of(sections), graph, findings.append, mode=mode), findings


def plan_of(sections: Mapping[str, Any], graph: PortGraph, mode: Mode = Mode.FIXED) -> PortPlan:
    plan, findings = outcome(sections, graph, mode)
    assert plan is not None, findings
    return plan


ON = {"defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_quantized": "True"}}}


def enabled(plan: PortPlan) -> list[str]:
    return [port for port, p in plan.ports.items() if p.spec.enabled]


def test_ports_come_module_by_module_inputs_params_outputs() -> None:
    plan = plan_of({}, chain("nn.Linear", "nn.ReLU"))
    assert list(plan.ports) == ["m0.input[0]", "m0.weight", "m0.bias", "m0.output[0]", "m1.input[0]", "m1.output[0]"]
    assert [p.kind for p in plan.ports.values()][:2] == [Kind.INPUT, Kind.PARAM]


def test_a_linear_answers_to_gemm_to_matmul_and_to_its_backend_name() -> None:
    for name in ("Gemm", "MatMul", "FullyConnected"):
        assert enabled(plan_of({"op_type": {name: {"is_output_quantized": "True"}}}, chain("nn.Linear"))) == [
            "m0.output[0]"
        ]


def test_an_onnx_entry_takes_the_place_of_the_backend_entry() -> None:
    both = {"Conv": {"is_output_quantized": "True"}, "Conv2d": {"is_input_quantized": "True"}}
    assert enabled(plan_of({"op_type": both}, chain("nn.Conv2d"))) == ["m0.output[0]"]


def test_a_conv_entry_does_not_reach_conv3d() -> None:
    assert enabled(plan_of({"op_type": {"Conv": {"is_output_quantized": "True"}}}, chain("nn.Conv3d"))) == []


def test_only_weight_and_bias_can_be_named() -> None:
    graph = chain("nn.LSTM", params={"weight_ih_l0": (4, 4)})
    plan = plan_of({"params": {"weight": {"is_quantized": "True"}, "weight_ih_l0": {"is_quantized": "True"}}}, graph)
    assert enabled(plan) == []


def test_switching_an_output_off_reaches_the_inputs_that_read_it() -> None:
    sections = {
        **ON,
        "op_type": {"Conv": {"is_output_quantized": "False"}},
        "model_input": {"is_input_quantized": "True"},
    }
    plan = plan_of(sections, chain("nn.Conv2d", "nn.Sigmoid"))
    assert "m0.output[0]" not in enabled(plan)
    assert plan["m1.input[0]"].because["enabled"].rule == "Conv[output]: off"


def test_a_tie_shares_the_quantizer_of_a_relu_with_what_it_reads() -> None:
    plan = plan_of(ON, chain("nn.Linear", "nn.ReLU"))
    assert plan["m1.output[0]"].shares == "m0.output[0]"
    assert plan["m0.output[0]"].because["bits"].rule == "aimet-torch-tie"


def test_a_folded_batch_norm_takes_over_the_output() -> None:
    graph = chain("nn.Conv2d", "nn.BatchNorm2d")
    plan = plan_of(ON, graph)
    assert [port for port in enabled(plan) if "output" in port] == ["m1.output[0]"]
    assert plan["m0.output[0]"].because["enabled"].rule == "aimet-torch-fold"


def test_a_rule_can_name_a_module() -> None:
    findings: list[Diagnostic] = []
    config = read(Source("cfg.qsim", '*[output]: on\n"m1"[output]: bits=16\n'), findings.append)
    assert config is not None, findings
    plan = resolve_ports(config, chain("nn.Linear", "nn.Sigmoid"), findings.append)
    assert plan is not None
    assert (plan["m0.output[0]"].spec.bits, plan["m1.output[0]"].spec.bits) == (8, 16)


def test_every_decision_has_a_reason() -> None:
    for model in shipped_models():
        for port in plan_of(ON, shipped_graph(model)).ports.values():
            assert set(port.because) >= {
                "enabled",
                "type",
                "bits",
                "signed",
                "symmetric",
                "per_channel",
                "range",
                "calib",
            }
            for field, reason in port.because.items():
                last = next(d for d in reversed(port.history) if d.field == field)
                assert last.reason == reason


def test_a_plan_of_ports_is_explained_and_written_like_one_of_tensors() -> None:
    plan = plan_of(ON, chain("nn.Linear", "nn.ReLU")).as_plan()
    assert "is quantized: int8" in why(plan, "m1.output[0]").sentence
    document = json.loads("".join(plan_text(plan, config={}, model="m")))
    assert [t["tensor"] for t in document["tensors"]] == list(plan.tensors)
    assert read_plan(document, plan.graph).tensors["m0.weight"].spec == plan.tensors["m0.weight"].spec


def test_the_call_of_a_function_says_why_it_has_no_quantizer() -> None:
    plan = plan_of(ON, shipped_graph("data_movement")).as_plan()
    answer = why(plan, "reshape_5")
    assert not answer.quantized
    assert answer.fields[0].winner.reason.rule == "aimet-torch-function"


# ── where AIMET fails or errs ────────────────────────────────────────────────────────────────

TWO_CALLS = PortGraph(
    "twice",
    {"act": Module("act", "nn.Sigmoid")},
    (
        Call("a", "Sigmoid", "act", (Edge("x", Feed.INPUT, shape=(1,)),)),
        Call("b", "Sigmoid", "act", (Edge("a_to_b", Feed.CALL, "a"),)),
    ),
)

FUNCTION = PortGraph(
    "function",
    {"fc": _module("fc", "nn.Linear")},
    (
        Call("fc0", "Gemm", "fc", (Edge("x", Feed.INPUT, shape=(1, 4)),)),
        Call("add1", "Add", None, (Edge("y", Feed.CALL, "fc0"), Edge("c", Feed.CONSTANT, known=True))),
    ),
)

FAILURES: Mapping[str, tuple[Mapping[str, Any], PortGraph]] = {
    "Q0530": (
        {"op_type": {"Tanh": {"is_symmetric": "True"}, "Sigmoid": {"is_symmetric": "False"}}},
        chain("nn.Tanh", "nn.Sigmoid"),
    ),
    "Q0531": ({"op_type": {"Relu": {"encoding_constraints": {"min": 6.0, "max": 0.0}}}}, chain("nn.ReLU")),
    "Q0532": (
        {
            "defaults": {
                **ON["defaults"],
                "params": {"is_quantized": "True", "is_symmetric": "True"},
                "strict_symmetric": "True",
            }
        },
        chain("nn.Linear"),
    ),
    "Q0533": ({"op_type": {"Add": {"params": {"bias": {"is_quantized": "True"}}}}}, FUNCTION),
    "Q0536": (ON, PortGraph("own", {"m": Module("m", "pkg.Swish", known=False)}, ())),
}

SAYS = {
    "Q0530": ("AssertionError", "Conflicting tensor quantizer settings for is_symmetric"),
    "Q0531": ("AssertionError", "Min value 6.0 is not less than max val 0.0"),
    "Q0532": ("AssertionError", "Strict symmetric is not supported in quantsim v2"),
    "Q0533": ("AssertionError", "No module provided to set params for"),
    "Q0536": ("RuntimeError", "The quantized module definition of pkg.Swish is not registered."),
}


@pytest.mark.parametrize("code", FAILURES)
def test_vendor_mode_stops_with_aimets_words(code: str) -> None:
    plan, findings = outcome(*FAILURES[code], Mode.VENDOR)
    assert plan is None
    assert [(d.code, d.severity) for d in findings] == [(code, Severity.ERROR)]
    assert findings[0].vendor is not None
    assert (findings[0].vendor.id, findings[0].vendor.text) == SAYS[code]


@pytest.mark.parametrize("code", FAILURES)
def test_fixed_mode_goes_on_with_a_warning(code: str) -> None:
    plan, findings = outcome(*FAILURES[code])
    assert plan is not None
    assert [(d.code, d.severity) for d in findings] == [(code, Severity.WARNING)]


def test_of_conflicting_rules_fixed_mode_obeys_the_later() -> None:
    plan = plan_of(*FAILURES["Q0530"])
    assert not plan["m0.output[0]"].spec.symmetric


def test_fixed_mode_builds_the_strict_grid() -> None:
    plan = plan_of(*FAILURES["Q0532"])
    assert plan["m0.weight"].spec.narrow_range


def test_a_module_that_is_called_twice_loses_its_quantizers_in_vendor_mode_only() -> None:
    vendor, silent = outcome(ON, TWO_CALLS, Mode.VENDOR)
    fixed, findings = outcome(ON, TWO_CALLS)
    assert vendor is not None
    assert fixed is not None
    assert (enabled(vendor), silent) == ([], [])
    assert enabled(fixed) == ["act.output[0]"]
    assert [d.code for d in findings] == ["Q0535"]


def test_a_range_goes_to_the_port_that_the_rule_means_in_fixed_mode_only() -> None:
    sections = {"op_type": {"LSTM": {"is_output_quantized": "True", "encoding_constraints": {"min": -1.0, "max": 1.0}}}}
    graph = chain("nn.LSTM", outputs=(), params={})
    graph = PortGraph("lstm", {"m0": Module("m0", "nn.LSTM", inputs=1, outputs=2)}, graph.calls)
    vendor, fixed = plan_of(sections, graph, Mode.VENDOR), plan_of(sections, graph)
    assert [port for port, p in vendor.ports.items() if p.spec.range] == ["m0.input[1]", "m0.input[2]"]
    assert [port for port, p in fixed.ports.items() if p.spec.range] == ["m0.output[0]", "m0.output[1]", "m0.output[2]"]
    assert [d.code for d in outcome(sections, graph)[1]] == ["Q0534"]


def test_a_model_output_inside_a_supergroup_stays_quantized_in_fixed_mode_only() -> None:
    sections = {**ON, "supergroups": [{"op_list": ["Gemm", "Sigmoid"]}]}
    graph = chain("nn.Linear", "nn.Sigmoid", outputs=("call_m0",))
    assert "m0.output[0]" not in enabled(plan_of(sections, graph, Mode.VENDOR))
    assert "m0.output[0]" in enabled(plan_of(sections, graph))
    assert [d.code for d in outcome(sections, graph)[1]] == ["Q0524"]


def test_a_model_output_that_is_read_is_one_in_fixed_mode_only() -> None:
    sections = {"model_output": {"is_output_quantized": "True"}}
    graph = chain("nn.Tanh", "nn.Sigmoid", outputs=("call_m0", "call_m1"))
    assert enabled(plan_of(sections, graph, Mode.VENDOR)) == ["m1.output[0]"]
    assert enabled(plan_of(sections, graph)) == ["m0.output[0]", "m1.output[0]"]
    assert [d.code for d in outcome(sections, graph)[1]] == ["Q0525"]


# ── pages ────────────────────────────────────────────────────────────────────────────────────


def test_every_rule_that_a_plan_of_ports_may_name_is_listed_and_has_a_page() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "qsimc/planning/torch").glob("*.py"))
    spelled = {rule for text in sources for rule in re.findall(r'"(aimet-torch-[a-z-]+)"', text)}
    assert spelled | {rules.TIE} == set(rules.IDS)
    assert set(rules.IDS) <= set(explain.codes("rules"))


def test_the_table_of_classes_is_well_formed() -> None:
    table = tomllib.loads(resources.read("specs", "torch_classes.toml"))
    columns = set(TorchClass.__dataclass_fields__)
    assert all(set(row) <= columns for row in table["class"].values())
    assert TypeAdapter(TorchClasses).validate_python(table | {"rows": table.pop("class")}) == torch_classes()


def test_every_name_of_a_class_is_a_known_operator() -> None:
    known = {*names("onnx"), *names("aimet_torch")}
    table = torch_classes().rows.values()
    assert {name for row in table for name in row.onnx} - known == set()
    assert {row.backend for row in table if row.backend} - known == set()
