"""Fuzz the opening of ONNX models: what opens has a graph, and the built-in configuration a plan on it."""

from __future__ import annotations

from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import open_model

from qsimc.diagnostics import Diagnostic, InputError
from qsimc.pipeline.plan import plan
from tests.fuzz.files import shown, written


def fuzz_one(data: bytes) -> None:
    """Open bytes as a model; read the graph and plan it when they are one."""
    path = written(data, "input.onnx")
    findings: list[Diagnostic] = []
    model = open_model(path, findings.append)
    shown(findings)
    if model is None:
        return
    # In words: a constant may be NaN, which equals nothing.
    assert repr(read_graph(model.proto)) == repr(model.graph)
    try:
        plan("aimet:default", path)
    except InputError as error:
        shown(error.findings)
