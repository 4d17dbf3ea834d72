"""Hostile names, files and models: a command ends with findings, and does nothing that nobody asked for."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_node, make_tensor_value_info

from qsimc.formats import builtin
from qsimc.formats.qsim import MAX_EXTENDED
from qsimc.pipeline import encodings as pipeline
from qsimc.pipeline.check import check
from qsimc.render import RENDERERS
from tests.backends.onnx_models import data, model_of, small_net, value
from tests.command_line import Run
from tests.unit.hostile import ROOT, SOUND, codes, encoding, encodings_file, put


def saved(folder: Path, proto: ModelProto) -> Path:
    return put(folder, "m.onnx", proto.SerializeToString())


# ── S6: characters that act ──────────────────────────────────────────────────────────────────

ACTING = "\x1b[31m\u202e\r%0A::error::<b>|`{{7*7}}"


@pytest.mark.parametrize("style", RENDERERS)
def test_s6_a_name_in_a_config_prints_nothing_that_acts(style: str, run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "c.json", json.dumps({"defaults": {}, "op_type": {ACTING: {}}, ACTING: 1}))
    status, out, err = run("check", path, "--format", style)
    assert (status, err) == (1, "")
    assert not [c for c in out if not c.isprintable() and c != "\n"]
    assert not [line for line in out.split("\n")[1:] if style != "github" and line.startswith("::")]


@pytest.mark.parametrize("style", ["table", "json", "md", "html"])
def test_s6_a_name_in_a_model_prints_nothing_that_acts(style: str, run: Run, tmp_path: Path) -> None:
    proto = small_net()
    proto.graph.node[0].name = ACTING
    for node in proto.graph.node:
        node.input[:] = [ACTING if name == "conv" else name for name in node.input]
        node.output[:] = [ACTING if name == "conv" else name for name in node.output]
    path = saved(tmp_path, proto)
    for command in (["plan", "aimet:default", "--format", style], ["why", "aimet:default", ACTING]):
        status, out, err = run(command[0], command[1], "--model", path, *command[2:])
        assert (status, err) == (0, "")
        assert not [c for c in out if not c.isprintable() and c != "\n"]
        assert "<b>" not in out or style != "html" or command[0] == "why"


# ── S7: patterns ─────────────────────────────────────────────────────────────────────────────


def test_s7_a_pattern_of_many_stars_is_matched_without_trying_every_way(run: Run, tmp_path: Path) -> None:
    proto = small_net()
    proto.graph.node[0].name = "a" * 10_000
    path = put(tmp_path, "c.qsim", 'extends target aimet-default\n~"' + "*a" * 50 + 'b"[output]: off\n')
    assert run("plan", path, "--model", saved(tmp_path, proto))[0] == 0


# ── S8: files that extend others ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spelling", ["c.qsim", "./c.qsim", "../{}/c.qsim", "../{0}/../{0}/c.qsim"])
def test_s8_a_file_extends_itself_under_no_spelling(spelling: str, tmp_path: Path) -> None:
    path = put(tmp_path, "c.qsim", f'extends "{spelling.format(tmp_path.name)}"\n')
    assert codes(check(path)) == ["Q0108"]


def test_s8_a_file_that_extends_itself_by_a_link_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(".")
    path = put(tmp_path, "c.qsim", 'extends "a/c.qsim"\n')
    assert set(codes(check(path))) == {"Q0108"}


@pytest.mark.parametrize("times", [1, 2])
def test_s8_files_that_extend_files_have_an_end(times: int, tmp_path: Path) -> None:
    for number in range(MAX_EXTENDED + 10):
        put(tmp_path, f"{number}.qsim", f'extends "{number + 1}.qsim"\n' * times)
    findings = check(tmp_path / "0.qsim")
    assert set(codes(findings)) == {"Q0108"}
    assert len(findings) <= MAX_EXTENDED * times


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "large"])
def test_s8_only_a_regular_file_of_some_size_is_extended(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "MAX_BYTES", 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    put(tmp_path, "large", " " * 11)
    named = "/dev/zero" if kind == "device" else kind
    assert codes(check(put(tmp_path, "c.qsim", f'extends "{named}"\n'))) == ["Q0108"]


@pytest.mark.parametrize("location", ["https://example.org/c.qsim", "file:///dev/null", "", "\\u0000", "x" * 5000])
def test_s8_what_is_no_path_is_not_extended(location: str, tmp_path: Path) -> None:
    assert codes(check(put(tmp_path, "c.qsim", f'extends "{location}"\n'))) == ["Q0108"]


# ── S12: numbers that cannot be meant ────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", [0, -0.1, "NaN", "Infinity", 5e-324, [], ["0.1"], [[0.1]], True, None])
def test_s12_a_scale_that_cannot_be_is_converted_to_nothing(scale: object, run: Run, tmp_path: Path) -> None:
    said = scale if isinstance(scale, list) else [float(scale) if isinstance(scale, str) else scale]
    path = put(tmp_path, "e.json", encodings_file(encoding(scale=said)))
    for form in pipeline.TARGETS:
        status, out, _ = run("encodings", "convert", path, "--to", form)
        assert (status, out) == (1, "")


@pytest.mark.parametrize("offset", [-256, 1, 2**40, -0.5, "0"])
def test_s12_an_offset_outside_its_grid_is_refused(offset: object, tmp_path: Path) -> None:
    path = put(tmp_path, "e.json", encodings_file(encoding(offset=[offset])))
    assert set(codes(pipeline.lint(str(path)))) & {"Q0805", "Q0806", "Q0807", "Q0808", "Q0809", "Q0810"}


# ── S14: models of odd shape ─────────────────────────────────────────────────────────────────


def chain(nodes: list[NodeProto]) -> ModelProto:
    constants = {"c": np.array(True), "w": data((4, 4))}
    return model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], constants)


def nested(depth: int) -> NodeProto:
    node = make_node("Identity", ["x"], ["y"])
    for _ in range(depth):
        body = make_graph([node], "b", [], [make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])])
        node = make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
        del node.attribute[1]
    return node


@pytest.mark.parametrize("depth", [10, 30])
def test_s14_branches_in_branches_end(depth: int, run: Run, tmp_path: Path) -> None:
    status, _, err = run("plan", "aimet:default", "--model", saved(tmp_path, chain([nested(depth)])))
    assert status in (0, 1)
    assert "Traceback" not in err


def delimited(number: int, content: bytes) -> bytes:
    """Return a protobuf field that holds another message."""
    length = bytearray()
    rest = len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content


def test_s14_a_thousand_branches_in_branches_are_no_model(run: Run, tmp_path: Path) -> None:
    graph = b""
    for _ in range(1000):
        attribute = delimited(6, graph)
        graph = delimited(1, delimited(5, attribute))
    status, _, err = run("plan", "aimet:default", "--model", put(tmp_path, "m.onnx", b"\x08\x08" + delimited(7, graph)))
    assert status == 1
    assert "error[Q0502]" in err


@pytest.mark.slow
def test_s14_a_hundred_thousand_nodes_are_a_plan(run: Run, tmp_path: Path) -> None:
    names = ["x", *(f"t{i}" for i in range(99_999)), "y"]
    nodes = [make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    assert run("plan", "aimet:default", "--model", saved(tmp_path, chain(nodes)))[0] == 0


def test_s14_a_name_that_is_not_utf8_is_refused(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "m.onnx", small_net().SerializeToString().replace(b"conv", b"\xc3\x28\xed\xa0"))
    status, _, err = run("plan", "aimet:default", "--model", path)
    assert status == 1
    assert "error[Q0505]" in err


# ── S16, S21: what the compiler does not do ──────────────────────────────────────────────────


def test_s16_nothing_that_runs_what_a_file_says_is_called() -> None:
    called = {
        f"{path.relative_to(ROOT)}: {ast.unparse(node.func)}"
        for folder in ("qsimc", "backends")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system")
    }
    # The one text that is run is source that qsimc itself has generated, in which names are never code (S9).
    assert called == {"backends/qsimc_torch/build.py: exec"}


GUARD = """
import sys
def hook(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")):
        raise SystemExit(f"hostile: {event} {arguments}")
    if event == "import" and arguments[0].partition(".")[0] in ("torch", "requests", "urllib3"):
        raise SystemExit(f"hostile: import of {arguments[0]}")
from qsimc import cli
sys.addaudithook(hook)
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["check", "plan", "why", "encodings", "explain"])
def test_s21_no_network_no_process_no_framework(command: str, tmp_path: Path) -> None:
    model = str(saved(tmp_path, small_net()))
    arguments = {
        "check": ["aimet:default"],
        "plan": ["aimet:default", "--model", model],
        "why": ["aimet:default", "conv", "--model", model],
        "encodings": ["lint", str(put(tmp_path, "e.json", SOUND))],
        "explain": ["Q0201"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-c", GUARD, command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_s18_an_output_is_not_written_over_what_is_not_ours(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    put(out, "plan.json", "mine")
    np.savez(tmp_path / "d.npz", x=data((2, 3, 4, 4)))
    model = saved(tmp_path, small_net())
    status, _, err = run("quantize", "aimet:default", "--model", model, "--data", tmp_path / "d.npz", "--out", out)
    assert status == 1
    assert "error[Q0611]" in err
    assert {path.name: path.read_text() for path in out.iterdir()} == {"plan.json": "mine"}


# ── S25: versions ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("package", "version"), [("jinja2", "3.1.6"), ("onnx", "1.21"), ("torch", "2.6")])
def test_s25_packages_with_known_holes_are_not_asked_for(package: str, version: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    assert f"{package}>={version}" in asked
