"""Silero VAD on synthesised speech: a recurrent model whose state is an input and an output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from tests.conformance.case import Case, Prepared
from tests.conformance.runtime import Batch, save, session
from tests.conformance.speech import Clip, speak

_FRAME, _CONTEXT = 512, 64
_CALIBRATION_SEED, _CALIBRATION_SECONDS, _EVERY = 100, 12.0, 3
_SEEDS, _SECONDS = range(8), 15.0


def prepare(sources: Mapping[str, Path], work: Path) -> Prepared:
    """Calibrate on every third frame of one clip, with the float model's own states; measure on eight others.

    The state has its samples on the second axis, so calibration data is a folder of batches of one.
    """
    (model,) = sources["silero"].rglob("*.onnx")
    calibration = work / "calibration"
    calibration.mkdir(exist_ok=True)
    clip = speak(_CALIBRATION_SEED, _CALIBRATION_SECONDS)
    for index, (batch, _) in enumerate(_frames(session(model), clip)):
        if index % _EVERY == 0:
            save(calibration / f"{index:04}.npz", batch)
    clips = [speak(seed, _SECONDS) for seed in _SEEDS]

    def right_frames(path: Path) -> float:
        running = session(path)
        return float(np.mean([_right(running, clip) for clip in clips]))

    return Prepared(model=model, calibration=calibration, measure=right_frames)


def _right(running: InferenceSession, clip: Clip) -> float:
    """Return the share of frames that are taken for what they are."""
    heard = np.array([probability > 0.5 for _, probability in _frames(running, clip)])
    spoken = clip.spoken[: len(heard) * _FRAME].reshape(-1, _FRAME).mean(axis=1) > 0.5
    return float((heard == spoken).mean())


def _frames(running: InferenceSession, clip: Clip) -> Iterator[tuple[Batch, float]]:
    """Run the model frame after frame; yield what it was given and the probability of speech.

    A frame is 32 ms, preceded by the last 4 ms of the one before.
    """
    state = np.zeros((2, 1, 128), np.float32)
    padded: NDArray[np.float32] = np.concatenate([np.zeros(_CONTEXT, np.float32), clip.sound])
    for start in range(0, len(clip.sound) - _FRAME + 1, _FRAME):
        batch = {"input": padded[None, start : start + _CONTEXT + _FRAME], "state": state}
        probability, state = running.run(None, batch)
        yield batch, probability.item()


CASE = Case(
    name="voice",
    title="Silero VAD",
    metric="frames told right, 2 minutes of speech",
    packages=("silero",),
    expected=0.939,
    allowed_drop=0.02,
    prepare=prepare,
)
