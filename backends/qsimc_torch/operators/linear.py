"""Convolutions, matrix products and norms: operators with weights."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc_torch.call import Call, Unsupported, call, literal, same_or_tuple
from qsimc_torch.operators import operator
from qsimc_torch.operators.windows import Window, padded


@operator("Conv")
def conv(node: Call) -> str:
    window = Window.of(node, node.shape(1))
    source, padding = padded(node, window, "0.0")
    weight, bias = node[1], [node[2]] if node.has(2) else []
    return call(
        f"F.conv{window.rank}d",
        source,
        weight,
        *bias,
        **_options(window, padding),
        groups=_unless(node.integer("group", 1), 1),
    )


@operator("ConvTranspose")
def conv_transpose(node: Call) -> str:
    window = Window.of(node, node.shape(1))
    extra = node.integers("output_padding") or (0,) * window.rank
    if node.word("auto_pad", "NOTSET").startswith("SAME"):
        raise Unsupported("its padding follows from the size of its result")
    if node.integers("output_shape") is not None or window.begin != window.end:
        raise Unsupported("its padding is not the same on both sides")
    return call(
        f"F.conv_transpose{window.rank}d",
        node[0],
        node[1],
        *([node[2]] if node.has(2) else []),
        **_options(window, window.begin),
        output_padding=_unless(same_or_tuple(extra), 0),
        groups=_unless(node.integer("group", 1), 1),
    )


def _options(window: Window, padding: Sequence[int]) -> dict[str, object]:
    return {
        "stride": _unless(same_or_tuple(window.strides), 1),
        "padding": _unless(same_or_tuple(padding), 0),
        "dilation": _unless(same_or_tuple(window.dilations), 1),
    }


def _unless(value: object, default: object) -> object:
    """Return an option, None where it says what torch does anyway."""
    return None if value == default else value


@operator("Gemm")
def gemm(node: Call) -> str:
    """alpha * A' @ B' + beta * C."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    a = f"{node[0]}.t()" if node.integer("transA", 0) else node[0]
    transposed = bool(node.integer("transB", 0))
    plain = alpha == beta == 1.0
    if plain and transposed and (not node.has(2) or node.rank(2) == 1):
        return call("F.linear", a, node[1], *([node[2]] if node.has(2) else []))
    b = f"{node[1]}.t()" if transposed else node[1]
    if not node.has(2):
        product = call("torch.matmul", a, b)
        return product if alpha == 1.0 else f"{product} * {literal(alpha)}"
    return call("torch.addmm", node[2], a, b, beta=_unless(beta, 1.0), alpha=_unless(alpha, 1.0))


@operator("BatchNormalization")
def batch_normalization(node: Call) -> str:
    if node.integer("training_mode", 0) or (node.opset < 7 and not node.integer("is_test", 0)):
        raise Unsupported("it is in training mode")
    node.only_output()
    eps = node.number("epsilon", 1e-5)
    # torch has no gradient for running statistics, and refuses quantized ones that want one.
    mean, var = (f"{node[i]}.detach()" if node.node.inputs[i] in node.known.quantized else node[i] for i in (3, 4))
    return call("F.batch_norm", node[0], mean, var, node[1], node[2], eps=_unless(eps, 1e-5))
