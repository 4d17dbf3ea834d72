"""Plans that were made after a model was rewritten are for that model, not for the one that it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto
from onnx.helper import make_node

import qsimc.torch
from qsimc.pipeline.plan import choices, session
from tests.backends.onnx_models import model_of, value

VITIS = {
    "target_device": "CPU",
    "convert_relu6_to_relu": False,
    "include_cle": False,
    "overall_quantize_config": {
        "method": "maxmin", "scale_type": "float", "round_mode": "half_even", "calib_statistic_method": "max"
    },
    "layer_quantize_config": [
        {
            "layer_type": "torch.nn.Conv2d",
            "quantizable_data_type": ["input", "weights", "bias", "activation"],
            "overall_quantize_config": {"datatype": "bfloat16"},
        }
    ],
}  # fmt: skip
"""Where one layer is of a float type, every layer has quantizers of its own for what it reads."""


def saved(folder: Path, act: NodeProto) -> Path:
    """Write Conv, something from `a` to `b`, and Conv."""
    rng = np.random.default_rng(0)
    constants = {name: rng.normal(size=(4, 4, 3, 3)).astype(np.float32) for name in ("stem.weight", "head.weight")}
    constants |= {name: np.zeros(4, np.float32) for name in ("stem.bias", "head.bias")}
    constants |= {name: np.array(bound, np.float32) for name, bound in (("low", 0), ("high", 6))}
    nodes = [
        make_node("Conv", ["x", "stem.weight", "stem.bias"], ["a"], "stem"),
        act,
        make_node("Conv", ["b", "head.weight", "head.bias"], ["y"], "head"),
    ]
    path = folder / "net.onnx"
    shapes = [value("x", [1, 4, 8, 8])], [value("y", [1, 4, 4, 4])]
    path.write_bytes(model_of(nodes, *shapes, constants=constants).SerializeToString())
    return path


RELU = make_node("Relu", ["a"], ["b"], "act")
RELU6 = make_node("Clip", ["a", "low", "high"], ["b"], "act")


def refusal(config: str, path: Path, mode: str, *rewrites: str) -> str:
    """Return what `build` says of a plan of the rewritten model and the model that it was."""
    with session(config, str(path), choices("int8", "int8", "minmax", mode, rewrites)) as made:
        assert made.rewritten
        with pytest.raises(ValueError, match="the plan is for another model than `module`") as refused:
            qsimc.torch.build(made.plan, path)
    return str(refused.value)


def test_a_plan_of_a_rewritten_model_is_refused(tmp_path: Path) -> None:
    said = refusal("aimet:default", saved(tmp_path, RELU6), "fixed", "relu6-to-relu")
    assert said.endswith("namely for what rewrites made of it: relu6-to-relu")


def test_a_plan_of_a_model_with_rewritten_weights_is_refused(tmp_path: Path) -> None:
    """The graph is the same; quantizers calibrated on some weights would quantize others."""
    said = refusal("aimet:default", saved(tmp_path, RELU), "fixed", "equalize")
    assert said.endswith("namely for what rewrites made of it: equalize")


def test_a_plan_with_quantizers_on_single_edges_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(VITIS), encoding="utf-8")
    said = refusal(str(config), saved(tmp_path, RELU6), "vendor")
    assert said.endswith("or for what was made of it: they differ at the Conv `stem`")
