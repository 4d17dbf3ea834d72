"""The law of translation: on a model, plans before and after agree but for the tensors that the losses name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qsimc_onnx.model import OnnxModel, open_model

from qsimc import formats
from qsimc.backend import load_backend
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.ir.config import Config
from qsimc.ir.loss import Loss
from qsimc.ir.quant import FIELDS
from qsimc.pipeline.plan import Choices, resolve_on
from qsimc.pipeline.translate import on_model
from qsimc.planning.plan import Plan, TensorPlan
from qsimc.source import Source
from tests.props.vendor_documents import DOCUMENTS

BACKEND = load_backend("onnx")
OTHER = {"aimet": "vitis", "vitis": "aimet"}

MODELS = {
    "chain": """agraph (float[1,3,8,8] x) => (float[1,4] y)
        <float[4,3,3,3] w, float[4] b, float[4,4] g, float[4] c> {
            a = Conv <kernel_shape=[3,3], pads=[1,1,1,1]> (x, w, b)
            r = Relu (a)
            m = GlobalAveragePool (r)
            f = Flatten (m)
            y = Gemm <transB=1> (f, g, c)
        }""",
    "residual": """agraph (float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float[4,4,3,3] w, float[4,4,1,1] v, float[4] b> {
            a = Conv <kernel_shape=[3,3], pads=[1,1,1,1]> (x, w, b)
            r = Relu (a)
            c = Conv <kernel_shape=[1,1]> (r, v)
            s = Add (c, x)
            y = Relu (s)
        }""",
    "branches": """agraph (float[1,4,8,8] x) => (float[1,8,8,8] y)
        <float[4,4,1,1] w> {
            a = Conv <kernel_shape=[1,1]> (x, w)
            p = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1]> (x)
            k = Concat <axis=1> (a, p)
            y = Softmax <axis=1> (k)
        }""",
}


def opened(name: str, folder: Path) -> OnnxModel:
    text = f'<ir_version: 9, opset_import: ["" : 17]> {_with_values(MODELS[name])}'
    path = folder / f"{name}.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model = open_model(str(path), lambda _: None)
    assert model is not None
    return model


def _with_values(text: str) -> str:
    """Return a model's text with numbers for its initializers, which the parser otherwise leaves empty."""
    begin, end = text.index("<float", text.index("=>")), text.index("> {")
    named = text[begin + 1 : end].split(", ")
    values = []
    for declared in named:
        shape = [int(n) for n in declared[declared.index("[") + 1 : declared.index("]")].split(",")]
        count = 1
        for extent in shape:
            count *= extent
        values.append(f"{declared} = {{{', '.join(str((i % 7) * 0.25 - 0.75) for i in range(count))}}}")
    return f"{text[:begin]}<{', '.join(values)}{text[end:]}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OnnxModel]:
    folder = tmp_path_factory.mktemp("models")
    return {name: opened(name, folder) for name in MODELS}


def plan(config: Config | None, model: OnnxModel) -> Plan | None:
    if config is None:
        return None
    bound = resolve_on(BACKEND, model, config, Choices(), lambda _: None)
    return None if bound is None else bound.plan


def different(before: Plan, after: Plan) -> Iterator[str]:
    """Yield the tensors that two plans treat differently: one that has no quantizer in both is treated alike."""
    for tensor in {**before.tensors, **after.tensors}:
        if _treatment(before.tensors.get(tensor)) != _treatment(after.tensors.get(tensor)):
            yield tensor


def _treatment(planned: TensorPlan | None) -> Any:
    if planned is None or not planned.spec.enabled:
        return None
    return [getattr(planned.spec, name) for name in FIELDS], planned.axis, planned.shares


def written(text: str, format: str) -> Config:
    findings: list[Diagnostic] = []
    config = formats.written(Source("c", text), findings.append, format)
    assert config is not None, findings
    return config


def unreported(config: Config, to: str, model: OnnxModel) -> set[str] | None:
    """Return the tensors that change and that no loss names; None where the source has no plan on the model."""
    findings: list[Diagnostic] = []
    try:
        losses, text = on_model(config, to, BACKEND, model, Choices(), findings)
    except InputError:
        return None
    before, after = plan(formats.meaning(config), model), plan(formats.read(Source("t", text), _fail, to), model)
    if before is None or after is None:
        return None
    return set(different(before, after)) - named(losses)


def _fail(finding: Diagnostic) -> None:
    assert finding.severity is not Severity.ERROR, finding


def named(losses: list[Loss]) -> set[str]:
    return {tensor for loss in losses for tensor in loss.tensors}


def pairs(config: Config, model: OnnxModel, *formats_: str) -> int:
    """Hold translations of a configuration to the law; return for how many plans were compared."""
    found = [unreported(config, to, model) for to in formats_]
    assert not any(found), found
    return sum(one is not None for one in found)


SELECTORS = ("*", "Conv", "Relu", "(Gemm | Add)", "Concat", '"n1"', '~"*"', "Conv -> Relu", "(Add | Conv) -> Relu")
ROLES = ("", "[output]", "[input]", "[weight]", "[bias]", "[param]", "[act]", "[weight, output]")
WORDS = (
    "on", "off", "symmetric", "asymmetric", "per_channel", "per_tensor", "narrow_range", "full_range", "signed",
    "unsigned", "bits=4", "bits=16", "type=float16", "type=int", "scale=pow2", "round=half_up", "calib=mse",
    "calib=sqnr", "reduce=mean", "range=0..1", "unsigned_symmetric=true",
)  # fmt: skip
_RULE = st.tuples(
    st.sampled_from(SELECTORS), st.sampled_from(ROLES), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)
).map(lambda said: f"{said[0]}{said[1]}: {' '.join(said[2])}")
_OTHER = st.sampled_from(("model[input]: on", "model[output]: on", "fuse Conv -> Relu", "fuse Add -> Relu"))
PROGRAMS = st.lists(_RULE | _OTHER, max_size=8).map(lambda lines: "".join(f"{line}\n" for line in lines))


def hold(name: str, vendor: str, models: dict[str, OnnxModel], data: st.DataObject) -> None:
    drawn = data.draw(DOCUMENTS[vendor])
    pairs(written(json.dumps(drawn), vendor), models[name], OTHER[vendor], "qsim")


LAX = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("vendor", sorted(DOCUMENTS))
@pytest.mark.parametrize("name", sorted(MODELS))
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=LAX)
def test_no_difference_goes_unreported(
    name: str, vendor: str, models: dict[str, OnnxModel], data: st.DataObject
) -> None:
    hold(name, vendor, models, data)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", sorted(DOCUMENTS))
@pytest.mark.parametrize("name", sorted(MODELS))
@given(data=st.data())
@settings(max_examples=420, suppress_health_check=LAX)
def test_no_difference_goes_unreported_in_thousands_of_pairs(
    name: str, vendor: str, models: dict[str, OnnxModel], data: st.DataObject
) -> None:
    hold(name, vendor, models, data)


@pytest.mark.parametrize("name", sorted(MODELS))
@given(program=PROGRAMS)
@settings(max_examples=100, suppress_health_check=LAX)
def test_no_difference_of_a_program_goes_unreported(name: str, program: str, models: dict[str, OnnxModel]) -> None:
    pairs(written(program, "qsim"), models[name], "aimet", "vitis", "qsim")


def test_pairs_compares_plans(models: dict[str, OnnxModel]) -> None:
    assert pairs(written("*: on\n", "qsim"), models["chain"], "aimet", "vitis", "qsim") == 3
