"""The kernels of fake quantization compute what the formula does, bit for bit, and are used where nobody looks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qsimc_torch.runtime import FakeQuantize, fake_quant, native
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qsimc.calibrate.encoding import VITIS, Numerics
from qsimc.calibrate.grid import CELLS, Grid, GridTally
from qsimc.calibrate.tally import Tally
from qsimc.ir.quant import Round
from qsimc.native import threads
from qsimc.native.fake_quantize import kernel

needs_kernels = pytest.mark.skipif(kernel("fake_quantize") is None, reason="the kernels were not built")

GRIDS = [(-128, 127), (0, 255), (-127, 127), (0, 15), (-32768, 32767), (0, 65535), (-(2**31), 2**31 - 1)]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-38, 3.4e38, -3.4e38, 0.49999997, -0.49999997]
SCALES = [1.0, 0.1, 2.0**-20, 3e-42, 1e-50, 2.0**60, 1e39, 0.7]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads, however many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def quantizer_of(
    numerics: str,
    rounding: str = "half_even",
    scale: tuple[float, ...] = (0.1,),
    zero_point: tuple[float, ...] = (3.0,),
    grid: tuple[int, int] = (-128, 127),
    axis: int | None = None,
) -> FakeQuantize:
    qmin, qmax = grid
    made = FakeQuantize("x", qmin=qmin, qmax=qmax, axis=axis, channels=len(scale), numerics=numerics, rounding=rounding)
    made.encode(torch.tensor(scale, dtype=torch.float64), torch.tensor(zero_point, dtype=torch.float64))
    return made


@st.composite
def quantizers(draw: st.DrawFn, channels: int, axis: int | None) -> FakeQuantize:
    numerics = draw(st.sampled_from(get_args(Numerics)))
    qmin, qmax = draw(st.sampled_from(GRIDS))
    scales = st.sampled_from(SCALES) | st.floats(2.0**-30, 2.0**30)
    random = draw(st.randoms(use_true_random=False))
    drawn = draw(st.lists(scales, min_size=1, max_size=3))
    return quantizer_of(
        numerics,
        str(draw(st.sampled_from(Round))) if numerics in VITIS else "half_even",
        tuple(random.choice(drawn) for _ in range(channels)),
        tuple(float(random.randint(qmin, qmax)) for _ in range(channels)),
        (qmin, qmax),
        axis,
    )


def same_bits(found: Tensor, expected: Tensor) -> bool:
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.contiguous().numpy().tobytes() == expected.contiguous().numpy().tobytes()
    )


def by_kernel(quantizer: FakeQuantize, values: Tensor) -> Tensor:
    """Return what the kernel makes; that it has an answer is part of the claim."""
    made = native.fake_quantize(quantizer, values)
    assert made is not None
    return made


def values_for(seed: int, shape: tuple[int, ...], quantizer: FakeQuantize) -> Tensor:
    """Return values in, at and beyond all places of a grid, and those that floats are special for."""
    random = np.random.default_rng(seed)
    steps = random.integers(-600, 600, shape) / 2 * (1 + random.integers(-2, 3, shape) * 2.0**-24)
    wide = np.ldexp(random.normal(size=shape), random.integers(-140, 120, shape))
    near = steps * float(quantizer.scale[0])
    with np.errstate(over="ignore"):
        found = np.where(random.random(shape) < 0.7, near, wide).astype(np.float32)
    places = random.random(shape) < 0.1
    found[places] = random.choice(np.array(SPECIAL, np.float32), places.sum())
    return torch.from_numpy(found)


LAYOUTS: list[tuple[tuple[int, ...], int | None, int]] = [
    ((1,), None, 1), ((71,), None, 1), ((5, 7, 9), None, 1),
    ((4, 3, 50), 1, 3), ((4, 3, 5), 1, 3), ((7, 5), -1, 5), ((5, 3, 1, 1), 0, 5), ((3, 700), 1, 700),
    ((6, 2, 40), -3, 6),
]  # fmt: skip


@needs_kernels
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(st.data())
def test_kernels_quantize_and_differentiate_as_the_formula_does(layout: Any, data: st.DataObject) -> None:
    shape, axis, channels = layout
    quantizer = data.draw(quantizers(channels, axis))
    values = values_for(data.draw(st.integers(0, 2**32)), shape, quantizer)
    if quantizer.numerics in VITIS and quantizer.is_wide:
        assert native.fake_quantize(quantizer, values) is None
        return
    with np.errstate(all="ignore"):
        assert same_bits(by_kernel(quantizer, values), quantizer.formula(values))
    upstream = values_for(data.draw(st.integers(0, 2**32)), shape, quantizer)
    mine, expected = values.clone().requires_grad_(), values.clone().requires_grad_()
    made = by_kernel(quantizer, mine)
    assert same_bits(made.detach(), quantizer.formula(values))
    (found,) = torch.autograd.grad(made, mine, upstream)
    (wanted,) = torch.autograd.grad(quantizer.formula(expected), expected, upstream)
    assert same_bits(found, wanted)


@needs_kernels
@pytest.mark.parametrize("axis", [None, 0, 1, 3])
@pytest.mark.parametrize("numerics", get_args(Numerics))
def test_threads_share_a_tensor_without_a_difference(numerics: str, axis: int | None, two_threads: None) -> None:
    shape = (7, 3, 257, 129)  # no multiple of anything
    channels = 1 if axis is None else shape[axis]
    scale = tuple(0.1 + 0.01 * n for n in range(channels))
    quantizer = quantizer_of(numerics, scale=scale, zero_point=(3.0,) * channels, axis=axis)
    values = values_for(0, shape, quantizer)
    assert same_bits(by_kernel(quantizer, values), quantizer.formula(values))


@needs_kernels
@pytest.mark.skipif(native.parallel() is None, reason="torch has no threads of this kind")
def test_threads_of_torch_count_what_one_thread_counts() -> None:
    values = np.random.default_rng(0).normal(size=1_000_003).astype(np.float32)
    alone, together = (Tally(1), GridTally(1)), (Tally(1), GridTally(1))
    for tally, grids in (alone, together):
        grids.lay_out(0, Grid(np.float32(300.0), -700, 0, CELLS - 1))
        with threads(native.parallel() if tally is together[0] else None, 2):
            tally.count(0, values)
            grids.count(0, values)
    np.testing.assert_array_equal(alone[0].rows, together[0].rows)
    np.testing.assert_array_equal(alone[1].rows, together[1].rows)
    assert alone[1].counts(0).sum() == values.size


PERMUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda t: t.to(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(1, 3),
    "size of one": lambda t: t[:, :, :1].clone().transpose(0, 2),
}


@needs_kernels
@pytest.mark.parametrize("name", PERMUTATIONS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3])
def test_dimensions_may_lie_in_any_order(name: str, axis: int | None) -> None:
    values = PERMUTATIONS[name](torch.randn(4, 6, 5, 3))
    channels = 1 if axis is None else values.shape[axis]
    quantizer = quantizer_of("onnx", scale=tuple(0.1 + 0.05 * n for n in range(channels)), zero_point=(0.0,) * channels)
    quantizer.axis = axis
    leaf, upstream = values.clone().requires_grad_(), torch.randn(values.shape)
    made, expected = by_kernel(quantizer, leaf), quantizer.formula(values)
    assert same_bits(made.detach(), expected)
    assert [s for s, n in zip(made.stride(), made.shape, strict=True) if n > 1] == [
        s for s, n in zip(expected.stride(), expected.shape, strict=True) if n > 1
    ]
    (found,) = torch.autograd.grad(made, leaf, upstream)
    (wanted,) = torch.autograd.grad(quantizer.formula(leaf), leaf, upstream)
    assert same_bits(found, wanted)


NOT_PLAIN: dict[str, Callable[[], Tensor]] = {
    "with gaps": lambda: torch.randn(8, 8)[:, ::2],
    "one value many times": lambda: torch.randn(8, 1).expand(8, 8),
    "empty": lambda: torch.randn(0, 3),
    "on no device": lambda: torch.randn(8, device="meta"),
    "negated when read": lambda: torch.tensor([1 + 2j]).conj().imag,
    "float64": lambda: torch.randn(8, dtype=torch.float64),
    "sparse": lambda: torch.eye(4).to_sparse(),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_other_tensors_are_left_to_the_formula(name: str) -> None:
    assert native.fake_quantize(quantizer_of("onnx"), NOT_PLAIN[name]()) is None


def test_channels_that_do_not_fit_are_left_to_the_formula() -> None:
    for axis, shape in ((0, (3, 2)), (2, (2, 2)), (None, (2, 2))):
        quantizer = quantizer_of("onnx", scale=(1.0, 2.0), zero_point=(0.0, 0.0), axis=axis)
        assert native.fake_quantize(quantizer, torch.randn(shape)) is None


def test_what_is_memory_of_others_stays_as_it_is() -> None:
    values = torch.randn(1000)
    before = values.clone()
    quantizer_of("onnx")(values)
    assert torch.equal(values, before)


def test_an_input_may_be_changed_before_its_gradient_is_asked_for() -> None:
    """The gradient is that of the values, and of the encoding, that were quantized."""
    leaf = torch.tensor([0.3, 50.0], requires_grad=True)
    values, quantizer = leaf * 1.0, quantizer_of("onnx", zero_point=(0.0,))
    made = quantizer(values)
    values.detach().fill_(99.0)
    quantizer.encode(torch.tensor([7.0]), torch.tensor([1.0]))
    made.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [1.0, 0.0]


def test_an_encoding_that_changes_in_any_way_is_seen() -> None:
    quantizer, values = quantizer_of("onnx", zero_point=(0.0,)), torch.tensor([0.26])
    assert quantizer(values).item() == pytest.approx(0.3)
    quantizer.scale.data.fill_(0.25)  # nobody is told
    assert quantizer(values).item() == 0.25
    quantizer.qmax = 0
    assert quantizer(values).item() == 0.0


@pytest.mark.parametrize("numerics", get_args(Numerics))
@pytest.mark.parametrize("axis", [None, 1])
def test_gradients_have_gradients_and_come_in_batches(numerics: str, axis: int | None) -> None:
    channels = 1 if axis is None else 3
    quantizer = quantizer_of(numerics, scale=(0.1,) * channels, zero_point=(0.0,) * channels, axis=axis)
    values = (torch.randn(2, 3, 4) * 10).requires_grad_()
    upstreams = torch.randn(5, 2, 3, 4)
    upstream = upstreams[0].clone().requires_grad_()
    made, expected = quantizer(values), quantizer.formula(values)
    (one,) = torch.autograd.grad(made, values, upstream, create_graph=True)
    (other,) = torch.autograd.grad(expected, values, upstream, create_graph=True)
    assert torch.equal(one, other)
    found, wanted = (torch.autograd.grad(part.square().sum(), upstream)[0] for part in (one, other))
    torch.testing.assert_close(found, wanted)
    (several,) = torch.autograd.grad(quantizer(values), values, upstreams, is_grads_batched=True)
    (wanted,) = torch.autograd.grad(quantizer.formula(values), values, upstreams, is_grads_batched=True)
    assert torch.equal(several, wanted)


def test_transforms_and_tracers_see_operators_that_they_know() -> None:
    quantizer, values = quantizer_of("onnx"), torch.randn(4, 5)
    expected = quantizer.formula(values)
    assert torch.equal(torch.func.vmap(quantizer)(values), expected)
    gradient = torch.func.grad(lambda x: quantizer(x).sum())(values)
    assert gradient.shape == values.shape
    jvp: Any = torch.func.jvp
    made, tangent = jvp(quantizer, (values,), (torch.ones_like(values),))
    assert torch.equal(made, expected)
    assert torch.equal(tangent, jvp(quantizer.formula, (values,), (torch.ones_like(values),))[1])
    make_fx: Any = torch.fx.experimental.proxy_tensor.make_fx
    graph = make_fx(quantizer)(values)
    assert torch.equal(graph(values * 2), quantizer.formula(values * 2))
    trace: Any = torch.jit.trace
    assert torch.equal(trace(quantizer, values)(values * 2), quantizer.formula(values * 2))
    compiled = torch.compile(quantizer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(values), expected)
    exported = torch.export.export(quantizer, (values,)).module()
    assert torch.equal(exported(values * 2), quantizer.formula(values * 2))
    targets = {str(node.target) for node in graph.graph.nodes}
    assert any("aten.round" in target for target in targets)


def test_learned_ranges_get_their_gradients() -> None:
    """While they are trained the formula computes; what it does without gradients, kernels may do."""
    quantizer, values = quantizer_of("onnx"), torch.randn(100)
    quantizer.learn_range()
    assert native.fake_quantize(quantizer, values) is None
    quantizer(values).sum().backward()
    assert quantizer.scale.grad is not None
    with torch.no_grad():
        quantizer.scale.mul_(1.7)
        quantizer.zero_point.add_(0.4)
        assert same_bits(quantizer(values), quantizer.formula(values))


@pytest.mark.parametrize("reentrant", [True, False])
def test_memory_can_be_traded_for_time(reentrant: bool) -> None:
    quantizer, values = quantizer_of("onnx"), torch.randn(100, requires_grad=True)
    made = checkpoint(quantizer, values, use_reentrant=reentrant)
    (found,) = torch.autograd.grad(made, values, torch.ones(100)) if not reentrant else _gradient(made, values)
    with torch.autograd.graph.save_on_cpu():
        (kept,) = torch.autograd.grad(quantizer(values), values, torch.ones(100))
    (expected,) = torch.autograd.grad(quantizer.formula(values), values, torch.ones(100))
    assert torch.equal(found, expected)
    assert torch.equal(kept, expected)


def _gradient(made: Any, values: Tensor) -> tuple[Tensor]:
    made.backward(torch.ones_like(values))
    assert values.grad is not None
    return (values.grad,)


def test_half_precision_and_autocast_are_as_before() -> None:
    quantizer = quantizer_of("onnx")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        values = torch.randn(50).to(dtype)
        assert torch.equal(quantizer(values), quantizer.formula(values.float()).to(dtype))
    values = torch.randn(50, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, expected = quantizer(values), quantizer.formula(values)
    assert torch.equal(made, expected)
    found, wanted = (torch.autograd.grad(result.sum(), values)[0] for result in (made, expected))
    assert torch.equal(found, wanted)


def test_without_kernels_the_formula_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer, values = quantizer_of("onnx"), torch.randn(50)
    before = quantizer(values)
    monkeypatch.setattr(fake_quant, "NATIVE", None)
    assert same_bits(quantizer(values), before)


def test_a_quantizer_is_copied_and_pickled_as_it_was(tmp_path: Any) -> None:
    quantizer, values = quantizer_of("onnx"), torch.randn(50)
    expected = quantizer(values)
    assert torch.equal(copy.deepcopy(quantizer)(values), expected)
    torch.save(quantizer, tmp_path / "q.pt")
    assert torch.equal(torch.load(tmp_path / "q.pt", weights_only=False)(values), expected)
    assert {*quantizer.state_dict()} == {"scale", "zero_point"}
