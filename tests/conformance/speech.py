"""Speech made by rule: voiced syllables, consonants and pauses, and where they are.

A glottal pulse train drives four resonances, as in Klatt, "Software for a cascade/parallel formant
synthesizer" (1980).  Nobody would take it for a person, but a voice activity detector does, and the
labels are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 16_000
"""Samples per second."""

_FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""First three resonances of a, i, u, e, o in hertz (Peterson and Barney 1952)."""

_BANDWIDTHS = (80, 100, 140, 200)
_FOURTH_FORMANT = 3500

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clip:
    """Sound in [-1, 1] and, sample by sample, whether somebody speaks."""

    sound: NDArray[np.float32]
    spoken: NDArray[np.bool_]


def speak(seed: int, seconds: float) -> Clip:
    """Return phrases of four to eight syllables with pauses between them, on a floor of white noise."""
    rng = np.random.default_rng(seed)
    length, sound, spoken = int(seconds * RATE), [np.zeros(0)], [np.zeros(0, bool)]
    while sum(map(len, sound)) < length:
        pause, phrase = np.zeros(_samples(rng, 0.6, 1.2)), _phrase(rng)
        sound += [pause, phrase]
        spoken += [np.zeros(len(pause), bool), np.ones(len(phrase), bool)]
    noise = rng.uniform(0.0005, 0.01) * rng.standard_normal(length)
    return Clip((np.concatenate(sound)[:length] + noise).astype(np.float32), np.concatenate(spoken)[:length])


def _phrase(rng: np.random.Generator) -> Signal:
    pitch, loudness = rng.uniform(95, 230), rng.uniform(0.15, 0.5)
    sounds = [sound for _ in range(rng.integers(4, 9)) for sound in (_consonant(rng), _vowel(rng, pitch))]
    return loudness * np.concatenate(sounds)


def _consonant(rng: np.random.Generator) -> Signal:
    """Return a short hiss, or, half of the time, nothing."""
    if rng.random() < 0.5:
        return np.zeros(0)
    length = _samples(rng, 0.04, 0.09)
    return 0.12 * np.diff(rng.standard_normal(length + 1)) * np.hanning(length)


def _vowel(rng: np.random.Generator, pitch: float) -> Signal:
    """Return a voiced vowel with its peak at 1."""
    length = _samples(rng, 0.12, 0.25)
    time = np.arange(length) / RATE
    vibrato = 1 + 0.12 * np.sin(2 * np.pi * rng.uniform(1, 4) * time + rng.uniform(0, 6))
    phase = np.cumsum(pitch * vibrato / RATE) % 1
    # The glottis is open for 60 % of each period; what radiates from the mouth is the flow's derivative.
    flow = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2, 0)
    voice: Signal = np.diff(flow, prepend=0) + 0.005 * rng.standard_normal(length)
    for hertz, bandwidth in zip((*rng.choice(_FORMANTS), _FOURTH_FORMANT), _BANDWIDTHS, strict=True):
        voice = _resonance(voice, hertz * rng.uniform(0.95, 1.05), bandwidth)
    rise, fall = time / 0.03, (time[-1] - time) / 0.04
    voice *= np.minimum(1, np.minimum(rise, fall))
    peak: float = np.abs(voice).max()
    return voice / peak


def _resonance(signal: Signal, hertz: float, bandwidth: float) -> Signal:
    """Filter with a two-pole resonator of unit gain at 0 Hz."""
    radius, angle = np.exp(-np.pi * bandwidth / RATE), 2 * np.pi * hertz / RATE
    poles = np.array([1, -2 * radius * np.cos(angle), radius * radius])
    return np.asarray(lfilter([poles.sum()], poles, signal))


def _samples(rng: np.random.Generator, shortest: float, longest: float) -> int:
    """Return a duration between two given in seconds, in samples."""
    return int(RATE * rng.uniform(shortest, longest))
