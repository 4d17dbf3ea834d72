"""Mathematics in generated modules beside onnxruntime, where the node tests of ONNX say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)
from qsimc_torch.build import filled, generated_of, tensor_of

from qsimc.diagnostics import InputError
from tests.backends.onnx_models import opened
from tests.backends.torch_node_cases import (
    OWN_REDUCTIONS,
    REDUCTIONS,
    all_cases,
    array,
    compare,
    unquantized,
)
from tests.backends.torch_node_cases import opened as node_model


@dataclass(frozen=True)
class Case:
    """One node; `fixed` inputs are constants."""

    op: str
    inputs: tuple[Any, ...]
    fixed: tuple[int, ...] = ()
    opset: int = 18
    outputs: tuple[str, ...] = ("out",)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        attributes = (f"{k}={v}".replace(" ", "") for k, v in self.attributes.items())
        return "-".join([self.op, *attributes, str(self.opset), *map(str, self.fixed)])


def at(
    op: str,
    *inputs: Any,
    fixed: tuple[int, ...] = (),
    opset: int = 18,
    outputs: tuple[str, ...] = ("out",),
    **attributes: Any,
) -> Case:
    return Case(op, inputs, fixed, opset, outputs, attributes)


def reals(*shape: int, low: float | None = None) -> NDArray[np.float32]:
    found = np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)
    return found if low is None else np.abs(found) + np.float32(low)


def ints(*values: Any, dtype: Any = np.int64) -> NDArray[Any]:
    return np.array(values, dtype)


X = reals(2, 6, 4)

IMAGE = reals(2, 3, 7, 5)

COUNTS = np.arange(-12, 12, dtype=np.int32).reshape(2, 3, 4)

BYTES = np.random.default_rng(5).integers(0, 256, (2, 3, 7, 5)).astype(np.uint8)

KERNEL = np.random.default_rng(6).integers(-100, 100, (4, 3, 3, 3)).astype(np.int8)

TIES = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0, np.nextafter(np.float32(0.5), np.float32(0))], np.float32)

MICROSOFT = "com.microsoft."

CASES = [
    # activations
    at("Selu", X, opset=6, alpha=1.5, gamma=1.1),
    at("Selu", X, opset=6),
    *(at("Shrink", X, opset=9, lambd=0.3, bias=bias) for bias in (0.0, 0.3, 0.1)),
    *(at("Hardmax", np.round(X), axis=axis, opset=opset) for axis, opset in ((1, 11), (2, 11), (1, 13), (-1, 13))),
    at("ThresholdedRelu", X, opset=10, alpha=0.5),
    at("Celu", X, opset=12, alpha=0.7),
    *(at(MICROSOFT + op, X) for op in ("Gelu", "FastGelu", "QuickGelu")),
    at(MICROSOFT + "QuickGelu", X, alpha=1.0),
    *(at(MICROSOFT + op, X, reals(4), fixed=(1,)) for op in ("BiasGelu", "FastGelu")),
    # arithmetic
    *(at("Pow", reals(3, 4, low=0.1), ints(2, 3, 1, 0, dtype=kind)) for kind in (np.float32, np.int64, np.float64)),
    *(at("Pow", ints(2, 3, 4, dtype=kind), reals(3, low=1.0)) for kind in (np.int32, np.int64)),
    at("Mod", COUNTS, ints(5, -3, 7, -4, dtype=np.int32), opset=13),
    at("Mod", COUNTS, ints(5, -3, 7, -4, dtype=np.int32), opset=13, fmod=1),
    at("Mod", X, ints(0.4, -0.3, 0.7, -1.1, dtype=np.float32), opset=13, fmod=1),
    *(
        at("IsInf", np.array([1, np.inf, -np.inf], np.float32), detect_positive=p, detect_negative=1 - p)
        for p in (0, 1)
    ),
    at("IsInf", np.array([1, np.inf, -np.inf], np.float32), opset=10, detect_positive=0, detect_negative=0),
    *(
        at("CumSum", x, ints(-2), fixed=(1,), reverse=r, exclusive=e)
        for x in (X, COUNTS)
        for r in (0, 1)
        for e in (0, 1)
    ),
    *(at(op, np.round(X), axis=-1, opset=13, select_last_index=last) for op in ("ArgMax", "ArgMin") for last in (0, 1)),
    at("ArgMax", X, keepdims=0),
    *(at("Trilu", X, *k, fixed=(1,), opset=14, upper=u) for k in ((), (np.array(1),), (np.array(-2),)) for u in (0, 1)),
    at("Einsum", X, reals(2, 4, 5), opset=12, equation=" bij , bjk -> bik "),
    at("Det", reals(2, 3, 3), opset=11),
    *(at(MICROSOFT + "FusedMatMul", reals(2, 3, 4), reals(2, 4, 3), alpha=a) for a in (0.5, 1.0)),
    at(MICROSOFT + "FusedMatMul", reals(2, 4, 3), reals(2, 5, 4), alpha=0.5, transA=1, transB=1),
    *(at("Dropout", X, opset=opset, outputs=("out", "mask")) for opset in (7, 10, 12)),
    # reductions
    *(
        at(op, reals(2, 3, 4, low=0.1), ints(0, -1), fixed=(1,), keepdims=keeps)
        for op in REDUCTIONS
        if op != "ReduceSum"
        for keeps in (0, 1)
    ),
    *(
        at(op, reals(2, 3, 4, low=0.1), opset=13 if op == "ReduceSum" else 18, keepdims=keeps)
        for op in REDUCTIONS
        for keeps in (0, 1)
    ),
    *(at(op, reals(2, 3, 4, low=0.1), keepdims=k, noop_with_empty_axes=1) for op in OWN_REDUCTIONS for k in (0, 1)),
    *(at(op, reals(2, 3, 4, low=0.1), axes=[1], opset=11) for op in REDUCTIONS),
    *(at(op, COUNTS, ints(1), fixed=(1,)) for op in ("ReduceL1", "ReduceSumSquare", "ReduceMax", "ReduceMin")),
    # norms
    *(at("InstanceNormalization", x, reals(3), reals(3), fixed=(1, 2), epsilon=1e-2) for x in (IMAGE, reals(2, 3, 9))),
    at("GroupNormalization", X, reals(3), reals(3), fixed=(1, 2), num_groups=3),
    at("GroupNormalization", X, reals(6), reals(6), fixed=(1, 2), num_groups=3, opset=21, epsilon=1e-3),
    at("LayerNormalization", X, reals(4), reals(4), outputs=("out", "mean", "deviation")),
    at("LayerNormalization", X, reals(6, 4), axis=1, epsilon=1e-3, outputs=("out", "", "deviation")),
    *(at("LayerNormalization", X, reals(4), reals(4), axis=1, fixed=fixed) for fixed in ((), (1, 2))),
    *(at("SimplifiedLayerNormalization", X, reals(4), fixed=fixed, epsilon=1e-3) for fixed in ((), (1,))),
    at("LpNormalization", X, axis=1, p=1, opset=1),
    at("MeanVarianceNormalization", IMAGE, opset=13),
    at("LRN", reals(2, 7, 3, 3), size=5, alpha=0.3, beta=0.6, bias=1.2),
    at(MICROSOFT + "SkipLayerNormalization", X, X[::-1].copy(), reals(4), reals(4), reals(4), fixed=(2, 3, 4)),
    at(
        MICROSOFT + "SkipLayerNormalization",
        *(X, X[::-1].copy(), reals(4)),
        fixed=(2,),
        outputs=("out", "", "", "sum"),
        epsilon=1e-3,
    ),
    at(
        MICROSOFT + "SkipSimplifiedLayerNormalization",
        *(X, X[::-1].copy(), reals(4), reals(4)),
        fixed=(2, 3),
        outputs=("out", "", "", "sum"),
    ),
    # quantized
    *(at("QuantizeLinear", TIES, np.float32(1), ints(dtype=t)[:0].sum(dtype=t)) for t in (np.uint8, np.int8)),
    *(
        at(f"{domain}QuantizeLinear", IMAGE, reals(3, low=0.01), ints(1, 2, 250, dtype=np.uint8), fixed=(1, 2), axis=1)
        for domain in ("", MICROSOFT)
    ),
    *(
        at(
            f"{domain}DequantizeLinear",
            BYTES,
            reals(3, low=0.01),
            ints(1, 2, 250, dtype=np.uint8),
            fixed=(1, 2),
            axis=1,
        )
        for domain in ("", MICROSOFT)
    ),
    at("DequantizeLinear", COUNTS, np.float32(0.25), fixed=(1,)),
    at("DynamicQuantizeLinear", X, outputs=("out", "scale", "zero_point")),
    at("DynamicQuantizeLinear", np.zeros((2, 3), np.float32), outputs=("out", "scale", "zero_point")),
    *(
        at(
            "MatMulInteger",
            BYTES,
            KERNEL[0, 0, :1].repeat(5, 0),
            np.uint8(zero),
            np.int8(-3),
            fixed=(1, 2, 3),
            opset=10,
        )
        for zero in (0, 128)
    ),
    *(
        at("ConvInteger", BYTES, KERNEL.view(np.uint8), np.uint8(7), fixed=f, opset=10, pads=[1] * 4)
        for f in ((), (1, 2))
    ),
    *(
        at(
            "QLinearConv",
            *(BYTES, np.float32(0.02), np.uint8(100), KERNEL, reals(4, low=0.01), np.zeros(4, np.int8)),
            *(np.float32(9.3), np.uint8(120), np.arange(-2000, 2000, 1000, dtype=np.int32)),
            fixed=fixed,
            opset=10,
            pads=[1, 0, 1, 2],
            strides=[2, 1],
        )
        for fixed in ((), tuple(range(1, 9)))
    ),
    at(
        "QLinearMatMul",
        *(BYTES, np.float32(0.02), np.uint8(100), KERNEL[0, 0, :1].repeat(5, 0), np.float32(0.1), np.int8(1)),
        *(np.float32(3.7), np.uint8(120)),
        fixed=tuple(range(1, 8)),
        opset=10,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_computes_what_onnxruntime_computes(case: Case, tmp_path: Path) -> None:
    proto, fed = model_of(case)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, fed)
    for wanted, made in zip(expected, ran(proto, fed, tmp_path), strict=True):
        got = made.numpy()
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


REFUSED = [
    (at("LRN", IMAGE, size=2), "its window has an even size"),
    (at("ReduceL2", COUNTS, ints(1), fixed=(1,)), "it reduces integers"),
    (at("ReduceProd", X, ints(1)), "its `axes` are computed by the model"),
    (at(MICROSOFT + "FusedMatMul", X, X, transBatchA=1), "it moves the batch"),
]


@pytest.mark.parametrize(("case", "said"), REFUSED, ids=[str(case) for case, _ in REFUSED])
def test_what_torch_does_not_have_is_refused_with_a_reason(case: Case, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        ran(*model_of(case), tmp_path)
    (finding,) = refusal.value.findings
    assert (finding.code, finding.message.endswith(said)) == ("Q0552", True)


def model_of(case: Case) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Return the model of a case, and what its inputs are fed."""
    values = {f"input_{number}": np.asarray(value) for number, value in enumerate(case.inputs)}
    stored = {name for position, name in enumerate(values) if position in case.fixed}
    domain, _, op = case.op.rpartition(".")
    node = make_node(op, [*values], case.outputs, name="the/node", domain=domain, **case.attributes)
    graph = make_graph(
        [node],
        "case",
        [
            make_tensor_value_info(n, np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in values.items()
            if n not in stored
        ],
        [onnx.ValueInfoProto(name=name) for name in case.outputs if name],
        [onnx.numpy_helper.from_array(values[name], name) for name in stored],
    )
    opsets = [make_opsetid("", case.opset), make_opsetid("com.microsoft", 1)]
    fed = {name: value for name, value in values.items() if name not in stored}
    return make_model(graph, opset_imports=opsets, ir_version=8), fed


def ran(proto: onnx.ModelProto, fed: Mapping[str, NDArray[Any]], folder: Path) -> tuple[torch.Tensor, ...]:
    """Return what the generated module makes of some inputs."""
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    model = opened(proto, folder)
    module = filled(generated_of(model, unquantized(model), {}), model)
    with torch.no_grad():
        made = module(*(tensor_of(value) for value in fed.values()))
    return made if isinstance(made, tuple) else (made,)


def test_what_stands_alone_has_the_functions_that_it_calls() -> None:
    helped = ("attention_4d_softcap", "dynamicquantizelinear", "qlinearconv", "rotary_embedding")
    for case in (all_cases()[f"test_{name}"] for name in helped):
        model = node_model(case, ())
        generated = generated_of(model, unquantized(model), {}, standalone=True)
        assert "qsimc_torch" not in generated.text
        with torch.no_grad():
            made = filled(generated, model)(*(tensor_of(array(value)) for value in case.inputs))
        for got, wanted in zip(made if isinstance(made, tuple) else (made,), case.outputs, strict=True):
            compare(got, wanted, case.name)
