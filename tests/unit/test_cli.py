"""The command line, as people and scripts see it: exit codes, streams and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qsimc import cli, explain
from tests.command_line import Run
from tests.unit.demo import CONFIG, DATA, DEMO, MODEL, ROOT


def findings(out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(out)["findings"]
    return found


# ── commands ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        "build",
        "calibrate",
        "capabilities",
        "check",
        "evaluate",
        "explain",
        "export",
        "plan",
        "quantize",
        "targets",
        "why",
    ],
)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"qsimc {command}" in out


def test_a_clean_config_exits_0(run: Run) -> None:
    assert run("check", CONFIG) == (0, "no findings\n", "")


def test_findings_exit_1_and_go_to_stdout(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(Path(CONFIG).read_text().replace('"model_input"', '"model_inputs"'))
    status, out, err = run("check", bad, "--format", "json")
    assert (status, err) == (1, "")
    assert {d["code"] for d in findings(out)} == {"Q0201", "Q0204"}


def test_the_threshold_of_failure_can_be_chosen(run: Run, tmp_path: Path) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text(Path(CONFIG).read_text().replace('"Relu"', '"ReLU"', 1))
    assert run("check", odd)[0] == 0
    assert run("check", odd, "--fail-on", "warning")[0] == 1


def test_output_goes_to_a_file_whole(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("check", CONFIG, "--format", "sarif", "--output", tmp_path / "x.sarif")
    assert (status, out) == (0, "")
    assert json.loads((tmp_path / "x.sarif").read_text())["version"] == "2.1.0"


def test_vendor_mode_accepts_what_aimet_accepts(run: Run, tmp_path: Path) -> None:
    twice = tmp_path / "twice.json"
    twice.write_text('{"params": {},' + Path(CONFIG).read_text().lstrip()[1:])
    assert run("check", twice)[0] == 1
    status, out, _ = run("check", twice, "--mode", "vendor")
    assert status == 0
    assert "warning[Q0103]" in out


def test_the_plan_has_the_contract_s_shape(run: Run) -> None:
    status, out, _ = run("plan", CONFIG, "--model", MODEL, "--format", "json")
    document = json.loads(out)
    assert status == 0
    assert set(document) >= {"format_version", "config", "model", "target", "mode", "tensors"}
    weight = next(t for t in document["tensors"] if t["tensor"] == "stem.weight")
    expected = {"kind": "param", "role": "weight", "op_type": "Conv", "enabled": True, "type": "int", "bits": 8}
    expected |= {"symmetric": True, "per_channel": True, "axis": 0, "shares": None, "round": "half_even"}
    assert weight.items() >= expected.items()
    assert weight["because"]["enabled"].keys() >= {"path", "line", "column", "rule"}
    assert weight["because"]["enabled"]["path"] == CONFIG
    assert {t["kind"] for t in document["tensors"]} >= {"input", "activation", "param"}


@pytest.mark.parametrize("style", ["table", "md", "html"])
def test_the_plan_is_also_for_people(run: Run, style: str) -> None:
    status, out, _ = run("plan", CONFIG, "--model", MODEL, "--format", style)
    assert status == 0
    assert "stem.weight" in out


def test_precisions_come_from_the_command_line(run: Run) -> None:
    _, out, _ = run("plan", CONFIG, "--model", MODEL, "--act", "int16", "--param", "int4", "--format", "json")
    bits = {(t["kind"], t["bits"]) for t in json.loads(out)["tensors"]}
    assert bits == {("input", 16), ("activation", 16), ("param", 4)}


def test_why_names_winner_and_line(run: Run) -> None:
    status, out, _ = run("why", CONFIG, "--model", MODEL, "stem.weight", "enabled")
    assert status == 0
    assert "*[param]: on" in out
    assert f"{CONFIG}:" in out


def test_why_answers_for_every_tensor_of_the_model(run: Run) -> None:
    graph = onnx.load(MODEL).graph
    for tensor in {name for node in graph.node for name in (*node.input, *node.output) if name}:
        status, out, _ = run("why", CONFIG, "--model", MODEL, tensor)
        assert status == 0, tensor
        assert "unknown" not in out


def test_why_suggests_the_tensor_that_was_meant(run: Run) -> None:
    status, _, err = run("why", CONFIG, "--model", MODEL, "stem.wieght")
    assert status == 2
    assert "stem.weight" in err


def test_explain_prints_pages_of_codes_and_rules(run: Run) -> None:
    assert run("explain", "q0201")[1].startswith("# Q0201")
    assert run("explain", "aimet-grid-preserving")[0] == 0
    pages = json.loads(run("explain", "--all", "--format", "json")[1])["pages"]
    assert len(pages) > 30
    status, _, err = run("explain", "Q0210")
    assert status == 2
    assert "Q0" in err


def test_every_page_is_printed_for_programs_and_for_people(run: Run) -> None:
    status, out, _ = run("explain", "--all", "--format", "json")
    document = json.loads(out)
    assert (status, document["format_version"]) == (0, "1.0")
    assert {frozenset(page) for page in document["pages"]} == {frozenset({"code", "title", "text"})}
    assert [page["code"] for page in document["pages"]] == [*explain.codes("diagnostics"), *explain.codes("rules")]
    text = run("explain", "--all")[1]
    assert all(page["text"].rstrip("\n") in text for page in document["pages"])
    assert run("explain", "Q0201", "--all")[0] == 2


def test_capabilities_are_for_programs(run: Run) -> None:
    document = json.loads(run("capabilities", "--format", "json")[1])
    assert document["format_version"] == "1.0"
    assert "aimet" in document["formats"]
    assert "aimet:default" in document["targets"]


def test_targets_are_printed_as_they_are_written(run: Run) -> None:
    assert "aimet:default" in run("targets")[1]
    assert run("targets", "aimet:default")[1] == (ROOT / "specs/targets/aimet-default.qsim").read_text()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "out"
    arguments = ["quantize", CONFIG, "--model", MODEL, "--data", DATA, "--out", str(out)]
    assert cli.run(arguments) == 0
    return out


def test_quantize_writes_everything_the_contract_names(result: Path) -> None:
    names = {"plan.json", "encodings.json", "digits.qdq.onnx", "digits.aimet.json", "report.html", "qsimc.lock"}
    assert {path.name for path in result.iterdir()} == names
    (entry, *_) = json.loads((result / "encodings.json").read_text())["encodings"].values()
    assert set(entry) >= {"bits", "signed", "symmetric", "scale", "zero_point", "qmin", "qmax", "min", "max", "axis"}


def test_a_result_is_made_twice_alike(run: Run, result: Path, tmp_path: Path) -> None:
    assert run("quantize", CONFIG, "--model", MODEL, "--data", DATA, "--out", tmp_path / "again")[0] == 0
    for path in result.iterdir():
        again = (tmp_path / "again" / path.name).read_bytes()
        assert path.name == "qsimc.lock" or again == path.read_bytes(), path.name


def test_evaluate_finds_qdq_equal_to_the_simulation(run: Run, result: Path) -> None:
    test = str(DEMO / "digits_test.npz")
    status, out, _ = run("evaluate", result, "--model", MODEL, "--data", test, "--format", "json")
    document = json.loads(out)
    assert status == 0
    assert document["qdq_equals_simulation"] is True
    assert document["outputs"][0]["sqnr_float_qdq"] > 20
    sqnr = [t["sqnr"] for t in document["tensors"]]
    assert sqnr == sorted(sqnr)


@pytest.mark.parametrize("form", ["qdq", "aimet-0.6.1", "aimet-1.0.0"])
def test_export_gives_another_form(run: Run, result: Path, tmp_path: Path, form: str) -> None:
    status, out, _ = run("export", result, "--to", form, "--out", tmp_path / "x")
    assert status == 0
    assert all(Path(line).is_file() for line in out.splitlines())
    if form == "qdq":
        assert (tmp_path / "x/digits.qdq.onnx").read_bytes() == (result / "digits.qdq.onnx").read_bytes()
    else:
        assert json.loads(next((tmp_path / "x").iterdir()).read_text())["version"] == form.removeprefix("aimet-")


def test_build_writes_a_model_that_computes_the_same(run: Run, tmp_path: Path) -> None:
    for _ in range(2):  # the second one replaces the first, which was ours
        assert run("build", CONFIG, "--model", MODEL, "--out", tmp_path / "b")[0] == 0
    built = onnx.load(tmp_path / "b/digits.sim.onnx")
    assert any(node.name == "quantize/stem.weight" for node in built.graph.node)


def test_calibrate_keeps_mergeable_statistics(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "c"
    assert run("calibrate", CONFIG, "--model", MODEL, "--data", DATA, "--limit", "32", "--out", out)[0] == 0
    index = json.loads((out / "stats/index.json").read_text())["statistics"]
    assert index["relu"]["kind"] == "MinMax"
    assert set(np.load(out / "stats/statistics.npz").files) == {m for s in index.values() for m in s["members"]}


@pytest.mark.parametrize("calib", ["sqnr", "percentile", "mse", "entropy"])
def test_every_calibration_runs(run: Run, tmp_path: Path, calib: str) -> None:
    arguments = ["--data", DATA, "--calib", calib, "--limit", "64", "--out", tmp_path / "x"]
    status, _, err = run("quantize", CONFIG, "--model", MODEL, *arguments)
    assert status == 0, err


def test_a_mask_of_minus_infinity_stays_float(run: Run, tmp_path: Path) -> None:
    mask = helper.make_tensor("mask", TensorProto.FLOAT, [1, 2], [0.0, -np.inf])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "mask"], ["masked"]), helper.make_node("Softmax", ["masked"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [mask],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.array([[1, 2], [3, -1]], np.float32))
    arguments = ["--model", tmp_path / "m.onnx", "--data", tmp_path / "d.npz"]
    status, _, err = run("quantize", "aimet:default", *arguments, "--out", tmp_path / "out")
    assert status == 0, err
    assert "warning[Q0614]: `masked` holds infinity" in err
    tensors = json.loads((tmp_path / "out/plan.json").read_text())["tensors"]
    masked = next(t for t in tensors if t["tensor"] == "masked")
    assert (masked["enabled"], masked["because"]["enabled"]["rule"]) == (False, "infinite-values")
    status, out, _ = run("evaluate", tmp_path / "out", *arguments, "--format", "json")
    assert json.loads(out)["qdq_equals_simulation"] is True


def test_a_search_does_not_clip_constant_operands(run: Run, tmp_path: Path) -> None:
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph(
        [helper.make_node("Pow", ["x", "two"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [two],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.array([[1, -2], [3, -1]], np.float32))
    arguments = ["--model", tmp_path / "m.onnx", "--data", tmp_path / "d.npz"]
    status, _, err = run("quantize", "aimet:default", *arguments, "--calib", "sqnr", "--out", tmp_path / "out")
    assert status == 0, err
    assert "warning[Q0529]" in err
    encodings = json.loads((tmp_path / "out/encodings.json").read_text())["encodings"]
    assert encodings["two"]["max"] == [2.0]
    status, out, _ = run("evaluate", tmp_path / "out", *arguments, "--format", "json")
    assert json.loads(out)["outputs"][0]["finite"] is True
