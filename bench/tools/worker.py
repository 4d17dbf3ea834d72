"""One tool in a process of its own: asked in lines of JSON on stdin, it answers in lines of JSON on stdout.

    {"do": "plain", "samples": 128}                     -> {"seconds": 3.1}
    {"do": "run", "method": "min-max", "samples": 128}  -> {"build": 0.4, "seconds": 5.2, "growth": 1048576}

`plain` runs the float model over the samples in onnxruntime.  `run` builds what the tool needs and calibrates with
the same samples; the pass begins when it asks for the first one.  `growth` is by how many bytes memory grew at its
highest once the tool's own objects were made.  A tool that
fails answers {"error": "..."}.  Both use the processor's first THREADS cores and as many threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
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
    plain = _session(folder / "model.onnx", threads)
    for line in sys.stdin:
        asked = json.loads(line)
        feed = _feed(samples, asked["samples"])
        answer: dict[str, Any]
        try:
            answer = _timed(plain, feed) if asked["do"] == "plain" else _run(prepare, folder, asked["method"], feed)
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


def _timed(pass_: Callable[[Feed], object], feed: Feed) -> dict[str, Any]:
    start = time.perf_counter()
    pass_(feed)
    return {"seconds": time.perf_counter() - start}


def _run(prepare: Prepare, folder: Path, method: str, feed: Feed) -> dict[str, Any]:
    asked: list[float] = []

    def noted() -> Iterator[Batch]:
        asked.append(time.perf_counter())
        yield from feed()

    start = time.perf_counter()
    pass_ = prepare(folder / "model.onnx", method)
    before = _memory("VmRSS")
    _forget_peak()
    pass_(noted)
    end = time.perf_counter()
    growth = max(_memory("VmHWM") - before, 0)
    return {"build": asked[0] - start, "seconds": end - asked[0], "growth": growth}


def _memory(which: str) -> int:
    """Return bytes of this process: VmRSS now, VmHWM at the highest; 0 where the system does not say."""
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
