"""One tool in a process of its own: asked in lines of JSON on stdin, it answers in lines of JSON on stdout.

    {"do": "plain", "samples": 128}                     -> {"build": 0.1, "seconds": 3.1, "growth": 524288}
    {"do": "run", "method": "min-max", "samples": 128}  -> {"build": 0.4, "seconds": 5.2, "growth": 1048576}

`plain` runs the float model over the samples in onnxruntime, in a session that is made when it is first asked for.
`run` builds what the tool needs and calibrates with the same samples.  The pass begins when the first sample is asked
for; `growth` is by how many bytes memory is larger at its highest from then on, pages of mapped files apart, which the
system can drop and read again.  A tool that fails answers {"error": "..."}.  Both use the processor's first THREADS
cores and as many threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

Batch = dict[str, Any]
Feed = Callable[[], Iterator[Batch]]
"""Gives the samples from the beginning, one a batch."""

Prepare = Callable[[Path, str], Callable[[Feed], object]]
"""Takes a model and the name of a method, and returns what is timed as the pass."""


def serve(prepare: Prepare) -> None:
    """Answer until stdin ends.  Arguments of the process: the model's folder, the number of threads."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):  # runtimes that are not told take as many threads as there are cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # tools print lines of their own

    import numpy as np

    with np.load(folder / "samples.npz") as arrays:
        samples = {name: arrays[name] for name in arrays.files}
    plain = cache(lambda: _session(folder / "model.onnx", threads))
    for line in sys.stdin:
        asked = json.loads(line)
        feed = _feed(samples, asked["samples"])
        answer: dict[str, Any]
        try:
            calibrating = partial(prepare, folder / "model.onnx", asked.get("method", ""))
            answer = _measured(plain if asked["do"] == "plain" else calibrating, feed)
        except Exception as error:  # a tool's failure is a cell of the table
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
        print(json.dumps(answer), file=answers, flush=True)


def _feed(samples: Batch, count: int) -> Feed:
    have = len(next(iter(samples.values())))

    def batches() -> Iterator[Batch]:
        for at in range(count):
            yield {name: array[at % have : at % have + 1] for name, array in samples.items()}

    return batches


def _session(model: Path, threads: int) -> Callable[[Feed], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(feed: Feed) -> None:
        for batch in feed():
            session.run(None, batch)

    return run


def _measured(prepare: Callable[[], Callable[[Feed], object]], feed: Feed) -> dict[str, Any]:
    begun: list[float] = []
    before: list[int] = []
    mapped: list[int] = []

    def noted() -> Iterator[Batch]:
        before.append(_memory("VmRSS"))
        mapped.append(_memory("RssFile"))
        _forget_peak()
        begun.append(time.perf_counter())
        yield from feed()
        mapped.append(_memory("RssFile"))

    start = time.perf_counter()
    prepare()(noted)
    end = time.perf_counter()
    growth = _memory("VmHWM") - before[0] - (mapped[-1] - mapped[0])
    return {"build": begun[0] - start, "seconds": end - begun[0], "growth": max(growth, 0)}


def _memory(which: str) -> int:
    """Return bytes of this process: VmRSS, of it mapped RssFile, at most VmHWM; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{which}:")), 0)


def _forget_peak() -> None:
    """Let VmHWM begin again at what is used now, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
