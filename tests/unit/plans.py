"""Shared by the plan tests: small models and configs as text, and AIMET's own plans to compare with."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from qsimc_onnx.graph import read_graph

from qsimc.diagnostics import Diagnostic
from qsimc.formats import read
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc.planning.resolve import resolve
from qsimc.source import Source

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "data" / "aimet_plans"
SHARED = ROOT.parent / "shared"

# precision -> (param, act)
PRECISIONS = {
    "w8a8": ("int8", "int8"),
    "w8a16": ("int8", "int16"),
    "w4a16": ("int4", "int16"),
    "fp16": ("float16", "float16"),
}


def graph_of(text: str, opset: int = 18) -> Graph:
    """Read a model written in ONNX's own text syntax, without its header."""
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>'
    return read_graph(onnx.parser.parse_model(f"{header} {text}"))


def config_of(text: str | Mapping[str, Any]) -> Config:
    """Read a config: .qsim text, or an AIMET config's sections, the missing ones empty."""
    if not isinstance(text, str):
        empty: dict[str, Any] = {"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {}}
        empty |= {"supergroups": [], "model_input": {}, "model_output": {}}
        text = json.dumps(empty | dict(text), indent=1)
        path = "cfg.json"
    else:
        path = "cfg.qsim"
    findings: list[Diagnostic] = []
    config = read(Source(path, text), findings.append)
    assert config is not None, findings
    return config


def plan_of(config: str | Mapping[str, Any], graph: str, **options: Any) -> Plan:
    """Resolve a config that must not fail."""
    plan, findings = outcome(config, graph, **options)
    assert plan is not None, findings
    return plan


def outcome(config: str | Mapping[str, Any], graph: str, **options: Any) -> tuple[Plan | None, list[Diagnostic]]:
    findings: list[Diagnostic] = []
    return resolve(config_of(config), graph_of(graph), findings.append, **options), findings


# ── AIMET's own plans ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Case:
    model: Path
    config: Path
    precision: str
    expected: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.model.stem}-{self.config.stem}-{self.precision}"


def cases(folder: Path, *configs: Path, pattern: str = "*.json", drop: Iterable[str] = ()) -> Iterator[Case]:
    """Yield the cases of a folder of AIMET's plans, rows without the columns to `drop`."""
    for path in sorted(folder.glob(pattern)):
        data = json.loads(path.read_text())
        model = folder / (data["model"] + ".onnx")
        keep = [i for i, name in enumerate(data["columns"]) if name not in drop]
        for name, expected in data["cases"].items():
            config, precision = name.split("|")
            found = next(p for c in configs if (p := c / f"{config}.json").exists())
            rows = expected.get("plan", expected)
            if "error" not in expected:
                rows = {tensor: [row[i] for i in keep] for tensor, row in rows.items()}
            yield Case(model, found, precision, rows)


@cache
def read_model(path: Path) -> Graph:
    return read_graph(onnx.load(path))


@cache
def _config(path: Path) -> Config:
    return config_of(json.loads(path.read_text()))


def differences(case: Case) -> list[object]:
    """Return where qsimc's plan and AIMET's disagree; nothing, if all is well."""
    param, act = PRECISIONS[case.precision]
    findings: list[Diagnostic] = []
    plan = resolve(
        _config(case.config), read_model(case.model), findings.append, act=act, param=param, mode=Mode.VENDOR
    )
    if "error" in case.expected:
        said = [(d.vendor.id, d.vendor.text) for d in findings if d.vendor]
        return [] if plan is None and said == [(case.expected["error"], case.expected["message"])] else [findings]
    if plan is None:
        return [findings]
    wrong: list[object] = [
        (tensor, ours, theirs)
        for tensor in sorted({*plan.tensors, *case.expected})
        if (ours := _row(plan.tensors.get(tensor))) != (theirs := case.expected.get(tensor, ())[:-1])
    ]
    our_groups = _groups((tensor, p.shares or tensor) for tensor, p in plan.tensors.items())
    their_groups = _groups((tensor, row[-1]) for tensor, row in case.expected.items())
    return wrong if our_groups == their_groups else [*wrong, (our_groups, their_groups)]


def _row(plan: TensorPlan | None) -> list[object] | tuple[()]:
    if plan is None:
        return ()
    spec = plan.spec
    assert spec.type is not None
    fixed = list(spec.range) if spec.range else None
    flags = [spec.symmetric, spec.narrow_range, spec.unsigned_symmetric]
    return [plan.kind is Kind.PARAM, spec.enabled, spec.bits, spec.type.value, *flags, plan.axis, fixed]


def _groups(pairs: Iterable[tuple[str, object]]) -> list[list[str]]:
    members: defaultdict[object, list[str]] = defaultdict(list)
    for tensor, group in pairs:
        members[group].append(tensor)
    return sorted(sorted(group) for group in members.values())
