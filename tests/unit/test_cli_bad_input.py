"""The command line and every kind of bad input: one error, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.command_line import Run
from tests.unit.demo import CONFIG, DATA, MODEL, ROOT

EMPTY = (
    '{"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {},'
    ' "supergroups": [], "model_input": {}, "model_output": {}}'
)


def conv_model(path: Path, **changes: Any) -> Path:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [2.0])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if changes.get("external"):
        initializer = model.graph.initializer[0]
        initializer.ClearField("float_data")
        initializer.data_location = TensorProto.EXTERNAL
        initializer.external_data.add(key="location", value=changes["external"])
    path.write_bytes(model.SerializeToString())
    return path


GOOD = np.zeros((4, 1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("inputs", "code", "status"),
    [
        ({"config": "missing.json"}, "Q0101", 2),
        ({"config": "{"}, "Q0102", 1),
        ({"config": EMPTY.replace('"op_type": {}', '"op_type": []')}, "Q0203", 1),
        ({"model": "missing.onnx"}, "Q0501", 2),
        ({"model": b"this is no model"}, "Q0502", 1),
        ({"external": "weights.bin"}, "Q0503", 1),
        ({"external": "../weights.bin"}, "Q0504", 1),
        ({"model": "no.such.module:factory"}, "Q0510", 1),
        ({"data": "missing.npz"}, "Q0601", 2),
        ({"arrays": {"z": GOOD}}, "Q0602", 1),
        ({"arrays": {"x": GOOD[:, 0]}}, "Q0603", 1),
        ({"arrays": {"x": np.full_like(GOOD, np.nan)}}, "Q0604", 1),
        ({"arrays": {"x": GOOD[:0]}}, "Q0605", 1),
        ({"arrays": {"x": GOOD.astype(np.complex64)}}, "Q0606", 1),
        ({"out": "taken"}, "Q0611", 1),
    ],
)
def test_bad_input_is_one_error_and_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Any], code: str, status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    config = inputs.get("config", CONFIG)
    if config.startswith("{"):
        Path("c.json").write_text(config)
        config = "c.json"
    model: Any = inputs.get("model") or conv_model(Path("m.onnx"), external=inputs.get("external"))
    if isinstance(model, bytes):
        Path("bad.onnx").write_bytes(model)
        model = "bad.onnx"
    np.savez("d.npz", **inputs.get("arrays", {"x": GOOD}))
    Path("taken").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    out = inputs.get("out", "out")
    got, product, err = run("quantize", config, "--model", model, "--data", inputs.get("data", "d.npz"), "--out", out)
    errors = [line for line in err.splitlines() if line.startswith("error[")]
    assert got == status, err
    assert product == ""
    assert len(errors) >= 1
    assert errors[0].startswith(f"error[{code}]"), err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("taken").read_text() == "mine"


def test_an_interrupt_says_where_it_stood_and_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qsimc.calibrate.feeds import Feeds

    calls = iter(range(100))

    def interrupting(step: str) -> Callable[..., None]:
        whole: Callable[..., None] = getattr(Feeds, step)

        def interrupted(*arguments: Any) -> None:
            if next(calls) == 4:
                raise KeyboardInterrupt
            whole(*arguments)

        return interrupted

    for step in ("take", "show"):
        monkeypatch.setattr(Feeds, step, interrupting(step))
    arguments = ["quantize", CONFIG, "--model", MODEL, "--data", DATA, "--out", tmp_path / "out", "--batch-size", "8"]
    status, _, err = run(*arguments)
    assert status == 130
    assert "of 256 samples; nothing was written" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["check"],
        ["plan", "x"],
        ["check", "x", "--from", "y"],
        ["plan", "x", "--model", "m", "--act", "i8"],
    ],
)
def test_misuse_exits_2_with_usage(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Usage:" in err


def test_check_imports_nothing_heavy() -> None:
    script = (
        "import sys; from qsimc.cli import run; run(['check', sys.argv[1]]);"
        "heavy = {'torch', 'onnx', 'onnx_ir', 'numpy', 'jinja2', 'onnxruntime', 'multiprocessing'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    for config in (CONFIG, "aimet:default"):
        done = subprocess.run([sys.executable, "-c", script, config], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_output_survives_an_ascii_terminal(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"op_type": {"Cönv\\u202e": {"x": 1}}}', encoding="utf-8")
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "LC_ALL": "C"}
    command = [sys.executable, "-m", "qsimc", "check", str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
