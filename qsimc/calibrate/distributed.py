"""Calibration by several processes: each observes its shard, and all of them have the observers of all.

What starts the processes and carries bytes between them is a backend's business (`Ranks`).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn, Protocol

from qsimc.calibrate.observed import Observed
from qsimc.calibrate.shard import Shard
from qsimc.diagnostics import Diagnostic, InputError


class Ranks(Protocol):
    """Processes that run the same command on the same inputs; this one is number `rank`, counted from 0."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gather(self, part: Any) -> Sequence[Any]:
        """Return what each process gave, in the order of ranks; waits until all of them have called."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """The only process."""

    rank: int = 0
    size: int = 1

    def gather(self, part: Any) -> Sequence[Any]:
        """Return the part."""
        return (part,)


ALONE: Ranks = Alone()


class RankError(RuntimeError):
    """A process failed by a bug; the message is its traceback, the same in all processes."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a process says in the place of what it was to say: it has stopped, and why."""

    rank: int
    findings: tuple[Diagnostic, ...]
    bug: str

    @classmethod
    def of(cls, rank: int, error: Exception) -> _Failure:
        if isinstance(error, InputError):
            return cls(rank, tuple(error.findings), "")
        return cls(rank, (), "".join(traceback.format_exception(error)))


class Team:
    """Processes inside `together`: they take the same steps and go on only if all can."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._stopped = False

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self._ranks.rank == 0

    @property
    def shard(self) -> Shard | None:
        """The share of the data that this process observes; None: all of it."""
        return Shard(self._ranks.rank + 1, self._ranks.size) if self._ranks.size > 1 else None

    def share(self, part: Any) -> Sequence[Any]:
        """Return the parts of all processes, in the order of ranks.

        Raises:
            InputError: what is wrong with the inputs, in any of them.
            RankError: one of them failed by a bug.
        """
        parts = self._ranks.gather(part)
        failures = [said for said in parts if isinstance(said, _Failure)]
        if failures:
            self._stopped = True
            _fail(failures)
        return parts

    def merged(self, observed: Observed) -> Observed:
        """Return the observers of all processes, merged in the order of ranks: the same in each of them.

        Raises:
            As `share`.
        """
        parts: Sequence[Observed] = self.share(observed)
        return reduce(Observed.merge, parts)

    def stop(self, error: Exception) -> None:
        """Tell the others, who wait for this process's next part, that it has none; unless they know.

        Raises:
            As `share`.
        """
        if not self._stopped:
            self.share(_Failure.of(self._ranks.rank, error))


@contextmanager
def together(ranks: Ranks) -> Iterator[Team]:
    """Let processes succeed or fail as one: what one of them raises inside, all raise, and none waits forever.

    A process that dies without a word is noticed by the transport, whose error then is the others'.

    Raises:
        As `Team.share`; a single process raises what it raised.
    """
    team = Team(ranks)
    if ranks.size == 1:
        yield team
        return
    try:
        yield team
    except Exception as error:  # told to the other processes, and raised in all of them
        team.stop(error)
        raise
    team.share(None)


def _fail(failures: Sequence[_Failure]) -> NoReturn:
    bugs = [f"rank {failure.rank}: {failure.bug}" for failure in failures if failure.bug]
    if bugs:
        raise RankError("\n".join(bugs))
    # What is wrong with the inputs is usually wrong in all processes, and said once.
    raise InputError([*dict.fromkeys(finding for failure in failures for finding in failure.findings)])
