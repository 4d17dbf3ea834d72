"""What fake quantization in PyTorch costs, in plain copies of the tensor.

    python bench/fake_quantize.py [--values 67108864 3200000 800000] [--runs 9] [--threads N] [--json FILE]

The unit is `y.copy_(x)` into memory that is there; every quantizer makes a tensor of its own, as eager PyTorch does.
Forward is without gradients.  Backward is the gradient of the values alone, the encoding standing still.  Per channel
there are 64 channels on axis 1, per tensor the same tensor has one scale.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from qsimc_torch.runtime import FakeQuantize
from torch import Tensor, nn

CHANNELS, AXIS = 64, 1
QMIN, QMAX = -128, 127
SCALE = 0.02

Quantize = Callable[[Tensor], Tensor]


def ours(channels: int) -> Quantize:
    axis = None if channels == 1 else AXIS
    made = FakeQuantize("x", qmin=QMIN, qmax=QMAX, axis=axis, channels=channels)
    made.encode(torch.full((channels,), SCALE, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64))
    return made


def of_torch(channels: int) -> Quantize:
    scale, zero_point = torch.full((channels,), SCALE), torch.zeros(channels, dtype=torch.int32)
    if channels == 1:
        return lambda x: torch.fake_quantize_per_tensor_affine(x, SCALE, 0, QMIN, QMAX)
    return lambda x: torch.fake_quantize_per_channel_affine(x, scale, zero_point, AXIS, QMIN, QMAX)


def of_torch_ao(channels: int) -> Quantize:
    from torch.ao import quantization as ao

    if channels == 1:
        options: dict[str, Any] = {"observer": ao.MinMaxObserver, "dtype": torch.qint8}
    else:
        options = {
            "observer": ao.PerChannelMinMaxObserver,
            "dtype": torch.qint8,
            "qscheme": torch.per_channel_symmetric,
            "ch_axis": AXIS,
        }
    made: nn.Module = ao.FakeQuantize(quant_min=QMIN, quant_max=QMAX, **options)
    made(torch.randn(2, CHANNELS, 2))
    made.apply(ao.disable_observer)
    return made


TOOLS: dict[str, Callable[[int], Quantize]] = {
    "qsimc": ours,
    "torch.fake_quantize": of_torch,
    "torch.ao": of_torch_ao,
}


@dataclass(frozen=True, slots=True)
class Task:
    """Something to time: `run`, of what `prepare` has made just before."""

    tool: str
    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], object]


def tasks(values: int) -> Iterator[Task]:
    """Yield who does what to one tensor, and how."""
    x = torch.randn(max(1, values // (CHANNELS * 1024)), CHANNELS, min(1024, values // CHANNELS))
    target, upstream, leaf = torch.zeros_like(x), torch.randn(x.shape), x.clone().requires_grad_()
    yield Task("plain", "copy", lambda: x, target.copy_)
    for tool, make in TOOLS.items():
        for channels, grain in ((1, "per tensor"), (CHANNELS, "per channel")):
            quantize = make(channels)
            yield Task(tool, f"forward, {grain}", lambda: x, quantize)
            yield Task(
                tool,
                f"backward, {grain}",
                torch.enable_grad()(partial(quantize, leaf)),
                lambda made: torch.autograd.grad(made, leaf, upstream),
            )


def timed(task: Task) -> float:
    """Return the seconds of the second of two runs.

    The first has it meet its own memory again: which pages the system has at hand is a matter of who ran before.
    """
    seconds = 0.0
    for _ in range(2):
        given = task.prepare()
        start = time.perf_counter()
        task.run(given)
        seconds = time.perf_counter() - start
    return seconds


def measured(values: int, runs: int) -> list[dict[str, Any]]:
    """Return the rows of one size; in each round every task is timed once."""
    todo = list(tasks(values))
    seconds: list[list[float]] = [[] for _ in todo]
    for _ in range(runs + 2):  # the first rounds warm up
        for task, found in zip(todo, seconds, strict=True):
            found.append(timed(task))
    copies = seconds[0][2:]
    rows = []
    for task, found in zip(todo, seconds, strict=True):
        ratios = [mine / copy for mine, copy in zip(found[2:], copies, strict=True)]
        rows.append({
            "values": values, "tool": task.tool, "task": task.name, "seconds": statistics.median(found[2:]),
            "ratio": statistics.median(ratios), "fastest": min(ratios), "slowest": max(ratios),
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, nargs="+", default=[1 << 26, 3_200_000, 800_000])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    rows = [row for values in arguments.values for row in measured(values, arguments.runs)]
    for row in rows:
        spread = f"({row['fastest']:.2f} to {row['slowest']:.2f})"
        print(
            f"{row['values']:9} {row['tool']:20} {row['task']:22} {row['seconds'] * 1e3:8.2f} ms"
            f" {row['ratio']:6.2f} x  {spread}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
