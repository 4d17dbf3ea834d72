"""Two configurations compared: rule by rule, tensor by tensor, and one dialect with the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from qsimc import cli
from qsimc.cli.diff import diff as command
from qsimc.diagnostics import Diagnostic, InputError
from qsimc.formats import read
from qsimc.ir.config import Config
from qsimc.pipeline.diff import ConfigDiff, Side, diff
from qsimc.pipeline.plan import Choices
from qsimc.planning.config_diff import compare_configs
from qsimc.planning.plan import Mode
from qsimc.source import Source

MODEL = str(Path(__file__).resolve().parents[2] / "demo" / "digits.onnx")

NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.gelu = nn.GELU()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.gelu(self.act(self.conv(x)).mean((2, 3))))


def make():
    return Net(), (torch.rand(1, 3, 8, 8),)
"""


def config_of(text: str | Mapping[str, Any]) -> Config:
    findings: list[Diagnostic] = []
    config = read(Source("cfg", _text(text)), findings.append)
    assert config is not None, findings
    return config


def _text(text: str | Mapping[str, Any]) -> str:
    if isinstance(text, str):
        return text
    empty: dict[str, Any] = {"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {}}
    empty |= {"supergroups": [], "model_input": {}, "model_output": {}}
    return json.dumps(empty | dict(text), indent=1)


def said(before: str | Mapping[str, Any], after: str | Mapping[str, Any]) -> list[tuple[str | None, str | None]]:
    found = compare_configs(config_of(before), config_of(after))
    return [(d.before.rule if d.before else None, d.after.rule if d.after else None) for d in found]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a configuration into the current folder, which is a fresh one; return its name."""
    monkeypatch.chdir(tmp_path)

    def written(name: str, text: str | Mapping[str, Any]) -> str:
        (tmp_path / name).write_text(_text(text))
        return name

    return written


# ── rule by rule ─────────────────────────────────────────────────────────────────────────────


def test_the_order_of_lines_means_nothing() -> None:
    assert said("Conv[output]: on\nRelu[output]: off\n", "Relu[output]: off\nConv[output]: on\n") == []


def test_ways_of_writing_mean_nothing() -> None:
    assert (
        said(
            "(Conv | Relu)[output]: on symmetric\n",
            "Relu[output]: symmetric\nConv[output]: on symmetric\nRelu[output]: on\n",
        )
        == []
    )


def test_of_two_lines_the_later_holds() -> None:
    assert said("Conv[weight]: bits=4\nConv[weight]: bits=8\n", "Conv[weight]: bits=8\n") == []


def test_a_json_file_and_its_translation_say_the_same() -> None:
    vendor = {
        "defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_symmetric": "True"}},
        "supergroups": [{"op_list": ["Conv", "Relu"]}],
    }
    assert said(vendor, "dialect aimet\n*[param]: symmetric\n*[output]: on\nfuse Conv -> Relu\n") == []


def test_another_value_shows_both() -> None:
    assert said("Conv[weight]: bits=4\n", "Conv[weight]: bits=8\n") == [
        ("Conv[weight]: bits=4", "Conv[weight]: bits=8")
    ]


def test_silence_shows_one() -> None:
    assert said("fuse Conv -> Relu\n", "Conv[weight]: on\n") == [
        ("fuse Conv -> Relu", None),
        (None, "Conv[weight]: on"),
    ]


def test_to_name_an_operator_is_to_say_something() -> None:
    assert said({"op_type": {"Reshape": {}}}, {}) == [("Reshape", None)]
    assert said({"op_type": {"Reshape": {"is_symmetric": "True"}}}, {"op_type": {"Reshape": {}}}) == [
        ("Reshape[act]: symmetric", None),
        (None, "Reshape"),
    ]


def test_the_order_of_globs_counts() -> None:
    first, second = '~"/a/*"[output]: bits=8\n', '~"/*/b"[output]: bits=4\n'
    assert said(first + second, second + first) == [('~"/a/*", ~"/*/b"', '~"/*/b", ~"/a/*"')]


def test_the_order_of_fusions_counts_among_equals_only() -> None:
    short, long, other = "fuse Add -> Relu\n", "fuse Conv -> Add -> Relu\n", "fuse Conv -> Add\n"
    assert said(short + long, long + short) == []
    assert said(short + other, other + short) == [("Add -> Relu, Conv -> Add", "Conv -> Add, Add -> Relu")]


# ── tensor by tensor ─────────────────────────────────────────────────────────────────────────


def compared(a: str, b: str, model: str, *, before: str | None = None, after: str | None = None) -> ConfigDiff:
    """Compare two files on a model; `before` and `after` are their formats."""
    return diff(Side(a, before), Side(b, after), Choices(mode=Mode.FIXED), model)


def test_a_config_does_to_a_model_what_it_does(write: Callable[..., str]) -> None:
    path = write("a.qsim", "dialect aimet\n*[output]: on\n*[param]: on\n")
    assert compared(path, path, MODEL).tensors == ()


def test_a_tensor_shows_both_values_and_both_reasons(write: Callable[..., str]) -> None:
    four = write("a.qsim", "dialect aimet\n*[param]: on bits=4\n")
    eight = write("b.qsim", "dialect aimet\n*[param]: on bits=8\n")
    found = compared(four, eight, MODEL).tensors
    assert found
    bits = found[0].fields[0]
    assert (bits.field, bits.before, bits.after) == ("bits", 4, 8)
    assert (bits.because_before.rule, bits.because_after.rule) == ("*[param]: bits=4", "*[param]: bits=8")


def test_of_a_tensor_that_is_off_only_that_is_said(write: Callable[..., str]) -> None:
    on = write("a.qsim", "dialect aimet\n*[param]: on bits=4\n")
    off = write("b.qsim", "dialect aimet\n*[param]: off bits=8\n")
    found = compared(on, off, MODEL).tensors
    assert found
    assert {field.field for tensor in found for field in tensor.fields} == {"enabled"}


def test_rules_that_meet_nothing_change_no_tensor(write: Callable[..., str]) -> None:
    plain = write("a.qsim", "dialect aimet\n*[output]: on\n")
    more = write("b.qsim", "dialect aimet\n*[output]: on\nGRU[output]: off\n")
    found = compared(plain, more, MODEL)
    assert len(found.rules) == 1
    assert found.same


# ── one dialect with the other ───────────────────────────────────────────────────────────────

FUSED = "dialect aimet\n*[output]: on\n*[param]: on symmetric\nfuse Conv -> Relu\nmodel[input]: on\n"


@pytest.fixture
def net(tmp_path: Path) -> str:
    """Write a module of its own for each test: Python imports a name once."""
    pytest.importorskip("torch")
    name = f"nets_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NETS)
    return f"{name}:make"


def test_both_halves_of_aimet_are_compared_on_one_module(write: Callable[..., str], net: str) -> None:
    path = write("a.qsim", FUSED)
    found = compared(path, path, net, after="aimet-torch")
    assert found.rules == ()
    assert found.tensors is not None
    by_name = {t.tensor: t for t in found.tensors}
    mean, *inside = by_name
    assert mean == "/ReduceMean_output_0"
    assert {name.split("/")[1] for name in inside} == {"gelu"}
    assert {f.because_after.rule for name in inside for f in by_name[name].fields} == {"aimet-torch-inside"}
    (field,) = by_name["/ReduceMean_output_0"].fields
    assert (field.before, field.after) == (True, False)
    assert field.because_before.rule == "*[output]: on"
    assert field.because_after.rule == "aimet-torch-function"


def test_the_comparison_can_be_turned_round(write: Callable[..., str], net: str) -> None:
    path = write("a.qsim", FUSED)
    found = compared(path, path, net, before="aimet-torch").tensors
    assert found is not None
    assert {(f.before, f.after) for t in found for f in t.fields} == {(False, True)}


def test_a_port_is_named_where_it_decides(write: Callable[..., str], net: str) -> None:
    path = write("a.qsim", FUSED + "Gemm[output]: bits=4\n")
    other = write("b.qsim", FUSED)
    found = compared(path, other, net, after="aimet-torch").tensors
    assert found is not None
    assert [(t.tensor, t.at_after) for t in found if t.fields[0].field == "bits"] == [("output", "fc.output[0]")]


def test_two_plans_of_ports_are_compared_by_port(write: Callable[..., str], net: str) -> None:
    before, after = write("a.qsim", FUSED), write("b.qsim", FUSED + "Conv[weight]: off\n")
    found = compared(before, after, net, before="aimet-torch", after="aimet-torch").tensors
    assert found is not None
    assert [t.tensor for t in found] == ["conv.weight"]


def test_ports_need_a_module(write: Callable[..., str]) -> None:
    path = write("a.qsim", FUSED)
    with pytest.raises(InputError, match="Q0514"):
        compared(path, path, MODEL, after="aimet-torch")


# ── commands ─────────────────────────────────────────────────────────────────────────────────


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = command.main(args=list(arguments), standalone_mode=False)
    return int(status), capsys.readouterr().out


def test_diff_prints_what_differs(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a.qsim", "dialect aimet\n*[param]: on bits=4\n"), write("b.qsim", "dialect aimet\n*[param]: on\n")
    status, out = run(capsys, a, b, "--model", MODEL)
    assert status == 0
    assert out.startswith("--- a.qsim (aimet)\n+++ b.qsim (aimet)\n\n1 rule differs\n- *[param]: bits=4  at a.qsim:2:")
    assert "\n  bits: 4 -> 8\n-   *[param]: bits=4  at a.qsim:2:" in out


def test_diff_says_it_when_nothing_differs(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a.qsim", "dialect aimet\n*[param]: on\n")
    status, out = run(capsys, a, a, "--model", MODEL, "--check")
    assert status == 0
    assert "the configurations say the same\n\non this model they do the same\n" in out


def test_diff_can_fail_a_build(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a.qsim", "*[param]: on\n"), write("b.qsim", "*[param]: off\n")
    assert run(capsys, a, b, "--check")[0] == 4


def test_diff_is_json_on_request(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a.qsim", "dialect aimet\n*[param]: on bits=4\n"), write("b.qsim", "dialect aimet\n*[param]: on\n")
    document = json.loads(run(capsys, a, b, "--model", MODEL, "--format", "json")[1])
    assert document["rules"][0]["a"]["rule"] == "*[param]: bits=4"
    assert document["rules"][0]["b"] is None
    assert document["tensors"][0]["fields"][0]["because_a"]["line"] == 2


def test_a_plan_of_ports_has_the_shape_of_any_plan(
    write: Callable[..., str], net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("a.qsim", FUSED)
    assert cli.run(["plan", path, "--from", "aimet-torch", "--model", net, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dialect"] == "aimet-torch"
    rows = {t["tensor"]: t for t in document["tensors"]}
    assert list(rows)[:4] == ["conv.input[0]", "conv.weight", "conv.bias", "conv.output[0]"]
    assert rows["conv.weight"]["kind"] == "param"
    assert (rows["act.output[0]"]["node"], rows["act.output[0]"]["op_type"]) == ("act", "Relu")


@pytest.mark.parametrize("style", ["table", "md"])
def test_a_plan_of_ports_is_a_table(
    style: str, write: Callable[..., str], net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("a.qsim", FUSED)
    assert cli.run(["plan", path, "--from", "aimet-torch", "--model", net, "--format", style]) == 0
    assert "act.output[0]" in capsys.readouterr().out


def test_a_port_can_be_asked_for_its_reasons(
    write: Callable[..., str], net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("a.qsim", FUSED)
    assert cli.run(["why", path, "--from", "aimet-torch", "--model", net, "conv.output[0]", "enabled"]) == 0
    assert "by    fuse Conv -> Relu" in capsys.readouterr().out


def test_a_check_binds_ports(write: Callable[..., str], net: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "dialect aimet\nConv[output]: symmetric\nRelu[input]: asymmetric\n"
    path = write("a.qsim", text)
    cli.run(["check", path, "--from", "aimet-torch", "--model", net, "--format", "short"])
    assert "warning[Q0530]" in capsys.readouterr().out


def test_ports_cannot_be_built(write: Callable[..., str], net: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("a.qsim", FUSED)
    assert cli.run(["build", path, "--from", "aimet-torch", "--model", net, "--out", "o"]) == 1
    assert "error[Q0515]" in capsys.readouterr().err
