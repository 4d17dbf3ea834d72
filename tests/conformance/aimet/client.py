"""The other end of worker.py: asks AIMET, in a process of its own, what it makes of a config and a model."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Pair:
    """A config (its text), an ONNX model (its bytes), and the precisions of params and activations."""

    config: str
    model: bytes
    param: str
    act: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What AIMET made of a pair: a plan, or the exception that it raised (`error` is its class).

    Rows have the columns of worker.COLUMNS.
    """

    plan: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    where: str = ""


CRASHED = "crashed"
"""The `error` of an answer that never came: the process died."""


class Aimet:
    """A worker process; started when first asked, started again after a crash."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Aimet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def ask(self, pair: Pair) -> Answer:
        """Return AIMET's answer."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        question = {
            "config": pair.config,
            "model": base64.b64encode(pair.model).decode("ascii"),
            "param": pair.param,
            "act": pair.act,
        }
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = process.wait()
            self._process = None
            return Answer(error=CRASHED, message=f"the process ended with status {status}")
        return Answer(**json.loads(line))

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [self._python, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._process = None
