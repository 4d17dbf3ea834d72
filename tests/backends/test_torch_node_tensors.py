"""Shapes, indices, images, recurrent layers and control flow compute in PyTorch what the node tests of ONNX expect."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import open_model
from qsimc_torch.build import class_of, filled, generated_of, tensor_of

from tests.backends.test_torch_operators import IMAGE, Case, at, ints, one, ran, saved
from tests.backends.torch_node_cases import NodeCase, cases_of, problem_of, reason_of, unquantized, wrongly_excluded

Options: TypeAlias = dict[str, Any]

OPERATORS = (
    # making
    *("ConstantOfShape", "EyeLike", "OneHot", "Range", "Size"),
    *("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"),
    # shapes
    *("Concat", "Expand", "Flatten", "Pad", "Reshape", "Shape", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    *("CenterCropPad", "Col2Im", "DepthToSpace", "SpaceToDepth"),
    # indices
    *("Compress", "Gather", "GatherElements", "GatherND", "NonZero", "ReverseSequence", "Slice", "TopK", "Unique"),
    *("Scatter", "ScatterElements", "ScatterND", "TensorScatter"),
    # images
    *("AffineGrid", "GridSample", "NonMaxSuppression", "Resize", "RoiAlign", "Upsample"),
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool", "MaxUnpool"),
    *("Conv", "ConvTranspose", "DeformConv"),
    # time
    *("DFT", "GRU", "LSTM", "RNN", "STFT"),
    # control flow and sequences
    *("Identity", "If", "Loop", "Scan"),
    *("SequenceInsert", "SequenceMap", "SplitToSequence"),
    # chance
    "Bernoulli",
)

ONLY_COMPUTED = {"DFT": (2,)}
"""Inputs that are constants in every model, and therefore in all runs here."""

EXCLUDED = {
    "it takes or returns a sequence, and a module takes and returns tensors": [
        "test_identity_sequence",
        "test_if_seq",
        "test_loop13_seq",
        "test_sequence_insert_at_*",
        "test_split_to_sequence_*",
    ],
    "optional values have no expression": ["test_identity_opt", "test_if_opt", "test_loop16_seq_none"],
    "SequenceMap has no expression": [
        "test_sequence_map_add_1_sequence_1_tensor",
        "test_sequence_map_add_2_sequences",
        "test_sequence_map_extract_shapes",
        "test_sequence_map_identity_1_sequence",
        "test_sequence_map_identity_1_sequence_1_tensor",
        "test_sequence_map_identity_2_sequences",
    ],
    "it is random": ["test_bernoulli", "test_bernoulli_double", "test_bernoulli_seed"],
    "Scan of operator set 8 is another operator, with batches": ["test_scan_sum"],
    "torch folds images of two dimensions": ["test_col2im_5d"],
    "torch neither sorts nor gathers uint64": ["test_top_k_uint64"],
    "onnxruntime rounds the size before it aligns corners, and so does torch": [
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
    ],
}

EXPANDED_EXCLUDED = {
    "it takes or returns a sequence, and a module takes and returns tensors": ["test_sequence_map_*_expanded"],
    "it is random": ["test_bernoulli*_expanded"],
}

CASES = [case for op in OPERATORS for case in cases_of(op) if reason_of(case.name, EXCLUDED) is None]
EXPANDED = [
    case for op in OPERATORS for case in cases_of(op, expanded=True) if reason_of(case.name, EXPANDED_EXCLUDED) is None
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_node_computes_what_onnx_expects_of_inputs(case: NodeCase) -> None:
    assert problem_of(case, ONLY_COMPUTED.get(case.op, ())) is None


@pytest.mark.parametrize("case", [c for c in CASES if len(c.node.input) > 1], ids=lambda case: case.name)
def test_a_node_computes_what_onnx_expects_of_constants(case: NodeCase) -> None:
    assert problem_of(case, range(1, len(case.node.input))) is None


@pytest.mark.parametrize("case", EXPANDED, ids=lambda case: case.name)
def test_the_function_that_defines_an_operator_computes_the_same(case: NodeCase) -> None:
    assert problem_of(case) is None


def test_nothing_is_excluded_that_passes() -> None:
    assert [*wrongly_excluded(OPERATORS, EXCLUDED, ONLY_COMPUTED)] == []
    assert [*wrongly_excluded(OPERATORS, EXPANDED_EXCLUDED, {}, expanded=True)] == []


def test_every_operator_here_has_a_test() -> None:
    assert [op for op in OPERATORS if not cases_of(op)] == []


# ── beyond the node tests: what onnxruntime computes ─────────────────────────────────────────


def pooled() -> Iterator[Case]:
    uneven: Options = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    yield from (at("GlobalLpPool", IMAGE, p=p) for p in (1, 2, 3))
    yield from (at("LpPool", IMAGE, p=p, **uneven) for p in (1, 2, 3))
    for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        window: Options = {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": auto_pad}
        yield from (at(op, IMAGE, **window) for op in ("LpPool", "MaxPool", "AveragePool"))
    for ceil, counts in product((0, 1), (0, 1)):
        for pads in ([1, 0, 1, 2], [1, 1, 1, 1]):
            window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads, "ceil_mode": ceil}
            yield at("AveragePool", IMAGE, **window, count_include_pad=counts)
            yield at("MaxPool", IMAGE, **window, outputs=1 + counts)
    yield at("MaxPool", (1, 2, 5, 6, 7), kernel_shape=[2, 2, 2], strides=[2, 2, 2], outputs=2)


def convolved() -> Iterator[Case]:
    weight, bias = (3, 4, 3, 3), (4,)
    for auto_pad, strides, kernel in product(("SAME_UPPER", "SAME_LOWER"), ([1, 1], [2, 3]), ((2, 3), (3, 3))):
        yield at("ConvTranspose", IMAGE, (3, 4, *kernel), fixed=(1,), auto_pad=auto_pad, strides=strides)
    yield at("ConvTranspose", IMAGE, weight, bias, fixed=(1, 2), strides=[2, 2], output_shape=[19, 17])
    uneven: Options = {"pads": [0, 1, 2, 0], "output_padding": [1, 2], "dilations": [2, 1]}
    yield at("ConvTranspose", IMAGE, weight, bias, fixed=(1, 2), strides=[3, 3], **uneven)
    yield at("ConvTranspose", (1, 2, 7), (2, 3, 3), fixed=(1,), pads=[1, 0])
    offsets, masks = (1, 2 * 2 * 9, 4, 4), (1, 2 * 9, 4, 4)
    yield at("DeformConv", (1, 4, 6, 6), (6, 2, 3, 3), offsets, (6,), masks, group=2, offset_group=2, opset=22)


ACTIVATIONS = {"LSTM": ["HardSigmoid", "Softsign", "Relu"], "GRU": ["HardSigmoid", "Softsign"], "RNN": ["Relu"]}
NUMBERED: dict[str, Options] = {
    "Affine": {"activation_alpha": [0.8], "activation_beta": [0.5]},
    "Elu": {"activation_alpha": [0.8]},
    "LeakyRelu": {"activation_alpha": [0.2]},
    "ScaledTanh": {"activation_alpha": [0.8], "activation_beta": [0.5]},
    "ThresholdedRelu": {"activation_alpha": [0.3]},
}


def recurrent() -> Iterator[Case]:
    size, lengths = 5, np.array([7, 3, 5], np.int32)
    for direction, (op, gates) in product(
        ("forward", "reverse", "bidirectional"), (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    ):
        n = 2 if direction == "bidirectional" else 1
        weights = ((7, 3, 4), (n, gates * size, 4), (n, gates * size, size))
        both = (*weights, (n, 2 * gates * size))
        states: tuple[tuple[int, ...], ...] = ((n, 3, size),) * (2 if op == "LSTM" else 1)
        more: Options = {"hidden_size": size, "direction": direction, "outputs": 3 if op == "LSTM" else 2}
        yield at(op, *weights, fixed=(1, 2), **more)
        yield at(op, *both, lengths, *states, *(((n, 3 * size),) if op == "LSTM" else ()), fixed=(1, 2, 3), **more)
        yield at(op, *both, "", *states, fixed=(1, 2, 3), clip=0.3, **more)
        yield at(op, *both, fixed=(1, 2, 3), activations=ACTIVATIONS[op] * n, **more)
        if op == "GRU":
            yield at(op, *both, "", *states, fixed=(1, 2, 3), linear_before_reset=1, **more)
            yield at(op, *both, lengths, *states, fixed=(1, 2, 3), linear_before_reset=1, **more)
    for name, numbers in NUMBERED.items():
        weights = ((7, 3, 4), (1, 5, 4), (1, 5, 5))
        yield at("RNN", *weights, fixed=(1, 2), hidden_size=5, activations=[name], outputs=2, **numbers)


def indexed() -> Iterator[Case]:
    backwards = (ints(-1, 5), ints(-(2**62), 1), ints(2, -1), ints(-1, -2))
    yield from (at("Slice", IMAGE, *backwards, fixed=fixed) for fixed in ((), (1, 2, 3, 4)))
    for reduction in ("add", "mul", "max", "min"):
        yield at("ScatterND", (4, 5, 6), np.array([[0, 1], [2, -1], [0, 1]]), (3, 6), reduction=reduction)
        yield at("ScatterElements", (4, 5), np.array([[0, 1, -1], [2, 1, 0]]), (2, 3), axis=1, reduction=reduction)
    yield at("GatherND", (2, 3, 4, 5), np.random.default_rng(0).integers(-2, 2, (2, 3, 2, 1)), batch_dims=2)
    yield at("GatherND", (2, 3, 4, 5), np.array([[[1, 2]], [[0, -1]]]), batch_dims=1)
    yield from (at("TopK", (4, 6), ints(3), outputs=2, largest=big, axis=axis) for big in (0, 1) for axis in (0, -1))
    yield at("TopK", np.array([[1, 2, 2, 1, 2, 0]], np.int64), ints(4), outputs=2)
    indices, values = np.array([[0, 5, -1], [7, -6, -7]]), np.array([-1.0, 2.0], np.float32)
    yield from (at("OneHot", indices, ints(6), values, axis=axis) for axis in (-1, 0, 1))


def arranged() -> Iterator[Case]:
    for mode in ("reflect", "edge", "wrap"):
        for fixed in ((), (1,)):
            yield at("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 0, 1), fixed=fixed, mode=mode, opset=19)
            yield at("Pad", IMAGE, ints(0, 0, 0, 2, 0, 0, 0, 1), fixed=fixed, mode=mode, opset=19)
    yield at("Pad", IMAGE, ints(1, 2, 0, 2, 1, 1, 0, 1), fixed=(1,), mode="edge", opset=19)
    yield from (at("CenterCropPad", IMAGE, ints(*sizes), axes=[2, 3]) for sizes in ((5, 12), (6, 11)))


def detected() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    boxes, scores = (rng.uniform(0, 1, shape).astype(np.float32) for shape in ((2, 20, 4), (2, 3, 20)))
    for bound, centered in product((0.2, 0.5), (0, 1)):
        yield at("NonMaxSuppression", boxes, scores, ints(5), one(bound), one(0.2), center_point_box=centered)
    rois = np.array([[1, 1, 5, 6], [0, 0, 7, 8], [2.5, 3.5, 4, 9]], np.float32)
    for samples, mode, place in product((0, 2), ("avg", "max"), ("half_pixel", "output_half_pixel")):
        options: Options = {"sampling_ratio": samples, "mode": mode, "coordinate_transformation_mode": place}
        yield at("RoiAlign", IMAGE, rois, ints(0, 1, 0), output_height=3, spatial_scale=0.8, **options)


PLACES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")


def resized() -> Iterator[Case]:
    for mode, place in product(("linear", "cubic", "nearest"), PLACES):
        for scales in ((1, 1, 0.6, 0.4), (1, 1, 1.7, 2.3), (1, 1, 1, 0.15)):
            yield by(scales, mode=mode, coordinate_transformation_mode=place)
    yield from (by((1, 1, 0.6, 0.4), mode=mode, antialias=1) for mode in ("linear", "cubic"))
    yield by((1, 1, 0.6, 1.4), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    for policy in ("not_larger", "not_smaller", "stretch"):
        options: Options = {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
        yield Case("Resize", (IMAGE, "", "", ints(5, 12)), options, (3,), 19)


def by(scales: tuple[float, ...], **options: object) -> Case:
    return Case("Resize", (IMAGE, "", np.array(scales, np.float32)), options, (2,), 19)


MORE = [*pooled(), *convolved(), *recurrent(), *indexed(), *arranged(), *detected(), *resized()]


@pytest.mark.parametrize("case", MORE, ids=str)
def test_a_node_computes_what_onnxruntime_computes(case: Case, tmp_path: Path) -> None:
    path, fed = saved(case, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for wanted, made in zip(session.run(None, fed), ran(path, fed), strict=True):
        assert made.numpy().dtype == wanted.dtype
        np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-4, atol=1e-5)


# ── control flow ─────────────────────────────────────────────────────────────────────────────

BRANCHES = """
<ir_version: 8, opset_import: ["" : 18]>
main (float[2,3] x, bool c) => (float[n,m] y, float[a,b] z) <float[3] w = {1,2,3}> {
  h = Relu(x)
  y, z = If (c) <
    then_branch = one () => (float[2,3] o, float[2,3] p) <float[3] k = {1,1,2}> { t = Add(h, k)
      o = Mul(t, w)
      p = Identity(x) },
    else_branch = other () => (float[3,2] o, float[2,3] u) <float[3] k = {3,3,4}> { v = Mul(h, k)
      t = Transpose(v)
      u = Identity(h)
      two = Constant <value = float {2.0}> ()
      o = Mul(t, two) }>
}
"""

STEPS = """
<ir_version: 8, opset_import: ["" : 18]>
main (float[2,3] x, int64 n) => (float[2,3] y, float[k,2,3] rows) {
  cond = Constant <value = bool {1}> ()
  y, rows = Loop (n, cond, x) <body = b (int64 i, bool going, float[2,3] v) => (bool more, float[2,3] w, float[2,3] r) {
    f = CastLike(i, v)
    w = Add(v, f)
    r = Identity(v)
    s = ReduceSum <keepdims = 0> (w)
    limit = Constant <value = float {30.0}> ()
    more = Less(s, limit) }>
}
"""

UNTIL = """
<ir_version: 8, opset_import: ["" : 18]>
main (float[2,3] x, float[2,3] limit) => (float[2,3] y) {
  none = Identity(x)
  s = ReduceSum <keepdims = 0> (limit)
  zero = Constant <value = float {0.0}> ()
  go = Greater(s, zero)
  y = Loop ("", go, x) <body = b (int64 i, bool going, float[2,3] v) => (bool more, float[2,3] w) {
    one = Constant <value = float {1.0}> ()
    w = Add(v, one)
    t = ReduceSum <keepdims = 0> (w)
    more = Less(t, s) }>
}
"""

ROWS = """
<ir_version: 8, opset_import: ["" : 18]>
main (float[2,3] x, float[2,4,3] steps) => (float[2,3] y, float[k,l,m] rows) {
  y, rows = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],
    scan_output_directions = [1], body = b (float[2,3] v, float[2,3] e) => (float[2,3] w, float[2,3] r) {
    w = Add(v, e)
    s = ReduceSum <keepdims = 0> (w)
    zero = Constant <value = float {0.0}> ()
    c = Less(s, zero)
    r = If (c) <then_branch = t () => (float[2,3] q) { q = Mul(w, x) },
      else_branch = f () => (float[2,3] q) { q = Sub(w, x) }> }> (x, steps)
}
"""

LISTS = """
<ir_version: 8, opset_import: ["" : 18]>
main (float[6,3] x, int64[2] parts) => (float[a,b] y, float[c,d] z, int64 n) {
  s = SplitToSequence <axis = 0> (x, parts)
  last = Constant <value = int64 {-1}> ()
  z = SequenceAt(s, last)
  e = SequenceErase(s, last)
  pair = SequenceConstruct(z, z)
  first = Constant <value = int64 {0}> ()
  x0 = SequenceAt(e, first)
  q = SequenceInsert(pair, x0, first)
  y = ConcatFromSequence <axis = 0> (q)
  n = SequenceLength(q)
}
"""


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


PROGRAMS = {
    "then": (BRANCHES, floats(2, 3), np.array(True)),
    "else": (BRANCHES, floats(2, 3), np.array(False)),
    "to_the_end": (STEPS, np.abs(floats(2, 3)), np.array(2)),
    "until_the_condition_fails": (STEPS, np.abs(floats(2, 3)), np.array(9)),
    "without_a_count": (UNTIL, floats(2, 3), np.full((2, 3), 3.0, np.float32)),
    "not_at_all": (UNTIL, floats(2, 3), np.full((2, 3), -3.0, np.float32)),
    "rows": (ROWS, floats(2, 3), floats(2, 4, 3)),
    "lists": (LISTS, floats(6, 3), ints(2, 4)),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("standalone", [False, True], ids=["imports", "standalone"])
def test_a_program_computes_what_onnxruntime_computes(program: str, standalone: bool, tmp_path: Path) -> None:
    text, *values = PROGRAMS[program]
    path = tmp_path / "program.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    model = open_model(str(path), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    fed = dict(zip(model.graph.inputs, values, strict=True))
    wanted = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, fed)
    module = filled(generated_of(model, unquantized(model), {}, standalone=standalone), model)
    with torch.no_grad():
        made = module(*map(tensor_of, values))
    for one_made, one_wanted in zip(made if isinstance(made, tuple) else (made,), wanted, strict=True):
        assert one_made.numpy().dtype == one_wanted.dtype
        np.testing.assert_allclose(one_made.numpy(), one_wanted, rtol=1e-5)


def test_what_pytorch_lacks_is_written_into_a_module_that_stands_alone(tmp_path: Path) -> None:
    case = at("LSTM", (7, 3, 4), (1, 20, 4), (1, 20, 5), fixed=(1, 2), hidden_size=5, outputs=3)
    model = open_model(saved(case, tmp_path)[0], lambda finding: pytest.fail(str(finding)))
    assert model is not None
    generated = generated_of(model, unquantized(model), {}, standalone=True)
    assert "def lstm(" in generated.text
    assert "def gru(" not in generated.text
    assert "qsimc_torch" not in generated.text.replace("qsimc_torch.runtime`", "")
    assert class_of(generated.text, generated.name) is not None
