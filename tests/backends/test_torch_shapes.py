"""What exporters compute with `Shape` is integers in a module: literals where the model states sizes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel, open_model
from qsimc_torch import sizes
from qsimc_torch.build import filled, generated_of
from qsimc_torch.sizes import Item, Size
from torch.export import Dim

from qsimc.diagnostics import InputError
from qsimc.planning.plan import Mode, Plan

Shape = tuple[int, ...]

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "onnx_model"

HEADS = """
    (float[batch, tokens, 24] x) => (float[batch, t, h, d] y) {
        shape = Shape (x)
        zero = Constant <value = int64 {0}> ()
        batch = Gather <axis = 0> (shape, zero)
        one = Constant <value = int64 {1}> ()
        tokens = Gather <axis = 0> (shape, one)
        axes = Constant <value = int64[1] {0}> ()
        batch_list = Unsqueeze (batch, axes)
        tokens_list = Unsqueeze (tokens, axes)
        rest = Constant <value = int64[2] {4, 6}> ()
        wanted = Concat <axis = 0> (batch_list, tokens_list, rest)
        doubled = Add (x, x)
        heads = Reshape (doubled, wanted)
        again = Concat <axis = 0> (batch_list, rest, tokens_list)
        turned = Reshape (doubled, again)
        two = Transpose <perm = [0, 3, 1, 2]> (turned)
        y = Add (heads, two)
    }"""
"""Attention as PyTorch exports it: sizes are read several times, and so they get a line."""

HALVES = """
    (float[batch, channels, rows, columns] x) => (float[batch, channels, p, q] y, float[batch, channels, r, s] z) {
        shape = Shape <start = 2> (x)
        two = Constant <value = int64[1] {2}> ()
        half = Div (shape, two)
        none = Constant <value = int64[2] {0, 0}> ()
        both = Constant <value = int64[2] {2, 3}> ()
        y = Slice (x, none, half, both)
        more = Sub (half, two)
        z = Slice (x, none, more, both)
    }"""

LIKE = """
    (float[n, c, h, w] x, float[n, c, a, b] small) => (float[n, c, h, w] y) {
        place = Shape <start = 2> (x)
        first = Shape <end = 2> (small)
        wanted = Concat <axis = 0> (first, place)
        large = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
            (small, , , wanted)
        y = Add (x, large)
    }"""

STATIC = """
    (float[2, 3, 4] x) => (float[a, b] y, float[c, d, e] z) {
        shape = Shape (x)
        product = ReduceProd <keepdims = 1> (shape)
        four = Constant <value = int64[1] {4}> ()
        rows = Div (product, four)
        wanted = Concat <axis = 0> (rows, four)
        y = Reshape (x, wanted)
        one = Constant <value = int64[1] {1}> ()
        length = Cast <to = 1> (four)
        root = Sqrt (length)
        z = Div (x, root)
    }"""

EXPANDED = """
    (float[n, 1, 3] x, float[m] rows) => (float[n, m, 3] y) {
        first = Shape <end = 1> (x)
        second = Shape (rows)
        minus = Constant <value = int64[1] {-1}> ()
        asked = Concat <axis = 0> (first, second, minus)
        unchanged = Constant <value = int64[3] {-1, -1, -1}> ()
        is_unchanged = Equal (asked, unchanged)
        one = Constant <value = int64[3] {1, 1, 1}> ()
        wanted = Where (is_unchanged, one, asked)
        y = Expand (x, wanted)
    }"""

POSITIONS = """
    (float[n, m] x) => (float[n, m] y, int64[2] z) {
        z = Shape (x)
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        length = Gather <axis = 0> (z, one)
        places = Range (zero, length, one)
        last = Sub (length, one)
        counted = Sub (last, places)
        numbers = Cast <to = 1> (counted)
        scaled = Mul (x, numbers)
        scalar = Cast <to = 1> (length)
        y = Div (scaled, scalar)
    }"""

PADDED = """
    (float[n, c, w] x) => (float[n, c, v] y) {
        shape = Shape <start = 2> (x)
        eight = Constant <value = int64[1] {8}> ()
        over = Mod (shape, eight)
        missing = Sub (eight, over)
        fill = Mod (missing, eight)
        none = Constant <value = int64[5] {0, 0, 0, 0, 0}> ()
        pads = Concat <axis = 0> (none, fill)
        y = Pad (x, pads)
    }"""

WRITTEN = [
    ("heads", HEADS, "heads = doubled.reshape(batch, tokens, 4, 6)"),
    ("heads", HEADS, "batch = x.shape[0]"),
    ("halves", HALVES, "y = x[:, :, : rows // 2, : columns // 2]"),
    ("like", LIKE, 'large = F.interpolate(small, size=(x.shape[2], x.shape[3]), mode="nearest")'),
    ("static", STATIC, "y = x.reshape(6, 4)"),
    ("static", STATIC, "z = x / 2.0"),
    ("expanded", EXPANDED, "y = x.expand(-1, rows.shape[0], -1)"),
    ("positions", POSITIONS, "z = torch.tensor([x.shape[0], m], device=x.device)"),
    ("padded", PADDED, "y = F.pad(x, (0, (8 - x.shape[2] % 8) % 8))"),
]


@pytest.mark.parametrize(
    ("text", "line"), [(t, line) for _, t, line in WRITTEN], ids=[f"{n}-{w}" for n, _, w in WRITTEN]
)
def test_sizes_are_integers(text: str, line: str, tmp_path: Path) -> None:
    model = read(text, tmp_path)
    assert line in source(model)
    assert ".tolist()" not in source(model)
    assert ".item()" not in source(model)


@pytest.mark.parametrize("text", [*{text: None for _, text, _ in WRITTEN}], ids=[*{name: None for name, *_ in WRITTEN}])
def test_formatters_leave_sizes_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source(read(text, tmp_path)), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", "--diff", str(path)]
    assert subprocess.run(ruff, capture_output=True, text=True).stdout == ""


RUN: list[tuple[str, str, tuple[Shape, ...]]] = [
    ("heads", HEADS, ((1, 4, 24),)),
    ("heads", HEADS, ((3, 5, 24),)),
    ("halves", HALVES, ((1, 2, 6, 9),)),
    ("halves", HALVES, ((1, 2, 3, 1),)),
    ("like", LIKE, ((2, 3, 8, 12), (2, 3, 4, 5))),
    ("like", LIKE, ((1, 1, 7, 3), (1, 1, 2, 3))),
    ("static", STATIC, ((2, 3, 4),)),
    ("expanded", EXPANDED, ((2, 1, 3), (5,))),
    ("expanded", EXPANDED, ((4, 1, 3), (1,))),
    ("positions", POSITIONS, ((2, 7),)),
    ("padded", PADDED, ((2, 3, 13),)),
    ("padded", PADDED, ((2, 3, 16),)),
]


@pytest.mark.parametrize(("text", "shapes"), [(t, s) for _, t, s in RUN], ids=[f"{n}-{s[0]}" for n, _, s in RUN])
def test_a_module_computes_the_model_at_every_size(text: str, shapes: tuple[Shape, ...], tmp_path: Path) -> None:
    model = read(text, tmp_path)
    fed = inputs(model, shapes)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        made = module(model)(*map(torch.from_numpy, fed.values()))
    for found, expected in zip(made if isinstance(made, tuple) else (made,), session.run(None, fed), strict=True):
        assert found.numpy().dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "traced", "run", "open_axes"),
    [
        (HEADS, ((2, 5, 24),), ((3, 7, 24),), (0, 1)),
        (HALVES, ((2, 3, 12, 16),), ((1, 3, 9, 10),), (0, 2, 3)),
        (POSITIONS, ((2, 5),), ((4, 9),), (0, 1)),
        (PADDED, ((2, 3, 13),), ((2, 3, 20),), (2,)),
    ],
    ids=["heads", "halves", "positions", "padded"],
)
def test_a_traced_module_takes_other_sizes(
    text: str, traced: tuple[Shape, ...], run: tuple[Shape, ...], open_axes: tuple[int, ...], tmp_path: Path
) -> None:
    model = read(text, tmp_path)
    made = module(model)
    examples, others = ([torch.randn(shape) for shape in shapes] for shapes in (traced, run))
    axes = dict.fromkeys(open_axes, Dim.AUTO)
    exported = torch.export.export(made, tuple(examples), dynamic_shapes=(axes,))
    for found, expected in zip(listed(exported.module()(*others)), listed(made(*others)), strict=True):
        torch.testing.assert_close(found, expected)
    compiled = torch.compile(made, backend="eager", fullgraph=True, dynamic=True)
    for found, expected in zip(listed(compiled(*others)), listed(made(*others)), strict=True):
        torch.testing.assert_close(found, expected)


ODD = """
    (float[n, c] x) => (int64[k] y) {
        shape = Shape (x)
        large = Constant <value = int64[2] {4611686018427387904, 4611686018427387904}> ()
        overflow = Mul (large, large)
        none = Constant <value = int64[2] {0, 0}> ()
        by_none = Div (shape, none)
        left = Mod (large, none)
        half = Constant <value = float[1] {0.7}> ()
        sizes = Cast <to = 1> (shape)
        scaled = Mul (sizes, half)
        whole = Floor (scaled)
        rounded = Cast <to = 7> (whole)
        y = Concat <axis = 0> (overflow, by_none, left, rounded)
    }"""


def test_what_python_would_compute_in_another_way_stays_a_tensor(tmp_path: Path) -> None:
    """Integers wrap around at 64 bits, and float32 rounds before it is rounded down."""
    text = source(read(ODD, tmp_path))
    for line in (
        "overflow = self.large * self.large",
        'by_none = torch.div(shape, self.none, rounding_mode="trunc")',
        "left = torch.remainder(self.large, self.none)",
        "scaled = sizes * self.half",
        "whole = torch.floor(scaled)",
    ):
        assert line in text


def test_odd_models_are_written_or_refused() -> None:
    """Nodes without inputs, sizes that are absurd: the models that the readers are fuzzed with."""
    opened = [model for path in sorted(CORPUS.glob("*.onnx")) if (model := open_model(str(path), lambda _: None))]
    assert opened
    for model in opened:
        with suppress(InputError):
            source(model)


# ── the arithmetic of sizes ──────────────────────────────────────────────────────────────────

A, B = Size("x", 0), Size("y", 1)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (sizes.plus(A, 0), "a"),
        (sizes.times(1, A), "a"),
        (sizes.minus(A, A), "0"),
        (sizes.times(sizes.plus(A, 1), 2), "(a + 1) * 2"),
        (sizes.minus(A, sizes.minus(B, 1)), "a - (b - 1)"),
        (sizes.plus(sizes.times(A, B), 3), "a * b + 3"),
        (sizes.quotient(sizes.times(A, 3), 2), "a * 3 // 2"),
        (sizes.times(2, sizes.quotient(A, 2)), "2 * (a // 2)"),
        (sizes.quotient(sizes.minus(A, 1), 2), "int((a - 1) / 2)"),  # -1 / 2 is 0 in ONNX, -1 // 2 is -1
        (sizes.remainder(A, 8), "a % 8"),
        (sizes.largest(A, 1), "max(a, 1)"),
    ],
)
def test_formulas_read_as_one_writes_them(item: Item, text: str) -> None:
    assert written(item) == text


def test_no_size_is_negative() -> None:
    assert not sizes.equal(A, -1)
    assert not sizes.less(sizes.plus(A, B), 0)
    with pytest.raises(sizes.Undecided):
        sizes.equal(A, 1)


STEPS: dict[str, Callable[[Item, Item], Item]] = {
    "plus": sizes.plus,
    "minus": sizes.minus,
    "times": sizes.times,
    "quotient": sizes.quotient,
    "remainder": sizes.remainder,
    "largest": sizes.largest,
    "smallest": sizes.smallest,
}
OPERANDS: st.SearchStrategy[int | Size] = st.one_of(st.integers(-4, 9), st.sampled_from([A, B]))


@given(st.lists(st.tuples(st.sampled_from([*STEPS]), OPERANDS), max_size=8), st.integers(0, 50), st.integers(1, 50))
def test_a_formula_is_worth_what_its_parts_are(steps: list[tuple[str, int | Size]], a: int, b: int) -> None:
    """The same steps on the sizes and on their numbers; brackets, signs and divisions towards zero included."""
    item: Item = A
    number: Item = a
    for step, operand in steps:
        value = operand if isinstance(operand, int) else {A: a, B: b}[operand]
        if value > 0 or step not in ("quotient", "remainder"):
            item, number = STEPS[step](item, operand), STEPS[step](number, value)
    assert eval(written(item), {"a": a, "b": b}) == number


def written(item: Item) -> str:
    def text(part: Item, level: int = 0) -> str:
        return {A: "a", B: "b"}[part] if isinstance(part, Size) else sizes.written(part, text, level)

    return text(item)


# ── models ───────────────────────────────────────────────────────────────────────────────────


def read(text: str, folder: Path) -> OnnxModel:
    """Return the model of a graph in ONNX's own notation."""
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {text}'), path)
    model = open_model(str(path), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    return model


def source(model: OnnxModel) -> str:
    return generated_of(model, unquantized(model), {}).text


def module(model: OnnxModel) -> torch.nn.Module:
    return filled(generated_of(model, unquantized(model), {}), model)


def unquantized(model: OnnxModel) -> Plan:
    return Plan(graph=model.graph, tensors={}, dialect="aimet", mode=Mode.FIXED)


def inputs(model: OnnxModel, shapes: tuple[Shape, ...]) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in zip(model.inputs, shapes, strict=True)}


def listed(made: Any) -> tuple[torch.Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)
