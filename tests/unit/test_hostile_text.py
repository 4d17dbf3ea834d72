"""Hostile text: whatever a file holds, a command ends with findings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qsimc import reading
from qsimc.diagnostics import Diagnostic
from qsimc.encodings import document as documents
from qsimc.formats.qsim import MAX_SETTINGS
from qsimc.pipeline import encodings as pipeline
from qsimc.pipeline import encodings_text
from qsimc.pipeline.check import check, load
from qsimc.syntax.json import MAX_DEPTH
from tests.command_line import Run
from tests.unit.hostile import ROOT, SOUND, codes, encoding, encodings_file, put

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
