"""Targets are data: each says what its maker's file says, restricts configurations, and is one row of a table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from qsimc import formats, targets
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats import builtin, keyed_writer
from qsimc.ir.config import Config, Value
from qsimc.ir.select import alternatives, chains, show
from qsimc.pipeline.check import check
from qsimc.source import Source
from qsimc.spec import keymap
from tests.command_line import Run

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT.parent / "shared/configs/aimet/wheel-2.42"

# What comes with AIMET 2.42, by a digest of its content with sorted keys; the files themselves are not ours.
AIMET: dict[str, dict[str, str]] = json.loads((ROOT / "tests/data/aimet_targets.json").read_text())


def read(source: Source) -> Config:
    found: list[Diagnostic] = []
    config = formats.read(source, found.append)
    assert config is not None
    assert not [d for d in found if d.severity is Severity.ERROR]
    return config


def errors(path: Path, target: str | None = None) -> list[tuple[str, str]]:
    return [(d.code, d.name) for d in check(path, target=target) if d.severity is Severity.ERROR]


def wrote(folder: Path, text: str, name: str = "c.qsim") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def aimet(**sections: Any) -> str:
    base: dict[str, Any] = {
        "defaults": {
            "ops": {"is_output_quantized": "True"},
            "params": {"is_quantized": "True", "is_symmetric": "True"},
        },
        "params": {"bias": {"is_quantized": "False"}},
        "op_type": {},
        "supergroups": [],
        "model_input": {"is_input_quantized": "True"},
        "model_output": {},
    }
    return json.dumps(base | sections, indent=2)


# ── what AIMET ships ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stem", AIMET)
def test_a_target_printed_as_json_is_the_vendor_s_file(stem: str) -> None:
    text = keyed_writer.write(keymap.load("aimet"), read(builtin.source(stem)), lambda _: None)
    canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == AIMET[stem]["sha256"]


Facts = tuple[dict[tuple[str, ...], Value], list[tuple[str, ...]], dict[str, Value]]


def facts(config: Config) -> Facts:
    """Return settings by selector, role and field, chains in order, and options; named operators have an entry."""
    settings: dict[tuple[str, ...], Value] = {}
    for rule in config.rules:
        for selector in map(show, alternatives(rule.selector)):
            settings.setdefault((selector,), None)
            for clause in rule.clauses:
                for role in clause.roles or ("",):
                    settings |= {(selector, role, s.field): s.value for s in clause.settings}
    return settings, [c for f in config.fusions for c in chains(f.chain)], {o.name: o.value for o in config.options}


@pytest.mark.parametrize("stem", AIMET)
def test_a_target_says_what_the_vendor_s_file_says(stem: str) -> None:
    path = SHIPPED / AIMET[stem]["file"]
    if not path.is_file():
        pytest.skip("the vendor's files are not here")
    ours, theirs = read(builtin.source(stem)), read(Source(str(path), path.read_text()))
    assert facts(ours) == facts(theirs)


def test_aliases_of_a_file_are_the_file() -> None:
    names = {record["file"]: stem for stem, record in AIMET.items()}
    assert len(names) == len(AIMET)
    assert {path.name for path in SHIPPED.glob("*.json")} <= set(names)


# ── the folder ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stem", builtin.stems())
def test_every_file_says_what_it_is_and_where_that_is_known_from(stem: str) -> None:
    text = builtin.source(stem).text
    assert len(text.split("\n", 1)[0]) > 20
    assert text.split("\n", 2)[1].startswith("# Source: ")


def test_files_are_configurations_families_or_hardware() -> None:
    assert set(targets.names()) == {"aimet:default", "aimet:default-per-tensor", "vitis:default"}
    assert targets.families() == ("aimet", "enpu", "htp")
    assert {"htp-v73", "enpu-v7", "aimet-dsp", "tflite-int8", "vitis-dpu", "xnnpack"} <= set(targets.hardware())
    known = [name.replace(":", "-") for name in targets.names()]
    assert sorted([*known, *targets.families(), *targets.hardware()]) == list(builtin.stems())


@pytest.mark.parametrize("name", targets.hardware())
def test_a_target_takes_the_configuration_that_it_comes_with(name: str, tmp_path: Path) -> None:
    path = wrote(tmp_path, f"extends target {name}\n")
    assert not [d for d in check(path) if d.severity is Severity.ERROR]


@pytest.mark.parametrize("name", [*targets.hardware(), *targets.families()])
def test_every_restriction_and_caution_has_a_name_and_a_reason(name: str) -> None:
    for restriction in (*targets.load(name).config.restrictions, *targets.cautions(name)):
        assert restriction.name
        assert restriction.message


def test_every_caution_is_about_a_target() -> None:
    stems = {path.stem for path in (ROOT / "specs/cautions").glob("*.qsim")}
    assert stems <= {*targets.hardware(), *targets.families()}


# ── checking against a target ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "target", "names"),
    [
        ("*[weight]: bits=16", "tflite-int8", ["lite-bits"]),
        ("*[weight]: full_range", "tflite-int8", ["lite-narrow"]),
        ("*[bias]: bits=8", "tflite-int8", ["lite-bias-bits"]),
        ("*[output]: unsigned", "tflite-int8", ["lite-signed"]),
        ("*[output]: per_channel", "tflite-int8", ["lite-act-per-tensor"]),
        ("*: type=float16", "tflite-int8", ["lite-integers"]),
        ("Softmax[output]: range=0..1", "tflite-int8", ["lite-probability"]),
        ("Softmax[output]: range=0..0.99609375", "tflite-int8", []),
        ("LogSoftmax[output]: range=-16..0", "tflite-int8", ["lite-log"]),
        ("*[output]: asymmetric", "tensorrt-qdq", ["trt-symmetric"]),
        ("*[output]: type=int bits=4", "tensorrt-qdq", ["trt-act-bits"]),
        ("*[weight]: type=int bits=4", "tensorrt-qdq", []),
        ("*: type=float8_e4m3", "tensorrt-qdq", []),
        ("*: type=float8_e5m2", "tensorrt-qdq", ["trt-float8"]),
        ("*[weight]: unsigned\n*[input]: signed", "onnxruntime-qdq", ["ort-s8u8"]),
        ("*[weight]: signed\n*[input]: unsigned", "onnxruntime-qdq", []),
        ("*[bias]: on", "qnnpack", ["qnnpack-bias"]),
        ("*[weight]: full_range\n*[act]: signed", "qnnpack", ["qnnpack-weight-narrow"]),
        ("*[weight]: full_range\n*[act]: unsigned", "qnnpack", []),
        ("*[weight]: bits=4\n*[input]: static", "xnnpack", ["xnnpack-weight-only-dynamic"]),
        ("*[weight]: bits=4\n*[input]: dynamic", "xnnpack", []),
        ("*[weight]: on\n*[input]: off", "xnnpack", ["xnnpack-weight-only"]),
        ("*[act]: type=int bits=2", "htp-v73", ["aimet-act-bits"]),
        ("*[output]: per_channel", "htp-v73", ["aimet-param-channels"]),
        ("*: calib=mse", "enpu-v6", ["aimet-calib"]),
        ("*: type=int scale=pow2", "aimet-dsp", ["aimet-scale"]),
    ],
)
def test_a_restriction_of_a_target(line: str, target: str, names: list[str], tmp_path: Path) -> None:
    assert [name for _, name in errors(wrote(tmp_path, f"{line}\n"), target)] == names


def test_a_tensor_that_is_not_quantized_breaks_nothing(tmp_path: Path) -> None:
    assert errors(wrote(tmp_path, "*[bias]: on bits=8\n"), "tflite-int8") == [("Q0401", "lite-bias-bits")]
    assert not errors(wrote(tmp_path, "*[bias]: off bits=8\n"), "tflite-int8")


@pytest.mark.parametrize("name", [name for name in AIMET if name in targets.hardware()])
def test_a_vendor_s_own_file_is_legal_for_its_target(name: str, tmp_path: Path) -> None:
    text = keyed_writer.write(keymap.load("aimet"), read(builtin.source(name)), lambda _: None)
    found = check(wrote(tmp_path, text, "c.json"), target=name)
    assert not [d for d in found if d.code in ("Q0401", "Q0402")]


def test_a_file_for_other_hardware_is_told_from_its_target(tmp_path: Path) -> None:
    defaults = {"ops": {}, "params": {}, "hw_version": "V69"}
    path = wrote(tmp_path, aimet(defaults=defaults), "c.json")
    (found,) = [d for d in check(path, target="htp-v73") if d.code == "Q0402"]
    assert (found.severity, found.labels[0].span.text) == (Severity.WARNING, '"V69"')
    assert "V73" in found.message
    assert not [d for d in check(path, target="htp-v69") if d.code == "Q0402"]


@pytest.mark.parametrize(
    ("target", "bits", "known"),
    [
        ("htp-v73", 4, {"norm-bits"}),
        ("htp-v69", 16, {"norm-eight-bits"}),
        ("htp-v73", 16, set()),
        ("enpu-v6", 8, set()),
    ],
)
def test_the_params_of_norms_are_aimet_s_own_business(target: str, bits: int, known: set[str], tmp_path: Path) -> None:
    path = wrote(tmp_path, f"dialect aimet\nBatchNormalization[weight]: on bits={bits} symmetric\n")
    notes = {note for d in check(path, target=target) if d.code == "Q0402" for note in d.notes}
    assert {note.split("`")[1] for note in notes if note.startswith("known as")} == known


def test_a_target_that_is_extended_restricts_once(tmp_path: Path) -> None:
    path = wrote(tmp_path, "extends target vitis-dpu\n*: asymmetric\n")
    assert errors(path) == [("Q0401", "dpu-symmetric")]


def test_a_target_that_is_asked_for_stands_in_for_the_one_that_is_extended(tmp_path: Path) -> None:
    path = wrote(tmp_path, "extends target vitis-dpu\n*[output]: asymmetric\n")
    assert not [name for _, name in errors(path, "htp-v73") if name.startswith("dpu-")]


def test_a_restriction_of_one_s_own_stays_whatever_the_target(tmp_path: Path) -> None:
    path = wrote(tmp_path, 'target xnnpack\n*: calib=mse\nforbid *: calib == mse "too slow" as no-mse\n')
    assert errors(path) == errors(path, "qnnpack") == [("Q0401", "no-mse")]


# ── the command line ─────────────────────────────────────────────────────────────────────────


def test_targets_lists_all_but_families(run: Run) -> None:
    listed = {line.split()[0] for line in run("targets")[1].splitlines()}
    assert listed == {*targets.names(), *targets.hardware()}
    document = json.loads(run("targets", "--format", "json")[1])
    kinds = {row["name"]: row["kind"] for row in document["targets"]}
    assert (kinds["htp-v73"], kinds["aimet:default"]) == ("hardware", "configuration")
    assert all(row["title"] and "text" not in row for row in document["targets"])


def test_one_target_is_printed_as_it_is_written(run: Run) -> None:
    assert run("targets", "htp")[1] == (ROOT / "specs/targets/htp.qsim").read_text()
    (row,) = json.loads(run("targets", "htp-v75", "--format", "json")[1])["targets"]
    assert row["text"] == (ROOT / "specs/targets/htp-v75.qsim").read_text()
    status, _, err = run("targets", "htp-v74")
    assert status == 2
    assert "did you mean `htp-v7" in err


def test_all_targets_are_a_table(run: Run, tmp_path: Path) -> None:
    path = wrote(tmp_path, aimet(), "c.json")
    status, out, _ = run("check", path, "--target", "all")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()[: len(targets.hardware())]}
    assert tuple(rows) == targets.hardware()
    assert rows["htp-v73"].split() == ["htp-v73", "accepts"]
    assert "errors" in rows["vitis-dpu"]
    assert "Q0401 dpu-symmetric" in rows["vitis-dpu"]
    status, out, _ = run("check", path, "--target", "all", "--format", "json")
    document = json.loads(out)
    assert document["format_version"] == "1.0"
    by_name = {row["target"]: row for row in document["targets"]}
    assert by_name["htp-v73"] == {"target": "htp-v73", "accepts": True, "findings": []}
    assert not by_name["vitis-dpu"]["accepts"]
    assert by_name["vitis-dpu"]["findings"][0]["code"] == "Q0401"


def test_the_status_says_whether_any_target_accepts(run: Run, tmp_path: Path) -> None:
    bad = wrote(tmp_path, aimet(params={"bias": {"is_quantised": "True"}}), "c.json")
    assert run("check", bad, "--target", "all")[0] == 1
    assert run("check", bad, "--target", "all", "--exit-zero")[0] == 0
    odd = wrote(tmp_path, aimet(supergroups=[{"op_list": ["Conv", "ReLU"]}]), "d.json")
    assert run("check", odd, "--target", "all")[0] == 0
    assert run("check", odd, "--target", "all", "--fail-on", "warning")[0] == 1
    assert run("check", tmp_path / "missing.json", "--target", "all")[0] == 2


@pytest.mark.parametrize(
    "options",
    [("--model", "m.onnx"), ("--fix",), ("--format", "sarif"), ("--baseline", "b.json")],
)
def test_a_table_has_no_use_for_some_options(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    path = wrote(tmp_path, aimet(), "c.json")
    assert run("check", path, "--target", "all", *options)[0] == 2
    assert run("check", path, path, "--target", "all")[0] == 2
