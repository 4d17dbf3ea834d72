"""Every kind of broken AIMET configuration that we know is diagnosed: where, as what, and with the right word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.pipeline.check import check

_ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "aimet"
_FOLDER = _ORACLE / "badconfigs"
_BASELINE = "00_good_baseline"


def text(
    ops: str = "",
    params: str = "",
    defaults: str = "",
    named: str = "",
    op_type: str = "",
    supergroup: str = "",
    model_input: str = "",
    model_output: str = "",
) -> str:
    """Return a configuration with something written into one section; each section has its own line."""
    return (
        f'{{"defaults": {{"ops": {{{ops}}}, "params": {{{params}}}{defaults}}},\n'
        f' "params": {{{named}}},\n'
        f' "op_type": {{{op_type}}},\n'
        f' "supergroups": [{supergroup}],\n'
        f' "model_input": {{{model_input}}},\n'
        f' "model_output": {{{model_output}}}}}\n'
    )


def bound(low: str, high: str) -> str:
    return text(op_type=f'"Relu": {{"encoding_constraints": {{"min": {low}, "max": {high}}}}}')


KERNEL = '{"activation": {"bitwidth": 2, "dtype": "int"}, "param": {"bitwidth": 8, "dtype": "int"}}'

# name, text, code, (line, column), a word that some help holds
BROKEN: list[tuple[str, str, str, tuple[int, int], str]] = [
    ("op type", text(op_type='"Convolution": {"is_symmetric": "True"}'), "Q0206", (3, 15), "`Conv`"),
    ("op in supergroup", text(supergroup='{"op_list": ["Conv", "ReLU"]}'), "Q0206", (4, 40), "`Relu`"),
    ("param name", text(named='"wieght": {"is_quantized": "False"}'), "Q0207", (2, 14), "`weight`"),
    ("param key", text(named='"weight": {"is_quantised": "False"}'), "Q0201", (2, 24), "`is_quantized`"),
    (
        "default key",
        text(defaults=', "per_chanel_quantization": "True"'),
        "Q0201",
        (1, 40),
        "`per_channel_quantization`",
    ),
    ("hw_version", text(defaults=', "hw_version": "v 73"'), "Q0208", (1, 54), "`V73`"),
    ("lower-case true", text(ops='"is_output_quantized": "true"'), "Q0202", (1, 46), '`"True"`'),
    ("comment", text(op_type="/* none */"), "Q0102", (3, 14), "remove it"),
    ("final newline", text(named='"bias": {"is_quantized": "False\\n"}'), "Q0202", (2, 38), '`"False"`'),
    ("not a number", bound("NaN", "6"), "Q0105", (3, 55), "finite"),
    ("duplicate key", text(op_type='"Conv": {}, "Conv": {}'), "Q0103", (3, 26), "keep one"),
    ("bit width 2", text(defaults=f', "supported_kernels": [{KERNEL}]'), "Q0202", (1, 90), "`4`"),
    (
        "only max",
        text(op_type='"Relu": {"encoding_constraints": {"max": 6}}'),
        "Q0202",
        (3, 47),
        "`min`",
    ),
    ("min above max", bound("6", "0"), "Q0301", (3, 47), "lower bound"),
    ("without zero", bound("1", "6"), "Q0302", (3, 47), "begin at 0"),
    (
        "extra key",
        text(op_type='"Relu": {"encoding_constraints": {"min": 0, "maximum": 6}}'),
        "Q0202",
        (3, 58),
        "`max`",
    ),
    (
        "strict and unsigned",
        text(defaults=', "strict_symmetric": "True", "unsigned_symmetric": "True"'),
        "Q0304",
        (1, 90),
        "`False`",
    ),
    ("no kernels", text(defaults=', "supported_kernels": []'), "Q0202", (1, 61), "`supported_kernels`"),
    (
        "per channel without weight",
        text(op_type='"Relu": {"per_channel_quantization": "True"}'),
        "Q0318",
        (3, 51),
        "`Conv`",
    ),
    (
        "per channel vectors",
        text(op_type='"BatchNormalization": {"per_channel_quantization": "True"}'),
        "Q0319",
        (3, 65),
        "leave `per_channel` out",
    ),
    (
        "symmetric and one-sided",
        text(op_type='"Relu": {"is_symmetric": "True", "encoding_constraints": {"min": 0, "max": 1}}'),
        "Q0303",
        (3, 71),
        "asymmetric",
    ),
    ("default input", text(ops='"is_input_quantized": "True"'), "Q0205", (1, 45), "leave the key out"),
    ("default output", text(ops='"is_output_quantized": "False"'), "Q0205", (1, 46), '`"True"`'),
    ("model input", text(model_input='"is_input_quantized": "False"'), "Q0205", (5, 40), '`"True"`'),
    ("model output", text(model_output='"is_output_quantized": "False"'), "Q0205", (6, 42), '`"True"`'),
    ("supergroup of one", text(supergroup='{"op_list": ["Conv"]}'), "Q0202", (4, 30), "remove the entry"),
]


@pytest.mark.parametrize(("written", "code", "place", "word"), [pytest.param(*row, id=name) for name, *row in BROKEN])
def test_a_mistake_is_found_with_the_right_word(
    written: str, code: str, place: tuple[int, int], word: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_text(written, encoding="utf-8")
    found = [d for d in check(path) if d.code == code]
    assert [_place(d) for d in found] == [place]
    assert word in " ".join(found[0].helps)


def test_a_configuration_without_a_mistake_has_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(text(model_input='"is_input_quantized": "True"'), encoding="utf-8")
    assert check(path) == []


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    (found,) = check(tmp_path / "config.json")
    assert (found.code, found.file) == ("Q0101", str(tmp_path / "config.json"))
    assert "no such file" in found.message


@pytest.mark.skipif(not _FOLDER.is_dir(), reason="AIMET's verdicts on broken configurations are not here")
@pytest.mark.parametrize("mode", ["fixed", "vendor"])
def test_every_known_broken_file_is_diagnosed(mode: str) -> None:
    verdicts: dict[str, Any] = json.loads((_ORACLE / "badconfigs.json").read_text(encoding="utf-8"))
    found = {path.stem: check(path, mode=mode) for path in sorted(_FOLDER.glob("*.json"))}
    assert len(found) == 25
    assert found.pop(_BASELINE) == []
    silent = [name for name, findings in found.items() if not any(_helpful(d) for d in findings)]
    assert silent == []
    if mode == "vendor":
        refused = {name for name, findings in found.items() if any(d.severity is Severity.ERROR for d in findings)}
        assert refused == {name for name in found if verdicts[name]["onnx"]["outcome"] == "RAISED"}


def _place(finding: Diagnostic) -> tuple[int, int]:
    span = finding.labels[0].span
    return span.line, span.column


def _helpful(finding: Diagnostic) -> bool:
    """Say whether a finding has a place in the file and says what to do."""
    return bool(finding.labels and all(_place(finding)) and finding.helps and all(finding.helps))
