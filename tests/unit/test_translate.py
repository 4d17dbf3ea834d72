"""`qsimc translate` and `qsimc breaking`: files in another format, what is lost on the way, what a change changes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qsimc
from qsimc import explain, formats
from qsimc.diagnostics import Severity
from qsimc.formats import foreign
from qsimc.ir.loss import LossKind
from qsimc.pipeline.translate import translated
from qsimc.source import Source
from qsimc.spec import keymap
from qsimc.spec.operator_words import operator_words
from qsimc.spec.operators import names
from qsimc.spec.vitis_ops import vitis_operators
from tests.command_line import Run
from tests.unit.plans import plan_of

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "configs"
MODEL = str(ROOT / "demo" / "digits.onnx")
CONFIG = str(ROOT / "demo" / "config.json")


def kinds(path: str | Path, to: str, **options: Any) -> set[LossKind]:
    return {loss.kind for loss in translated(str(path), to, **options).losses}


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "cfg.qsim"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


# ── identity ─────────────────────────────────────────────────────────────────────────────────

REAL = sorted(
    path
    for vendor in keymap.names()
    for path in (SHARED / vendor).rglob("*.json")
    if "vai_q_tensorflow2" not in path.parts
)


@pytest.mark.skipif(not REAL, reason="the recorded files are not beside the checkout")
@pytest.mark.parametrize("path", REAL or [Path(CONFIG)], ids=lambda path: path.name)
def test_a_real_file_survives_qsim(path: Path, run: Run, tmp_path: Path) -> None:
    vendor = "vitis" if "vitis" in path.parts else "aimet"
    between, again = tmp_path / "cfg.qsim", tmp_path / "cfg.json"
    assert run("translate", path, "--from", vendor, "--to", "qsim", "--lossless", "--output", between)[0] == 0
    assert run("translate", between, "--to", vendor, "--lossless", "--output", again)[0] == 0
    assert json.loads(again.read_text(encoding="utf-8")) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("to", ["aimet", "qsim"])
def test_nothing_is_lost_within_a_dialect(to: str, run: Run) -> None:
    status, out, err = run("translate", CONFIG, "--to", to, "--lossless")
    assert (status, err) == (0, "")
    assert out


# ── losses ───────────────────────────────────────────────────────────────────────────────────


def test_a_loss_points_at_what_is_lost(run: Run, program: Callable[[str], str]) -> None:
    path = program("dialect vitis\ntarget vitis-dpu\n*[output]: round=half_down\n")
    status, _, err = run("translate", path, "--to", "aimet", "--format", "json")
    found = [f for f in json.loads(err)["findings"] if f["code"] == "Q0740" and f["path"] == path]
    assert (status, [(f["line"], f["column"]) for f in found]) == (0, [(3, 12)])


def test_lossless_writes_nothing_and_exits_3(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    status, out, err = run("translate", CONFIG, "--to", "vitis", "--lossless", "--output", output)
    assert (status, out, output.exists()) == (3, "", False)
    assert "Q0745" in err


def test_a_config_with_errors_is_not_translated(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"defaults": {}}', encoding="utf-8")
    status, out, err = run("translate", bad, "--to", "qsim")
    assert (status, out) == (1, "")
    assert "Q0204" in err


@pytest.mark.parametrize("to", ["aimit", "aimet-qtypes"])
def test_a_format_that_cannot_be_written_is_usage(to: str, run: Run) -> None:
    status, _, err = run("translate", CONFIG, "--to", to)
    assert status == 2
    assert "aimet" in err


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("*[output]: on bits=4", LossKind.DTYPE),
        ("*[output]: on calib=mse", LossKind.ESTIMATOR),
        ("*[output]: on scale=pow2", LossKind.SCALE),
        ("*[output]: on round=half_up", LossKind.ROUNDING),
        ("*[output]: on reduce=mean", LossKind.STATISTIC),
        ("*[output]: on asymmetric signed", LossKind.SIGNEDNESS),
        ('"n1"[output]: off', LossKind.SELECTOR),
        ("Conv -> Relu[output]: off", LossKind.SELECTOR),
        ("*[weight]: on\n*[output]: on\n*[weight]: narrow_range", LossKind.NARROW_RANGE),
        ("*[output]: on\nRelu[output]: on\nrequire *: bits <= 8", LossKind.RESTRICTION),
    ],
)
def test_what_aimet_cannot_say_is_a_loss(said: str, kind: LossKind, program: Callable[[str], str]) -> None:
    assert kind in kinds(program(f"{said}\n"), "aimet")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("fuse Conv -> Relu", LossKind.SUPERGROUP),
        ("*[output]: on\nSoftmax[output]: range=0..1", LossKind.CONSTRAINT),
        ("*[output]: on\nRelu[output]: off", LossKind.PLACEMENT),
        ("*[output]: on calib=sqnr", LossKind.ESTIMATOR),
        ("Cast[output]: on", LossKind.SELECTOR),
        ("*[output]: on per_group=32", LossKind.GRANULARITY),
    ],
)
def test_what_vitis_cannot_say_is_a_loss(said: str, kind: LossKind, program: Callable[[str], str]) -> None:
    assert kind in kinds(program(f"{said}\n"), "vitis")


def test_what_means_the_same_in_silence_is_no_loss(program: Callable[[str], str]) -> None:
    path = program("*: type=int bits=8 scale=float round=half_even calib=minmax\n*[output]: on\n")
    assert kinds(path, "aimet") == set()


def test_parameters_of_other_names_are_carried_over_or_lost(program: Callable[[str], str]) -> None:
    path = program("*[output]: on\nBatchNormalization[running_mean, running_var]: off\n")
    said = json.loads(qsimc.translate(path, to="aimet")[0])["op_type"]["BatchNormalization"]["params"]
    assert said == {"running_mean": {"is_quantized": "False"}, "running_var": {"is_quantized": "False"}}
    assert LossKind.PLACEMENT in kinds(path, "vitis")


def test_a_model_names_the_tensors_that_change(run: Run) -> None:
    _, losses = qsimc.translate(CONFIG, to="vitis", model=MODEL)
    assert any("relu_1" in loss.tensors for loss in losses)
    status, _, err = run("translate", CONFIG, "--to", "vitis", "--model", MODEL)
    assert status == 0
    assert "changes `" in err


def test_a_traced_name_is_found_on_the_model(program: Callable[[str], str]) -> None:
    path = program('dialect vitis\ntarget vitis-cpu\n"hidden" {\n  [weight]: on\n  [weight]: bits=4\n}\n')
    assert LossKind.SELECTOR in kinds(path, "aimet")
    assert LossKind.MATERIALISED in kinds(path, "aimet", model=MODEL)


def test_what_no_backend_simulates_is_translated_all_the_same(program: Callable[[str], str]) -> None:
    path = program("*[weight]: on bits=4 per_group=32\n")
    assert LossKind.GRANULARITY in kinds(path, "aimet", model=MODEL)
    with pytest.raises(qsimc.InputError, match="Q0551"):
        qsimc.plan(path, MODEL)


def test_chains_and_patterns_become_names_on_a_model(program: Callable[[str], str]) -> None:
    path = program('*[output]: on\nConv -> Relu[output]: bits=4\n~"node_linear*"[output]: bits=6\n')
    assert LossKind.SELECTOR in kinds(path, "vitis")
    assert kinds(path, "vitis", model=MODEL) >= {LossKind.MATERIALISED}
    text, _ = qsimc.translate(path, to="vitis", model=MODEL)
    named = {e["layer_name"]: e for e in json.loads(text)["layer_quantize_config"]}
    assert named["node_relu"]["overall_quantize_config"]["bit_width"] == 4
    assert named["node_linear"]["overall_quantize_config"]["bit_width"] == 6


LOSSES = {kind.value[0]: explain.explain(kind.value[0]).text for kind in LossKind}
SESSION = re.compile(r"^```console\n\$ cat (\S+)\n(.*?)\$ qsimc (translate .*?)\n(.*?)\n```$", re.M | re.S)


@pytest.mark.parametrize("code", LOSSES)
def test_the_page_of_a_loss_shows_what_is_printed(
    code: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SESSION.search(LOSSES[code])
    assert session is not None
    name, content, command, finding = session.groups()
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    _, _, err = run(*command.replace("demo/digits.onnx", MODEL).split())
    assert finding.startswith(("warning", "info"))
    assert f"[{code}]" in finding
    assert finding in err.splitlines()


# ── dialects ─────────────────────────────────────────────────────────────────────────────────


def test_a_vitis_translation_is_accepted_by_its_own_checks(tmp_path: Path) -> None:
    path = tmp_path / "vitis.json"
    path.write_text(qsimc.translate(CONFIG, to="vitis")[0], encoding="utf-8")
    found = qsimc.check(path, mode="vendor")
    assert [d for d in found if d.severity is Severity.ERROR] == []


def test_the_words_of_vitis_are_those_of_its_operators() -> None:
    named = set(operator_words("vitis").meant)
    assert set(vitis_operators().words()) - {"input", "tensor"} <= named <= set(names("vitis"))


@pytest.mark.parametrize("family", sorted(path.stem for path in (ROOT / "specs" / "formats").glob("*.toml")))
def test_operator_words_are_of_onnx_operators(family: str) -> None:
    try:
        words = operator_words(family)
    except KeyError:  # a table of something else
        return
    assert set(words.of) <= set(names("onnx"))
    assert all(words.of.values())


@pytest.mark.parametrize("name", foreign.names())
def test_a_format_can_be_read_or_written_and_has_a_title(name: str) -> None:
    found = foreign.reader(name) or foreign.writer(name)
    assert found is not None
    assert found.TITLE
    assert found.SUFFIX.startswith(".")


# ── chains ───────────────────────────────────────────────────────────────────────────────────

TWO = """agraph (float[1,4,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z)
    <float[4,4,1,1] w, float[4,4,1,1] v> {
    [first] a = Conv (x, w)
    [act] y = Sigmoid (a)
    [second] b = Conv (x, v)
    [shared] c = Sigmoid (b)
    [sum] z = Add (c, b)
}"""


def test_a_rule_about_a_chain_is_about_its_last_node() -> None:
    plan = plan_of("*[output]: on\nConv -> Sigmoid[output]: bits=4\nSigmoid[output]: bits=16\n", TWO)
    # The second convolution feeds two nodes, so its Sigmoid ends no chain.
    assert (plan["y"].spec.bits, plan["c"].spec.bits) == (4, 16)


def test_a_name_outranks_a_chain() -> None:
    plan = plan_of('*[output]: on\n"act"[output]: bits=6\n(Conv | Gemm) -> (Sigmoid | Clip)[output]: bits=4\n', TWO)
    assert plan["y"].spec.bits == 6


# ── breaking ─────────────────────────────────────────────────────────────────────────────────


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "base.qsim").write_text("*[output]: on\n", encoding="utf-8")
    (tmp_path / "cfg.qsim").write_text('extends "base.qsim"\nConv[weight]: on bits=8\n', encoding="utf-8")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_another_layout_breaks_nothing(run: Run, repository: Path) -> None:
    (repository / "base.qsim").write_text("# outputs\n*[output]:   on\n", encoding="utf-8")
    assert run("breaking", repository / "cfg.qsim", "--against", "git:main") == (0, "nothing changes\n", "")


def test_a_changed_rule_breaks_at_its_new_place(run: Run, repository: Path) -> None:
    (repository / "cfg.qsim").write_text('extends "base.qsim"\n\nConv[weight]: on bits=4\n', encoding="utf-8")
    status, out, _ = run("breaking", repository / "cfg.qsim", "--against", "git:main", "--format", "short")
    assert status == 1
    assert "cfg.qsim:3:18: error[Q0321] `Conv[weight]: bits=8` was said before" in out


def test_a_change_in_what_is_extended_counts(run: Run, repository: Path) -> None:
    (repository / "base.qsim").write_text("*[output]: on symmetric\n", encoding="utf-8")
    status, out, _ = run("breaking", repository / "cfg.qsim", "--against", "git:main", "--model", MODEL)
    assert status == 1
    assert "symmetric: False -> True" in out


def test_no_earlier_version_is_usage(run: Run, repository: Path) -> None:
    status, _, err = run("breaking", repository / "cfg.qsim", "--against", "git:v9")
    assert status == 2
    assert "Q0116" in err


def test_an_earlier_file_will_do(run: Run) -> None:
    assert run("breaking", CONFIG, "--against", CONFIG)[0] == 0


def test_source_text_of_a_quoted_name_is_qsim() -> None:
    config = formats.read(Source("c", '"node"[output]: off\n'), lambda d: pytest.fail(d.message))
    assert config is not None
    assert config.format == "qsim"
