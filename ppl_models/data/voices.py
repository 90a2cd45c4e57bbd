"""Voices that nobody has: sounds by a source and a filter, of which everything is known.

::

    f0 -> pitch of each frame -> pulses of the glottis --> formants in cascade --> +  -> wave
    tract length, vowels -> formants of each frame -----------^                    ^
    hisses -> noise --------> a resonance high up ---------------------------------/

A speaker is two numbers, drawn apart from each other as in no population of people: how often the
vocal folds open (f0), and how long the vocal tract is (all formants lie 17.5 cm / length as high as
those of a man). What is said is a row of syllables, some of which begin with a hiss. Formants glide
from vowel to vowel; pitch falls from beginning to end, and trembles.

References: G. E. Peterson, H. L. Barney, "Control methods used in a study of the vowels", JASA
1952, table II, men (formants); D. H. Klatt, "Software for a cascade/parallel formant synthesizer",
JASA 1980, equations 1 and 2 (resonators), section I (source, bandwidths, frames of 5 ms).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import check_count

Array = NDArray[np.float64]

STEP = 0.005
"""Seconds of a frame, in which a resonator stays as it is."""
VOWELS = ("i", "e", "a", "o", "u")
FORMANTS = np.array(
    [
        [270, 2290, 3010, 3300],
        [530, 1840, 2480, 3300],
        [730, 1090, 2440, 3300],
        [570, 840, 2410, 3300],
        [300, 870, 2240, 3300],
    ],
    dtype=float,
)
"""Hz, a row a vowel (heed, head, hod, hawed, who'd), tract of `MAN`. The fourth is Klatt's."""
MAN = 17.5
"""cm: the tube, closed at one end, whose resonances are 500, 1500, ... Hz."""
_BANDWIDTHS = np.array([50.0, 70, 110, 250, 1000])  # Hz; the last one of the hiss
_HISS = 4500.0  # Hz
_SYLLABLE, _CONSONANT = (0.14, 0.30), (0.05, 0.09)  # seconds


class Voices(NamedTuple):
    """B sounds of N samples, a speaker each, and what they were made of, in T frames of 5 ms."""

    waves: Tensor
    """(B, N), largest modulus 1."""
    f0: Tensor
    """(B,), Hz: the speaker's pitch, the geometric mean of ``pitch``, trembling apart."""
    tract: Tensor
    """(B,), cm: length of the speaker's vocal tract."""
    pitch: Tensor
    """(B, T), Hz."""
    formants: Tensor
    """(B, T, 4), Hz."""
    vowels: Tensor
    """(B, T): which of `VOWELS` a frame is on its way to; -1 in a hiss."""


def voices(
    size: int,
    *,
    seconds: float = 1.0,
    rate: int = 16000,
    f0: tuple[float, float] = (90.0, 250.0),
    tract: tuple[float, float] = (14.0, 19.0),
    seed: int = 0,
) -> Voices:
    """Synthesise an utterance of each of ``size`` speakers.

    Parameters
    ----------
    size
        B.
    seconds
        Length of each sound.
    rate
        Samples a second: a multiple of 200, at least 8000. Resonances that would lie above 0.45 of
        it are brought down to there.
    f0, tract
        Least and largest pitch, Hz, and length of the vocal tract, cm; speakers are drawn evenly
        between the two, the pitch in octaves.
    seed
        Of all that is drawn.

    Raises
    ------
    InputError
        No speaker, less than a tenth of a second, another rate, or a range that is none.
    """
    check_count("size", size)
    if not (isinstance(rate, int) and rate >= 8000 and rate % 200 == 0):
        expected = "a multiple of 200, at least 8000"
        raise InputError("rate", f"{rate}", expected, "take 8000 or 16000")
    if not 0.1 <= seconds < np.inf:
        raise InputError("seconds", f"{seconds}", "at least 0.1", "let them speak for longer")
    for name, (low, high), least in (("f0", f0, 40), ("tract", tract, 8)):
        if not least <= low <= high < np.inf:
            cure = "give the least, and the largest"
            raise InputError(name, f"{low} to {high}", f"a range above {least}", cure)
    rng, frames = np.random.default_rng(seed), round(seconds / STEP)
    speaker = f0[0] * (f0[1] / f0[0]) ** rng.random(size)
    length = rng.uniform(*tract, size=size)
    vowels, hiss = _sentences(rng, size, frames)
    formants = gaussian_filter1d(FORMANTS[vowels], 4, axis=1, mode="nearest")
    formants = np.minimum(formants * (MAN / length)[:, None, None], 0.45 * rate)
    pitch = _pitch(rng, speaker, frames)
    source, noise = _sources(rng, pitch, hiss, rate)
    waves = _filter(source, noise, formants, np.minimum(_HISS * MAN / length, 0.45 * rate), rate)
    waves /= np.abs(waves).max(1, keepdims=True)
    real = (torch.from_numpy(x).float() for x in (waves, speaker, length, pitch, formants))
    return Voices._make([*real, torch.from_numpy(np.where(hiss, -1, vowels))])


def _sentences(
    rng: np.random.Generator, size: int, frames: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the vowel of each frame (B, T), and which frames hiss before it."""
    count, time = 1 + int(frames * STEP / _SYLLABLE[0]), np.arange(frames) * STEP
    ends = rng.uniform(*_SYLLABLE, (size, count)).cumsum(1)
    consonant = rng.uniform(*_CONSONANT, (size, count)) * (rng.random((size, count)) < 0.4)
    vowel = rng.integers(len(VOWELS), size=(size, count))
    which = (time[:, None] >= ends[:, None, :]).sum(-1)
    begins = np.concatenate([np.zeros((size, 1)), ends], 1)
    at = np.take_along_axis
    since = time - at(begins, which, 1)
    return at(vowel, which, 1), since < at(consonant, which, 1)


def _pitch(rng: np.random.Generator, f0: Array, frames: int) -> Array:
    """Return a contour (B, T): falling by 2 to 6 semitones, with a vibrato of 1 % at 5.5 Hz."""
    time = np.arange(frames) * STEP
    fall, phase = rng.uniform(2, 6, (len(f0), 1)), rng.uniform(0, 2 * np.pi, (len(f0), 1))
    octaves = fall / 12 * (0.5 - time / time[-1])
    return f0[:, None] * 2**octaves * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * time + phase))


def _sources(
    rng: np.random.Generator, pitch: Array, hiss: NDArray[np.bool_], rate: int
) -> tuple[Array, Array]:
    """Return what the glottis and a narrow place in the mouth give (B, N)."""
    num, frames = pitch.shape
    samples, time = frames * rate // 200, np.arange(frames) * STEP
    loud = gaussian_filter1d(1.0 - hiss, 2, axis=1, mode="nearest")
    edge = np.minimum(time, time[-1] - time)
    envelope = np.clip(edge / 0.03, 0, 1)
    pulses = np.zeros((num, samples + 1))
    for row, contour, voiced in zip(pulses, pitch, loud * envelope, strict=True):
        phase = np.concatenate([[0], contour.cumsum() * STEP])
        when = np.interp(np.arange(1, phase[-1]), phase, np.arange(frames + 1) * STEP)
        when += 0.005 * rng.standard_normal(len(when)) * STEP * frames / phase[-1]  # jitter
        place, height = np.clip(when * rate, 0, samples - 1), np.interp(when, time, voiced)
        whole = place.astype(int)
        np.add.at(row, whole, height * (whole + 1 - place))
        np.add.at(row, whole + 1, height * (place - whole))
    # the glottis, -12 dB an octave, and what a mouth radiates, +6
    gain, back, back2 = _resonator(np.zeros(1), 100.0, rate)[:, 0]
    glottis = lfilter([gain, -gain], [1, -back, -back2], pulses[:, :-1])
    level = glottis.std(1, keepdims=True)
    noise = rng.standard_normal((2, num, samples))
    rough = np.repeat(0.5 * (1 - loud) * envelope, rate // 200, 1)
    return glottis + 0.02 * level * noise[0], level * rough * noise[1]


def _resonator(hertz: Array, bandwidth: Array | float, rate: int) -> Array:
    """Return Klatt's (A, B, C): y_n = A x_n + B y_{n-1} + C y_{n-2}, of gain 1 at 0 Hz."""
    decay = np.exp(-np.pi * np.asarray(bandwidth) / rate)
    c = np.broadcast_to(-(decay**2), hertz.shape)
    b = 2 * decay * np.cos(2 * np.pi * hertz / rate)
    return np.stack([1 - b - c, b, c])


def _filter(source: Array, noise: Array, formants: Array, hiss: Array, rate: int) -> Array:
    """Send a source (B, N) through formants (B, T, 4) in a row, and noise through a resonance."""
    last = np.broadcast_to(hiss[:, None, None], (*formants.shape[:2], 1))
    settings = _resonator(np.concatenate([formants, last], -1), _BANDWIDTHS, rate)
    out, hop = np.empty_like(source), rate // 200
    x, y, before = np.zeros((3, len(source), len(_BANDWIDTHS)))
    for n in range(source.shape[1]):
        a, b, c = settings[:, :, n // hop]
        x[:, 1:4] = y[:, :3]  # a resonator reads the last sample of the one before: all go at once
        x[:, 0], x[:, 4] = source[:, n], noise[:, n]
        y, before = a * x + b * y + c * before, y
        out[:, n] = y[:, 3] + y[:, 4]
    return out
