"""Hostile input: whatever a file holds, a command ends with findings, and does nothing that nobody asked for.

The numbers are those of the security rules, S1 to S26; each test has its own in its name.  Held elsewhere:

S6   names in every format of findings: tests/unit/test_render.py, test_a_hostile_name_*;
     in the HTML report: tests/unit/test_report.py, test_a_hostile_name_*.
S13  external data: tests/backends/test_onnx_open.py, test_unsafe_external_data_is_q0504 and those around it.
S14  broken models: tests/backends/test_onnx_open.py, test_nonsense_is_q0505.
S15  weights are not read: tests/backends/test_onnx_open.py, test_opening_reads_no_external_weights;
     data is read batch by batch: tests/unit/test_data.py, test_memory_does_not_grow_with_the_file.
S18  outputs: tests/unit/test_outputs.py, test_a_link_is_never_written_through and all others.
S19  archives are read and never extracted: tests/unit/test_data.py, test_a_hostile_header_is_refused.
S20  the private folder of a stage: tests/unit/test_outputs.py, test_nobody_else_can_enter_the_stage.
S22  calibration data: tests/unit/test_data.py, test_a_hostile_header_is_refused, test_a_pickle_is_not_data.
S23  vendors' tools run in processes of their own: tests/conformance.
S24  fuzzing: tests/fuzz.
S26  the wheel: tests/unit/test_packaging.py, test_nothing_else_is_in_the_wheel.

What these are about does not exist yet: S5 (no YAML is read), S9 to S11 (no Python code is generated), S17 (no
safetensors are read), and of S25 the document and the refusal of older packages.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_node, make_tensor_value_info

from qsimc import cli, reading
from qsimc.diagnostics import Diagnostic
from qsimc.encodings import document as documents
from qsimc.formats import builtin
from qsimc.formats.qsim import MAX_EXTENDED, MAX_SETTINGS
from qsimc.pipeline import encodings as pipeline
from qsimc.pipeline import encodings_text
from qsimc.pipeline.check import check, load
from qsimc.render import RENDERERS
from qsimc.syntax.json import MAX_DEPTH
from tests.backends.onnx_models import data, model_of, small_net, value

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line: exit status, stdout, stderr."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = cli.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return command


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def codes(findings: list[Diagnostic]) -> list[str]:
    return [finding.code for finding in findings]


def saved(folder: Path, proto: ModelProto) -> Path:
    return put(folder, "m.onnx", proto.SerializeToString())


def encoding(**fields: object) -> dict[str, object]:
    """Return an entry of AIMET's version 1.0.0."""
    usual = {"name": "x", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 8, "is_sym": False}
    return {**usual, "scale": [0.1], "offset": [-5], **fields}


def encodings_file(*entries: dict[str, object]) -> str:
    return json.dumps({"version": "1.0.0", "activation_encodings": entries, "param_encodings": []})


# ── S1: nesting ──────────────────────────────────────────────────────────────────────────────

DEEP = 100_000
CONFIGS = {
    "aimet": '{"op_type": ',
    "aimet-kernels": '{"defaults": {"supported_kernels": ',
    "qtypes": '{"Conv": {"supported_qtypes": ',
    "vitis": '{"layer_quantize_config": ',
}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("begin", CONFIGS.values(), ids=list(CONFIGS))
def test_s1_a_config_nested_too_deep_is_one_finding(begin: str, opening: str, tmp_path: Path) -> None:
    path = put(tmp_path, "c.json", begin + opening * DEEP)
    assert codes(check(path)) == ["Q0104"]


@pytest.mark.parametrize("located", [True, False])
def test_s1_encodings_nested_too_deep_are_one_finding(
    located: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not located:
        monkeypatch.setattr(documents, "LOCATED_UP_TO", -1)
    path = put(tmp_path, "e.json", '{"version": "2.0.0", "encodings": ' + "[" * DEEP)
    assert len(codes(pipeline.lint(str(path)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "(" * 3000 + "Conv" + ")" * 3000 + ": on",
        "*: kernels=" + "(" * 3000 + "int8" + ")" * 3000,
        "require *: " + "not " * 3000 + "signed",
        "require *: bits in " + "(" * 3000 + "8" + ")" * 3000,
        "(" * 3000,
    ],
    ids=["selector", "value", "claim", "set", "open"],
)
def test_s1_a_qsim_line_nested_too_deep_is_one_finding(line: str, tmp_path: Path) -> None:
    assert codes(check(put(tmp_path, "c.qsim", line + "\n"))) == ["Q0106"]


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_s1_the_limit_is_the_limit(depth: int, tmp_path: Path) -> None:
    path = put(tmp_path, "c.json", "[" * depth + "]" * depth)
    assert ("Q0104" in codes(check(path))) == (depth > MAX_DEPTH)


# ── S2: sizes ────────────────────────────────────────────────────────────────────────────────


def test_s2_a_config_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    assert codes(check(put(tmp_path, "c.qsim", " " * 101))) == ["Q0101"]
    assert codes(check(put(tmp_path, "c.qsim", " " * 100))) == []


def test_s2_encodings_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings_text, "MAX_BYTES", 100)
    assert codes(pipeline.lint(str(put(tmp_path, "e.json", " " * 101)))) == ["Q0101"]


@pytest.mark.parametrize(
    "unit", ["{", "}", "(", ")", '"', "\\", "*", "on ", "@a ", "Conv\n", "(\n", '"\\', ": ", "~", "\x00"]
)
def test_s2_garbage_is_read_to_its_end(unit: str, tmp_path: Path) -> None:
    findings = check(put(tmp_path, "c.qsim", unit * 20_000), format="qsim")
    assert 0 < len(findings) <= 20_000


@pytest.mark.parametrize("count", [10, 60])
def test_s2_settings_do_not_double_with_each_let(count: int, tmp_path: Path) -> None:
    lines = ["let a0 = on", *(f"let a{i + 1} = @a{i} @a{i}" for i in range(count)), f"*: @a{count}"]
    found: list[Diagnostic] = []
    config = load(str(put(tmp_path, "c.qsim", "\n".join(lines))), found.append)
    assert config is not None
    assert all(len(clause.settings) <= MAX_SETTINGS for rule in config.rules for clause in rule.clauses)
    assert set(codes(found)) == {"Q0202"}


def test_s2_the_nearest_names_of_thousands_are_not_looked_up(tmp_path: Path) -> None:
    operators = {f"Convo{i}": {"is_output_quantized": "True"} for i in range(3000)}
    config = {"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": operators}
    config |= {"supergroups": [], "model_input": {}, "model_output": {}}
    found = [d for d in check(put(tmp_path, "c.json", json.dumps(config))) if d.code == "Q0206"]
    assert len(found) == 3000
    assert sum(bool(d.helps) for d in found) == 100


def test_s2_a_long_integer_is_no_bug_of_ours(tmp_path: Path) -> None:
    path = put(tmp_path, "c.qsim", "*: bits=" + "9" * 100_000 + "\n")
    assert codes(check(path)) == ["Q0202"]


# ── S3: keys and numbers ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("digits", [20, 310, 400, 401, 5000])
def test_s3_an_integer_of_many_digits_is_a_finding(digits: int, tmp_path: Path) -> None:
    number = "9" * digits
    config = put(
        tmp_path, "c.json", f'{{"target_device": "CPU", "overall_quantize_config": {{"bit_width": {number}}}}}'
    )
    assert check(config) != []
    assert pipeline.lint(str(put(tmp_path, "e.json", encodings_file(encoding(bw="?")).replace('"?"', number)))) != []


def test_s3_a_key_that_is_there_twice_is_shown_at_both_places(tmp_path: Path) -> None:
    config = put(tmp_path, "c.json", '{"defaults": {},\n "op_type": {"Conv": {},\n "Conv": {}}}')
    record = put(tmp_path, "e.json", '{"version": "1.0.0",\n "version": "1.0.0",\n "encodings": []}')
    for findings in (check(config), pipeline.lint(str(record))):
        (found,) = [finding for finding in findings if finding.code == "Q0103"]
        lines = [label.span.line for label in found.labels]
        assert lines in ([3, 2], [2, 1])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_s3_a_number_that_is_not_finite_is_refused(number: str, tmp_path: Path) -> None:
    config = put(
        tmp_path, "c.json", f'{{"target_device": "CPU", "overall_quantize_config": {{"bit_width": {number}}}}}'
    )
    assert "Q0105" in codes(check(config))
    record = put(tmp_path, "e.json", encodings_file(encoding(scale=["?"])).replace('"?"', number))
    assert "Q0105" in codes(pipeline.lint(str(record)))


@pytest.mark.parametrize("bits", ["true", "8.5", '"8"', "-0", str(2**64), str(-(2**63) - 1), "[8]", "null"])
def test_s3_a_width_that_is_no_small_integer_is_refused(bits: str, tmp_path: Path) -> None:
    record = put(tmp_path, "e.json", encodings_file(encoding(bw="?")).replace('"?"', bits))
    assert codes(pipeline.lint(str(record))) == ["Q0805"]
    text = (
        f'{{"target_device": "CPU", "quantizable_data_type": [], "overall_quantize_config": {{"bit_width": {bits}}}}}'
    )
    assert any(code.startswith(("Q02", "Q03")) for code in codes(check(put(tmp_path, "c.json", text))))


# ── S4: encodings of text ────────────────────────────────────────────────────────────────────

SOUND = encodings_file(encoding())


def test_s4_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    assert check(put(tmp_path, "c.qsim", mark + b"*: on\n")) == []
    assert pipeline.lint(str(put(tmp_path, "e.json", mark + SOUND.encode()))) == []


@pytest.mark.parametrize(
    "content",
    [SOUND.encode("utf-16"), SOUND.encode("utf-32"), b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"caf\xc3', b"\xff", b"\x80"],
    ids=["utf-16", "utf-32", "overlong", "surrogate", "truncated", "ff", "80"],
)
def test_s4_what_is_not_utf8_is_one_finding(content: bytes, run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "f", content)
    assert codes(check(path)) == codes(pipeline.lint(str(path))) == ["Q0101"]
    assert run("check", path)[0] == run("encodings", "lint", path)[0] == 2


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udc00b"', '"\\udc00\\ud800"'])
def test_s4_half_a_surrogate_pair_is_refused(text: str, tmp_path: Path) -> None:
    assert codes(check(put(tmp_path, "c.json", text))) == ["Q0102"]
    assert codes(check(put(tmp_path, "c.qsim", f"{text}[output]: on\n"), format="qsim")) == ["Q0106"]


@pytest.mark.parametrize("text", ['"\\q"', '"\\u12"', '"\\x41"'])
def test_s4_an_escape_that_does_not_exist_is_refused(text: str, tmp_path: Path) -> None:
    assert codes(check(put(tmp_path, "c.qsim", f"*: on\n{text}[output]: on\n"))) == ["Q0106"]


def test_s4_findings_print_on_an_ascii_terminal(tmp_path: Path) -> None:
    path = put(tmp_path, "c.json", '{"defaults": {}, "op_type": {"Ünï\U0001f600": {}}, "Ünï": 1}')
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    for command in (["check", str(path)], ["encodings", "lint", str(path)]):
        done = subprocess.run(
            [sys.executable, "-m", "qsimc", *command], cwd=ROOT, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert done.stdout.isascii()
        assert done.stderr == b""


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
