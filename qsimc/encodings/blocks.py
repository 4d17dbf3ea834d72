"""Blockwise scales: nested lists in the tensor's own dimensions (versions 2.x) and flat lists by channel (1.0.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T", int, float)


def by_channel(flat: Sequence[T], shape: Sequence[int], channel: int, block: int) -> tuple[T, ...]:
    """Return numbers given in row-major order of `shape` channel by channel, block by block."""
    order = (channel, block, *(axis for axis in range(len(shape)) if axis not in (channel, block)))
    found: list[T] = np.asarray(flat).reshape(shape).transpose(order).reshape(-1).tolist()
    return tuple(found)


def nest(flat: Sequence[T], channels: int, channel: int, block: int, rank: int) -> Any:
    """Return numbers given channel by channel as lists nested like the tensor, length 1 in its other dimensions."""
    grid = np.asarray(flat).reshape(channels, -1)
    if block < channel:
        grid = grid.T
    shape = [1] * rank
    shape[channel], shape[block] = channels, len(flat) // channels
    return grid.reshape(shape).tolist()


def channel_axis(shape: Sequence[int], block: int) -> int | None:
    """Return the axis of the channels beside that of the blocks: the other one longer than 1; None if unclear.

    With nothing longer than 1, AIMET takes the axis before the blocks'.
    """
    others = [axis for axis in range(len(shape)) if axis != block]
    long = [axis for axis in others if shape[axis] != 1]
    if len(long) > 1 or not others:
        return None
    return long[0] if long else max((axis for axis in others if axis < block), default=others[0])
