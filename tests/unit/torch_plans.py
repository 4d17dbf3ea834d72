"""AIMET's own plans of module ports, and how qsimc's compare with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qsimc.diagnostics import Diagnostic
from qsimc.formats import read
from qsimc.ir.config import Config
from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Mode, TensorPlan
from qsimc.planning.torch.facts import port_graph_from_facts
from qsimc.planning.torch.graph import PortGraph
from qsimc.planning.torch.resolve import resolve_ports
from qsimc.source import Source

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "data" / "aimet_torch_plans"
CONFIGS = ROOT / "tests" / "data" / "aimet_plans" / "configs"
SHARED = ROOT.parent / "shared"
ORACLE = SHARED / "oracle" / "aimet" / "resolve"

# precision -> (param, act)
PRECISIONS = {
    "w8a8": ("int8", "int8"),
    "w8a16": ("int8", "int16"),
    "w4a16": ("int4", "int16"),
    "fp16": ("float16", "float16"),
}


@dataclass(frozen=True)
class Case:
    """One model with one config at one precision; `expected` has a row per enabled port, or AIMET's error."""

    model: str
    config: Path
    precision: str
    ports: frozenset[str]
    expected: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.config.stem}-{self.precision}"


def shipped_models() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


@cache
def shipped(model: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads((SHIPPED / f"{model}.json").read_text())
    return data


def shipped_cases(model: str) -> Iterator[Case]:
    data = shipped(model)
    for name, expected in data["cases"].items():
        config, precision = name.split("|")
        rows = expected.get("plan", expected)
        yield Case(model, CONFIGS / f"{config}.json", precision, frozenset(data["ports"]), rows)


def shared_cases(path: Path) -> Iterator[Case]:
    """Yield the cases of one of AIMET's plan files that are not in the project."""
    data = json.loads(path.read_text())
    for name, expected in data["cases"].items():
        config, precision = name.split("|")
        folders = (ORACLE / "configs_hand", SHARED / "configs" / "aimet" / "wheel-2.42")
        found = next(p for folder in folders if (p := folder / f"{config}.json").exists())
        rows = dict(_rows(expected["plan"])) if "plan" in expected else expected
        enabled = {port: row for port, row in rows.items() if row is not None}
        yield Case(data["model"], found, precision, frozenset(rows), enabled)


def _rows(plan: Mapping[str, Any]) -> Iterator[tuple[str, list[object] | None]]:
    for module, ports in plan.items():
        for side in ("input", "output"):
            yield from ((f"{module}.{side}[{i}]", _expected(row)) for i, row in enumerate(ports[side]))
        yield from ((f"{module}.{name}", _expected(row)) for name, row in ports["param"].items())


def _expected(row: Mapping[str, Any] | None) -> list[object] | None:
    if row is None:
        return None
    fixed = row.get("fixed")
    grid = [row.get("symmetric"), row.get("qmin", 0) < 0, row.get("shape")]
    return [row["bitwidth"], row["dtype"], *grid, fixed and [fixed["min"], fixed["max"]], row["group"]]


@cache
def config_at(path: Path) -> Config:
    findings: list[Diagnostic] = []
    config = read(Source(path.name, path.read_text()), findings.append)
    assert config is not None, findings
    return config


def differences(case: Case, graph: PortGraph) -> list[object]:
    """Return where qsimc's plan and AIMET's disagree; nothing, if all is well."""
    param, act = PRECISIONS[case.precision]
    findings: list[Diagnostic] = []
    plan = resolve_ports(config_at(case.config), graph, findings.append, act=act, param=param, mode=Mode.VENDOR)
    if "error" in case.expected:
        said = [(d.vendor.id, d.vendor.text) for d in findings if d.vendor]
        return [] if plan is None and said == [(case.expected["error"], case.expected["message"])] else [findings]
    if plan is None:
        return [findings]
    if plan.ports.keys() != case.ports:
        return [plan.ports.keys() ^ case.ports]
    ours = {port: _row(graph, p) for port, p in plan.ports.items() if p.spec.enabled}
    theirs = {port: row[:-1] for port, row in case.expected.items()}
    wrong: list[object] = [
        (port, ours.get(port), theirs.get(port))
        for port in sorted({*ours, *theirs})
        if ours.get(port) != theirs.get(port)
    ]
    our_groups = _groups((port, plan[port].shares or port) for port in ours)
    their_groups = _groups((port, row[-1]) for port, row in case.expected.items())
    return wrong if our_groups == their_groups else [*wrong, (our_groups, their_groups)]


def _row(graph: PortGraph, plan: TensorPlan) -> list[object]:
    spec = plan.spec
    assert spec.type is not None
    if spec.type is not Numeric.INT:
        return [spec.bits, spec.type.value, None, False, None, None]
    shape: list[int] = []
    if plan.axis is not None:
        assert plan.node is not None
        full = graph.modules[plan.node].params[plan.role]
        shape = [size if axis == plan.axis else 1 for axis, size in enumerate(full)]
    return [spec.bits, spec.type.value, spec.symmetric, spec.signed, shape, list(spec.range) if spec.range else None]


def _groups(pairs: Iterable[tuple[str, object]]) -> list[list[str]]:
    members: defaultdict[object, list[str]] = defaultdict(list)
    for port, group in pairs:
        members[group].append(port)
    return sorted(sorted(group) for group in members.values())


def shipped_graph(model: str) -> PortGraph:
    return port_graph_from_facts(shipped(model)["facts"], model)
