"""Blockwise scales: nested lists in the tensor's own dimensions (versions 2.x) and flat lists by channel (1.0.0)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T", int, float)


def by_channel(flat: Sequence[T], shape: Sequence[int], channel: int, block: int) -> tuple[T, ...]:
    """Return numbers given in row-major order of `shape` channel by channel, block by block.

    Other axes have length 1 (see `channel_axis`).
    """
    if channel < block:
        return tuple(flat)
    channels = shape[channel]
    return tuple(chain.from_iterable(flat[start::channels] for start in range(channels)))


def nest(flat: Sequence[T], channels: int, channel: int, block: int, rank: int) -> Any:
    """Return numbers given channel by channel as lists nested like the tensor, length 1 in its other dimensions."""
    blocks = len(flat) // channels
    if channel < block:
        rows = [flat[start : start + blocks] for start in range(0, len(flat), blocks)]
    else:
        rows = [flat[start::blocks] for start in range(blocks)]
    outer, inner = sorted((channel, block))
    nested = [_wrapped([_wrapped(number, rank - 1 - inner) for number in row], inner - outer - 1) for row in rows]
    return _wrapped(nested, outer)


def _wrapped(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value]
    return value


def channel_axis(shape: Sequence[int], block: int) -> int | None:
    """Return the axis of the channels beside that of the blocks: the other one longer than 1; None if unclear.

    With nothing longer than 1, AIMET takes the axis before the blocks'.
    """
    others = [axis for axis in range(len(shape)) if axis != block]
    long = [axis for axis in others if shape[axis] != 1]
    if len(long) > 1 or not others:
        return None
    return long[0] if long else max((axis for axis in others if axis < block), default=others[0])
