"""The schemas of `qsimc schema`: valid themselves, and in step with what reads and writes the files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from qsimc import cli, schemas
from qsimc.calibrate.encoding import Numerics
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.codecs import CODECS
from qsimc.pipeline.check import check
from qsimc.schemas import codecs, written
from qsimc.spec import keymap

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
MODEL = str(DEMO / "digits.onnx")
CONFIG = str(DEMO / "config.json")

RECORDS = [json.loads(line) for line in (ROOT / "tests/data/vitis_check.jsonl").read_text().splitlines()]
UNSAYABLE = {"pct_int99"}
"""Records that no schema can judge: JSON Schema takes 99 and 99.0 for one number, Vitis AI does not."""
SAYABLE = [r for r in RECORDS if "config" in r and r["id"] not in UNSAYABLE]
WORDS = frozenset({"Q0201", "Q0202", "Q0203", "Q0204", "Q0205", "Q0212"})
"""Errors about keys and values, which a schema can know as well."""
EMPTY: dict[str, Any] = {
    "defaults": {"ops": {}, "params": {}},
    "params": {},
    "op_type": {},
    "supergroups": [],
    "model_input": {},
    "model_output": {},
}
NET = """
import torch


def make():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), (torch.rand(1, 3),)
"""
INT8 = {"bitwidth": 8, "dtype": "int"}


def valid(name: str, document: object) -> bool:
    return Draft202012Validator(schemas.schema(name)).is_valid(document)


def findings(folder: Path, document: object) -> list[Diagnostic]:
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return check(path)


def wrong_words(found: list[Diagnostic]) -> list[Diagnostic]:
    return [d for d in found if d.code in WORDS and d.severity is Severity.ERROR]


def assert_agreement(name: str, document: object, folder: Path) -> None:
    """Wrong words make a document invalid, and one whose words nothing is said about is valid.

    Between the two are warnings, of values that count as absent and the like.
    """
    found = findings(folder, document)
    if wrong_words(found):
        assert not valid(name, document), document
    elif not any(d.code.startswith("Q02") for d in found):
        assert valid(name, document), document


# ── the schemas themselves ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schemas.schema(name))


def test_every_codec_has_a_shape() -> None:
    assert {*codecs.SHAPES, *codecs.WORDED} == set(CODECS)
    assert not set(codecs.SHAPES) & set(codecs.WORDED)


def test_the_words_for_arithmetic_are_those_of_an_encoding() -> None:
    assert get_args(Numerics) == written.NUMERICS


def test_keys_are_described_in_the_words_of_the_vocabulary() -> None:
    defaults = schemas.schema("aimet")["properties"]["defaults"]["properties"]
    assert defaults["per_channel_quantization"]["description"] == "one scale per channel, or one per tensor"


def test_printing_a_schema_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom qsimc.cli import run\nassert run(['schema', 'vitis']) == 0\n"
        "heavy = {'numpy', 'onnx', 'torch', 'jsonschema', 'jinja2', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


# ── the command ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", schemas.names())
def test_the_command_prints_a_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out) == schemas.schema(name)


def test_the_command_lists_the_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == ["aimet", "vitis", "plan", "findings", "encodings", "lock"]


def test_an_unknown_schema_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", "onnx"]) == 2
    assert "there are aimet, vitis, plan" in capsys.readouterr().err


def test_the_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", "--help"]) == 0
    assert "qsimc schema aimet" in capsys.readouterr().out


# ── vendors' formats ─────────────────────────────────────────────────────────────────────────

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("aimet", EMPTY),
    ("aimet", json.loads(Path(CONFIG).read_text())),
    ("aimet", EMPTY | {"params": {"weight": {"is_quantized": "True", "is_symmetric": "False"}}}),
    ("aimet", EMPTY | {"op_type": {"Conv": {"params": {"bias": {"is_quantized": "False"}}}}}),
    ("aimet", EMPTY | {"op_type": {"Sigmoid": {"encoding_constraints": {"min": 0.0, "max": 1}}}}),
    ("aimet", EMPTY | {"supergroups": [{"op_list": ["Conv", "Relu"]}]}),
    ("aimet", EMPTY | {"model_input": {"is_input_quantized": "True"}}),
    ("aimet", EMPTY | {"op_type": {"Conv": {"supported_kernels": [{"activation": INT8}]}}}),
    ("vitis", {"target_device": "CPU"}),
    ("vitis", {"target_device": "CPU", "quantizable_data_type": ["input", "weights"], "include_cle": True}),
    ("vitis", {"target_device": "CPU", "overall_quantize_config": {"bit_width": 8, "method": "maxmin"}}),
    ("vitis", {"target_device": "GPU", "tensor_quantize_config": {"weights": {"round_mode": "std_round"}}}),
    (
        "vitis",
        {
            "target_device": "CPU",
            "layer_quantize_config": [
                {
                    "layer_type": "Conv2d",
                    "layer_name": None,
                    "quantizable_data_type": ["weights"],
                    "tensor_quantize_config": {"weights": {"per_channel": True, "percentage": 99.9}},
                }
            ],
        },
    ),
]

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("aimet", {"defaults": {}}),
    ("aimet", EMPTY | {"quantizers": {}}),
    ("aimet", EMPTY | {"supergroups": {}}),
    ("aimet", EMPTY | {"supergroups": [{"op_list": ["Conv"]}]}),
    ("aimet", EMPTY | {"defaults": {"ops": {}, "params": {}, "per_channel_quantisation": "True"}}),
    ("aimet", EMPTY | {"defaults": {"ops": {"is_symmetric": True}, "params": {}}}),
    ("aimet", EMPTY | {"defaults": {"ops": {"is_symmetric": "true"}, "params": {}}}),
    ("aimet", EMPTY | {"defaults": {"ops": {"is_input_quantized": "True"}, "params": {}}}),  # the schema takes it
    ("aimet", EMPTY | {"model_output": {"is_output_quantized": "False"}}),  # and this
    ("aimet", EMPTY | {"op_type": {"Relu": {"encoding_constraints": {"max": 6}}}}),
    ("aimet", EMPTY | {"op_type": {"Conv": {"supported_kernels": []}}}),
    ("aimet", EMPTY | {"op_type": {"Conv": {"supported_kernels": [{"param": INT8}]}}}),
    ("aimet", EMPTY | {"op_type": {"Conv": {"supported_kernels": [{"activation": INT8 | {"dtype": "float"}}]}}}),
    ("vitis", {"include_cle": True}),
    ("vitis", {"target_device": "dpu"}),
    ("vitis", {"target_device": "CPU", "include_cle": "true"}),
    ("vitis", {"target_device": "CPU", "include_bias": True}),
    ("vitis", {"target_device": "CPU", "quantizable_data_type": ["weight"]}),
    ("vitis", {"target_device": "CPU", "overall_quantize_config": {"method": "minmax"}}),
    ("vitis", {"target_device": "CPU", "overall_quantize_config": {"bit_width": 33}}),
    ("vitis", {"target_device": "CPU", "overall_quantize_config": {"percentage": 0.0}}),
    ("vitis", {"target_device": "CPU", "layer_quantize_config": [{"layer_type": "Conv2d"}]}),
]


@pytest.mark.parametrize(("name", "document"), ACCEPTED)
def test_what_check_accepts_is_valid(name: str, document: dict[str, Any], tmp_path: Path) -> None:
    assert wrong_words(findings(tmp_path, document)) == []
    assert valid(name, document)


@pytest.mark.parametrize(("name", "document"), REFUSED)
def test_what_check_refuses_for_its_words_is_not_valid(name: str, document: dict[str, Any], tmp_path: Path) -> None:
    assert wrong_words(findings(tmp_path, document))
    assert not valid(name, document)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/data/aimet_plans/configs").iterdir()), ids=lambda path: path.stem
)
def test_configurations_that_aimet_ran_are_valid(path: Path) -> None:
    assert wrong_words(check(path)) == []
    assert valid("aimet", json.loads(path.read_text()))


@pytest.mark.parametrize("record", SAYABLE, ids=lambda record: record["id"])
def test_a_schema_and_the_reader_agree_on_vitis_configurations(record: dict[str, Any], tmp_path: Path) -> None:
    assert_agreement("vitis", record["config"], tmp_path)


POOL: list[Any] = [
    None,
    True,
    "True",
    "true",
    "",
    0,
    1,
    8,
    33,
    99.5,
    101.5,
    "int",
    "maxmin",
    "CPU",
    [],
    ["weights"],
    {},
]
"""Values to try at every place: each is right somewhere and wrong elsewhere."""
NAMES = {"params": "weight"}
"""What may stand where any name may; elsewhere an operator."""
BASES: dict[str, dict[str, Any]] = {
    "aimet": EMPTY | {"supergroups": [{"op_list": ["Conv", "Relu"]}]},
    "vitis": {
        "target_device": "CPU",
        "layer_quantize_config": [{"layer_type": "Conv2d", "quantizable_data_type": ["weights"]}],
    },
}

Steps = tuple[str | int, ...]


def places(shape: Any, at: Steps = ()) -> Iterator[tuple[Steps, dict[str, Any]]]:
    """Yield every place of a schema with what stands there; 0 stands for the first item of an array."""
    yield at, shape
    for key, below in shape.get("properties", {}).items():
        yield from places(below, (*at, key))
    if isinstance(shape.get("additionalProperties"), dict):
        yield from places(shape["additionalProperties"], (*at, NAMES.get(str(at[-1]), "Conv")))
    if shape.get("items", {}).get("type") == "object":
        yield from places(shape["items"], (*at, 0))


def with_place(name: str, path: Steps) -> tuple[Any, Any]:
    """Return a document and that part of it in which the last step of a path can be set."""
    document = json.loads(json.dumps(BASES[name]))
    inside = document
    for key, after in pairwise(path):
        if isinstance(inside, dict):
            inside.setdefault(key, [{}] if after == 0 else {})
        inside = inside[key]
    return document, inside


@pytest.mark.parametrize("name", keymap.names())
def test_a_schema_and_the_reader_agree_on_every_value_at_every_place(name: str, tmp_path: Path) -> None:
    for path, _ in places(schemas.schema(name)):
        for value in POOL if path else ():
            if path[-1] == "percentage" and isinstance(value, int):
                continue  # refused, but JSON Schema takes 8 and 8.0 for one number
            document, inside = with_place(name, path)
            inside[path[-1]] = value
            assert_agreement(name, document, tmp_path)


@pytest.mark.parametrize("name", keymap.names())
def test_no_object_takes_a_key_that_the_reader_does_not_know(name: str, tmp_path: Path) -> None:
    closed_places = [p for p, shape in places(schemas.schema(name)) if shape.get("additionalProperties") is False]
    for path in closed_places:
        document, inside = with_place(name, (*path, "no_such_key"))
        inside["no_such_key"] = {}
        assert wrong_words(findings(tmp_path, document)), path
        assert not valid(name, document), path


# ── files of our own ─────────────────────────────────────────────────────────────────────────


def closed(shape: Any) -> Any:
    """Return a schema whose objects take no key that they do not name, so that no key goes undescribed."""
    if isinstance(shape, list):
        return [closed(part) for part in shape]
    if not isinstance(shape, dict):
        return shape
    inside = {key: closed(part) for key, part in shape.items()}
    named = "properties" in shape and "required" in shape
    return {"additionalProperties": False, **inside} if named else inside


def assert_described(name: str, document: object) -> None:
    Draft202012Validator(closed(schemas.schema(name))).validate(document)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "out"
    arguments = ["--model", MODEL, "--data", str(DEMO / "digits_calibration.npz"), "--limit", "16", "--out", str(out)]
    assert cli.run(["quantize", CONFIG, *arguments]) == 0
    return out


@pytest.mark.parametrize(
    ("name", "file"), [("plan", "plan.json"), ("encodings", "encodings.json"), ("lock", "qsimc.lock")]
)
def test_a_result_is_as_described(result: Path, name: str, file: str) -> None:
    assert_described(name, json.loads((result / file).read_text()))


def test_the_lock_of_a_model_that_saw_no_data_is_as_described(tmp_path: Path) -> None:
    assert cli.run(["build", CONFIG, "--model", MODEL, "--out", str(tmp_path / "out")]) == 0
    assert_described("lock", json.loads((tmp_path / "out/qsimc.lock").read_text()))


@pytest.mark.parametrize("config", [CONFIG, "aimet:default", "vitis:default"])
def test_a_plan_is_as_described(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", config, "--model", MODEL, "--format", "json"]) == 0
    assert_described("plan", json.loads(capsys.readouterr().out))


def test_a_plan_of_ports_is_as_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    name = f"net_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--from", "aimet-torch", "--model", f"{name}:make", "--format", "json"]
    assert cli.run(["plan", CONFIG, *arguments]) == 0
    assert_described("plan", json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(EMPTY),
        json.dumps(EMPTY | {"defaults": {"ops": {"is_symmetric": "true"}, "params": {}}}),  # with a fix and a vendor
        json.dumps({"target_device": "dpu", "overall_quantize_config": {"method": "minmax", "bit_width": 0}}),
        "{",
    ],
)
def test_findings_are_as_described(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    cli.run(["check", str(path), "--format", "json"])
    assert_described("findings", json.loads(capsys.readouterr().out))


def test_a_line_of_jsonl_is_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"target_device": "dpu"}))
    cli.run(["check", str(path), "--format", "jsonl"])
    (line,) = capsys.readouterr().out.splitlines()
    Draft202012Validator(closed(schemas.schema("findings")["$defs"]["finding"])).validate(json.loads(line))


def test_findings_without_a_place_are_as_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(tmp_path / "none.json"), "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["findings"][0]["line"] is None
    assert_described("findings", document)


Break = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "broken",
    [
        lambda plan: plan.pop("mode"),
        lambda plan: plan.update(mode="strict"),
        lambda plan: plan["tensors"][0].update(type="float16"),
        lambda plan: plan["tensors"][0].update(range=[0]),
        lambda plan: plan["tensors"][0]["because"].update(color=plan["tensors"][0]["because"]["bits"]),
    ],
)
def test_what_is_no_plan_is_not_valid(broken: Break, result: Path) -> None:
    plan = json.loads((result / "plan.json").read_text())
    broken(plan)
    assert not valid("plan", plan)
