"""The processes that `torchrun` started, as qsimc's core sees them: a rank, a size, and a way to exchange objects.

The bytes of a result are those of one process that computes with as many threads: with another number, PyTorch may
add up in another order.  `torchrun` gives several processes one thread each, unless `OMP_NUM_THREADS` is set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from qsimc.calibrate.distributed import ALONE, Ranks

_SAID_BY_LAUNCHERS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` sets in the environment of each process, and PyTorch reads there."""

_PATIENCE = timedelta(days=7)
"""How long a process waits for the slowest shard.  It notices at once when another one dies, which closes a socket."""


@dataclass(frozen=True, slots=True)
class TorchRanks:
    """The default process group."""

    rank: int
    size: int

    def gather(self, part: Any) -> Sequence[Any]:
        """Return what each process gave, in the order of ranks."""
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, part)
        return parts


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that a launcher started together with this one; this one alone if none did.

    A process group that there is already is used, and stays.
    """
    if not distributed.is_available():
        yield ALONE
        return
    if distributed.is_initialized():
        yield _ranks()
        return
    if not all(name in os.environ for name in _SAID_BY_LAUNCHERS):
        yield ALONE
        return
    distributed.init_process_group(_transport(), timeout=_PATIENCE)
    try:
        yield _ranks()
    finally:
        distributed.destroy_process_group()


def _ranks() -> Ranks:
    return TorchRanks(distributed.get_rank(), distributed.get_world_size())


def _transport() -> str:
    """Return what carries tensors: gloo what lies in main memory, as observers do, and nccl what lies on GPUs."""
    if torch.cuda.is_available() and distributed.is_nccl_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        return "cpu:gloo,cuda:nccl"
    return "gloo"
