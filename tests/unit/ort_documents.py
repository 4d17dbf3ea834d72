"""Settings of ONNX Runtime's quantizer for tests, read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qsimc_onnx.graph import read_graph

from qsimc.diagnostics import Diagnostic
from qsimc.formats.foreign import ort
from qsimc.formats.qsim import read as read_qsim
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss
from qsimc.ir.select import show
from qsimc.source import Source
from qsimc.syntax.json import parse
from tests.conformance.formats import ort as oracle

MODEL = oracle.model()

GRAPH: Graph = read_graph(MODEL)

W8A8 = """
dialect onnx
*: off type=int bits=8 unsigned asymmetric per_tensor calib=minmax
*[input, output]: on
*[weight]: on signed symmetric
"""


def read(value: Any, graph: Graph | None = None) -> tuple[Config, list[Diagnostic]]:
    source = Source("ort.json", json.dumps(value))
    findings: list[Diagnostic] = []
    document = parse(source, findings.append)
    assert document is not None
    if graph is not None:
        return ort.read_on(source, document, findings.append, graph), findings
    return ort.read(source, document, findings.append), findings


def write(config: Config, graph: Graph | None = None) -> tuple[dict[str, Any], list[Loss]]:
    losses: list[Loss] = []
    text = ort.write(config, losses.append, graph)
    assert text.endswith("}\n")
    assert text == ort.write(config, lambda _: None, graph)
    return json.loads(text), losses


def config(text: str) -> Config:
    findings: list[Diagnostic] = []
    found = read_qsim(Source("c.qsim", text), findings.append)
    assert findings == []
    assert found is not None
    return found


def said(found: Config) -> Mapping[str, Any]:
    """Return the values of every level: selector -> role -> field."""
    return {
        show(level.selector): {role: {f: s.value for f, s in fields.items()} for role, fields in level.said.items()}
        for level in levels(found)
    }


def kinds(losses: list[Loss]) -> list[str]:
    return [loss.kind.name for loss in losses]
