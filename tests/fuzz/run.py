"""Fuzz the readers: `python -m tests.fuzz.run --seconds 300 [--engine hypothesis] [TARGET ...]`.

`make fuzz` gives each target five minutes, `make test` a quarter of one.  Without atheris seeds are damaged at random.
Prints one line per target; the exit status is 1 if an input brought one down, and that input is in tests/fuzz/found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz import targets
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import FOUND

ENGINES = ("atheris", "hypothesis")

_SLOWEST = 20  # seconds that one input may take
_LARGEST = 4096  # MiB that one target may hold
_AT_ONCE = 500  # examples between two looks at the clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of fuzzing one target; `failure` is what brought it down, None if nothing did."""

    executions: int
    seconds: float
    failure: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the named targets, or all; return the exit status."""
    asked = _arguments(arguments)
    FOUND.mkdir(exist_ok=True)
    run = _guided if (asked.engine or _usual_engine()) == "atheris" else _drawn
    failures = 0
    for name in asked.target or targets.NAMES:
        outcome = run(name, asked.seconds)
        failures += outcome.failure is not None
        print(_line(name, outcome), flush=True)
        if outcome.failure is not None:
            print(outcome.failure, file=sys.stderr)
    return int(failures > 0)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("target", nargs="*", metavar="TARGET", help=f"of {', '.join(targets.NAMES)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--engine", choices=ENGINES, help="how inputs are found (atheris where it is installed)")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.target) - set(targets.NAMES):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(targets.NAMES)}")
    return asked


def _usual_engine() -> str:
    if find_spec("atheris") is not None:
        return "atheris"
    print("atheris is not installed: seeds are damaged at random, whatever code that reaches", flush=True)
    return "hypothesis"


def _line(name: str, outcome: Outcome) -> str:
    rate = outcome.executions / max(outcome.seconds, 1e-9)
    failures = int(outcome.failure is not None)
    return f"{name:12} {outcome.executions:9} executions {rate:9.0f} per second {failures} failures"


def _guided(name: str, seconds: int) -> Outcome:
    """Fuzz by coverage; stops at the first failure."""
    # The first folder is where the fuzzer keeps what it learns; the corpus itself stays as it is.
    with TemporaryDirectory(prefix="qsimc-fuzz-") as learned:
        options = [
            f"-max_total_time={seconds}", f"-timeout={_SLOWEST}", f"-rss_limit_mb={_LARGEST}", "-print_final_stats=1",
            f"-artifact_prefix={FOUND}/{name}-", learned, str(targets.HERE / "corpus" / name),
        ]  # fmt: skip
        begin = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.guided", name, *options]
        done = subprocess.run(command, capture_output=True, check=False, cwd=targets.HERE.parents[1])
    # Python's traceback is on stdout, and what the fuzzer says of itself on stderr.
    traceback_, said = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    executed = re.search(r"number_of_executed_units:\s*(\d+)", said)
    failure = None if done.returncode == 0 and executed else traceback_[-4000:] + said[-2000:]
    return Outcome(int(executed[1]) if executed else 0, time.monotonic() - begin, failure)


def _drawn(name: str, seconds: int) -> Outcome:
    """Fuzz with damaged seeds; a failing input is made as small as it gets."""
    fuzz_one, begin, executions = targets.load(name), time.monotonic(), 0
    last = b""

    def once(data: bytes) -> None:
        nonlocal executions, last
        executions += 1
        last = data
        fuzz_one(data)

    checks = settings(
        max_examples=_AT_ONCE,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    rounds = 0
    while (elapsed := time.monotonic() - begin) < seconds:
        rounds += 1
        try:
            seed(time.time_ns())(checks(given(damaged(name))(once)))()
        except Exception:  # what a target raises is what the runner looks for
            saved = FOUND / f"{name}-{sha256(last).hexdigest()[:16]}"
            saved.write_bytes(last)
            failure = f"{traceback.format_exc()[-6000:]}the input is in {saved}"
            return Outcome(executions, time.monotonic() - begin, failure)
    return Outcome(executions, elapsed, None)


if __name__ == "__main__":
    sys.exit(main())
