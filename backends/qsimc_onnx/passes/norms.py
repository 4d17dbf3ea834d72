"""Batch norms: into the convolution before them, or else to one factor and one summand per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qsimc.backend import Change
from qsimc_onnx.editor import Editor

_EPSILON = 1e-5
"""ONNX's default."""

_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold_norms(editor: Editor) -> Sequence[Change]:
    """Fold each batch norm into the convolutions that it alone reads, also through a concatenation of channels.

    Source of the rule: vai_q_pytorch 3.5, which folds into convolutions and transposed ones of every rank.
    """
    changes: list[Change] = []
    for norm in editor.nodes:
        affine = _affine(editor, norm) if norm.op_type == "BatchNormalization" else None
        sources = _foldable(editor, norm.input[0]) if affine is not None else ()
        if affine is None or not sources:
            continue
        start = 0
        for convolution in sources:
            channels = _channels(editor, convolution)
            _fold(editor, convolution, affine.part(start, start + channels))
            start += channels
        editor.bypass(norm, norm.input[0])
        changes.append(Change("fold-norms", norm.name, ""))
    return changes


def simplify_norms(editor: Editor) -> Sequence[Change]:
    """Give each batch norm that stays mean 0 and variance 1, with its statistics in its factor and its summand."""
    changes: list[Change] = []
    for norm in editor.nodes:
        affine = _affine(editor, norm) if norm.op_type == "BatchNormalization" else None
        if affine is None:
            continue
        for position, values in enumerate(
            (affine.factor, affine.summand, np.zeros_like(affine.factor), np.ones_like(affine.factor)), start=1
        ):
            editor.set_constant(editor.own(norm, position), values)
        for attribute in list(norm.attribute):
            if attribute.name == "epsilon":
                norm.attribute.remove(attribute)
        norm.attribute.add(name="epsilon", type=1, f=0.0)
        changes.append(Change("simplify-norms", norm.name, ""))
    return changes


@dataclass(frozen=True, slots=True)
class _Affine:
    """x * factor + summand, each of shape (C,)."""

    factor: NDArray[np.float32]
    summand: NDArray[np.float32]

    def part(self, start: int, stop: int) -> _Affine:
        return _Affine(self.factor[start:stop], self.summand[start:stop])


def _affine(editor: Editor, norm: NodeProto) -> _Affine | None:
    """Return what a batch norm of constant statistics computes."""
    stored = [editor.stored_behind(tensor) for tensor in norm.input[1:5]]
    if len(stored) < 4 or not all(map(editor.stores, stored)):
        return None
    gamma, beta, mean, variance = (editor.constant(t).astype(np.float32) for t in stored)
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), _EPSILON)
    factor = gamma / np.sqrt(variance + np.float32(epsilon))
    return _Affine(factor, beta - mean * factor)


def _foldable(editor: Editor, tensor: str) -> tuple[NodeProto, ...]:
    """Return the convolutions that a tensor is made of and that nothing else reads; () if there is anything else."""
    made = editor.producer(tensor)
    if made is None or editor.is_output(tensor) or len(editor.readers(tensor)) != 1:
        return ()
    if made.op_type in _OUTPUT_AXIS:
        group = next((a.i for a in made.attribute if a.name == "group"), 1)
        plain = made.op_type == "Conv" or group == 1
        return (made,) if plain and editor.stores(editor.stored_behind(made.input[1])) else ()
    axis = next((a.i for a in made.attribute if a.name == "axis"), None)
    if made.op_type != "Concat" or axis != 1:
        return ()
    parts = [_foldable(editor, name) for name in made.input]
    return tuple(part[0] for part in parts) if all(len(part) == 1 for part in parts) else ()


def _channels(editor: Editor, convolution: NodeProto) -> int:
    weight = editor.constant(editor.stored_behind(convolution.input[1]))
    return int(weight.shape[_OUTPUT_AXIS[convolution.op_type]])


def _fold(editor: Editor, convolution: NodeProto, affine: _Affine) -> None:
    axis = _OUTPUT_AXIS[convolution.op_type]
    weight = editor.own(convolution, 1)
    values = editor.constant(weight)
    shape = [1] * values.ndim
    shape[axis] = -1
    editor.set_constant(weight, (values * affine.factor.reshape(shape)).astype(values.dtype))
    has_bias = len(convolution.input) > 2 and convolution.input[2]
    if has_bias:
        bias = editor.own(convolution, 2)
        editor.set_constant(bias, (editor.constant(bias) * affine.factor + affine.summand).astype(values.dtype))
        return
    name = weight.removesuffix("weight") + "bias" if weight.endswith("weight") else f"{weight}_bias"
    bias = editor.store(name, affine.summand.astype(values.dtype))
    del convolution.input[2:]
    convolution.input.append(bias)
    editor.touch(convolution)
