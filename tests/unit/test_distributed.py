"""Processes that calibrate together, played by threads: they succeed or fail as one, and none waits forever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

from qsimc.calibrate.distributed import ALONE, RankError, Team, together
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observed import Observed
from qsimc.calibrate.shard import Shard
from qsimc.diagnostics import Diagnostic, InputError, Severity

PATIENCE = 30.0
"""Seconds after which a thread that waits for the others gives up: its test has failed then."""


@dataclass
class Threads:
    """One of several threads that exchange objects."""

    rank: int
    size: int
    parts: list[Any]
    barrier: Barrier

    def gather(self, part: Any) -> Sequence[Any]:
        self.parts[self.rank] = part
        self.barrier.wait(PATIENCE)
        heard = list(self.parts)
        self.barrier.wait(PATIENCE)
        return heard


def play(size: int, step: Callable[[Team, int], Any]) -> list[Any]:
    """Run a step on so many ranks; return what each returned or raised."""
    parts: list[Any] = [None] * size
    barrier = Barrier(size)
    ended: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            with together(Threads(rank, size, parts, barrier)) as team:
                ended[rank] = step(team, rank)
        except Exception as error:
            ended[rank] = error

    threads = [Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def wrong(rank: int) -> InputError:
    finding = Diagnostic(code="Q0601", name="data-unreadable", severity=Severity.ERROR, message=f"no data on {rank}")
    return InputError([finding])


def observed(rank: int) -> Observed:
    return Observed(observers={"x": MinMax.empty().observe(np.array([[rank, -rank]]))})


@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_rank_has_the_observers_of_all(size: int) -> None:
    for found in play(size, lambda team, rank: team.merged(observed(rank)).observers["x"]):
        assert (found.low[0], found.high[0]) == (1 - size, size - 1)


def test_one_rank_leads_and_each_has_its_own_shard() -> None:
    assert play(3, lambda team, _: (team.leads, team.shard)) == [
        (True, Shard(1, 3)),
        (False, Shard(2, 3)),
        (False, Shard(3, 3)),
    ]


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_what_is_wrong_on_one_rank_is_raised_on_all(failing: int, when: str) -> None:
    def step(team: Team, rank: int) -> None:
        for moment in ("before", "between", "after"):
            if rank == failing and moment == when:
                raise wrong(rank)
            if moment != "after":
                team.merged(observed(rank))

    for error in play(3, step):
        assert isinstance(error, InputError)
        assert [finding.message for finding in error.findings] == [f"no data on {failing}"]


def test_what_is_wrong_on_several_ranks_is_said_once_each() -> None:
    def step(team: Team, rank: int) -> None:
        raise wrong(min(rank, 1))

    for error in play(4, step):
        assert [finding.message for finding in error.findings] == ["no data on 0", "no data on 1"]


def test_a_bug_on_one_rank_fails_all_with_its_traceback() -> None:
    def step(team: Team, rank: int) -> None:
        assert rank != 1, "the invariant"
        team.share(None)

    for error in play(3, step):
        assert isinstance(error, RankError)
        assert "rank 1: Traceback" in str(error)
        assert "AssertionError: the invariant" in str(error)


def test_a_process_alone_leads_and_has_all_of_the_data() -> None:
    with together(ALONE) as team:
        assert (team.leads, team.shard) == (True, None)
        mine = observed(3)
        assert team.merged(mine) is mine


def test_a_process_alone_raises_what_it_raised() -> None:
    failure = KeyError("mine")
    with pytest.raises(KeyError) as caught, together(ALONE):
        raise failure
    assert caught.value is failure
