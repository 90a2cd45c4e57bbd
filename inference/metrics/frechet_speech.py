"""How far generated speech is from recorded speech, as two sets: a Frechet distance.

>>> frechet_speech_distance(recorded, generated)
FrechetDistance(distance=31.2, error=1.9, bias=4.0, windows=(642, 642))

Sounds become windows of half a second, a window becomes 145 numbers (`speech_features`), each
divided by its standard deviation over the first set, and both sets of windows become Gaussians:

    d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

This is the form of the Frechet deep speech distance (FDSD) of M. Binkowski et al., "High fidelity
speech synthesis with adversarial networks", arXiv:1909.11646, without the network, which can no
longer be had: numbers compare with each other, never with published FDSD.

It measures: timbre (the shape of the spectrum), its spread, how it moves within half a second, and
the rhythm of syllables and pitch periods' envelopes. It does not measure: words, meaning, level,
anything longer than half a second, whether one utterance has one speaker, phase beyond what a
spectrogram shows, and hardly whether time runs backwards; and a model that recites its training
data is perfect.

Moments of n windows are estimates, and d of two samples of one distribution is not 0 but about
`bias`, which falls as 1 / n. Compare sets of the same size, or compare ``distance - bias``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from inference.metrics.frechet import FrechetDistance, check_counts, frechet_of_features
from ppl_models.data.stft import STFT, mel_filters
from ppl_models.errors import InputError

WINDOW_MS, HOP_MS = 32, 8
MELS, CEPSTRA = 40, 20
SPAN, STEP = 64, 32  # frames of a window, and to the next: 0.512 s, 0.256 s
FLOOR = 80.0  # dB below the loudest band and frame of a sound: what is softer is as soft as that
GROUPS = 5  # of 8 mel bands, for the modulation spectrum
OCTAVES = ((1, 2), (2, 4), (4, 8), (8, 16), (16, 33))  # in 1 / 0.512 s: 2, 4 to 6, ... to 62 Hz
FEATURES = 2 * 3 * CEPSTRA + GROUPS * len(OCTAVES)
LEAST_SPREAD = 1e-3  # nepers: a feature that varies less over the first set counts as if by this


def speech_features(wave: Tensor, rate: int = 16000) -> Tensor:
    """Describe each half second of a sound (N,) by 145 numbers, whatever its level.

    Parameters
    ----------
    wave
        A sound.
    rate
        Samples a second; a band reaches from 0 to half of it.

    Returns
    -------
    Tensor
        (W, 145) double: windows of 0.512 s, every 0.256 s; of a shorter sound none. Of a window:
        mean (60) and standard deviation (60) over its 64 frames of 20 cepstral coefficients of
        40 mel bands, their slopes, and the slopes of these; then (25) the log energy of the
        fluctuations of five groups of bands, in each of five octaves of fluctuation, 2 to 62 Hz.

    Raises
    ------
    InputError
        Not one sound, samples that are not finite, or silence.
    """
    if wave.ndim != 1 or not wave.isfinite().all() or not wave.any():
        found = f"shape {tuple(wave.shape)}, {int((~wave.isfinite()).sum())} samples not finite"
        found = found if wave.any() else f"{found}, silence"
        raise InputError("wave", found, "one sound (N,), finite, not silent", "leave it out")
    stft = STFT(rate, WINDOW_MS, HOP_MS)
    bands = stft.power(wave.detach().double()) @ mel_filters(MELS, rate, stft.bins).double().mT
    logs = bands.clamp(min=float(bands.max()) * 10 ** (-FLOOR / 10)).log()
    cepstra = (logs - logs.mean()) @ _cosines()
    slopes = _slopes(cepstra)
    frames = torch.cat([cepstra, slopes, _slopes(slopes), logs], 1)
    if len(frames) < SPAN:
        return frames.new_zeros(0, FEATURES)
    windows = frames.unfold(0, SPAN, STEP)  # (W, 3 * CEPSTRA + MELS, SPAN)
    pooled = windows[:, : 3 * CEPSTRA]
    modulation = _modulation(windows[:, 3 * CEPSTRA :])
    return torch.cat([pooled.mean(-1), pooled.std(-1), modulation], 1)


def frechet_speech_distance(
    recorded: Iterable[Tensor],
    generated: Iterable[Tensor],
    rate: int = 16000,
    *,
    batches: int = 10,
    seed: int = 0,
) -> FrechetDistance:
    """Return how far generated sounds are from recorded ones.

    Parameters
    ----------
    recorded, generated
        Sounds (N_i,); best many, of the same total length. Those shorter than half a second do not
        count.
    rate
        Samples a second, of all.
    batches
        G: each set is dealt into so many batches, and the distance found G times more, without one
        batch of each. Sounds are taken as independent; several of one speaker are not quite.
    seed
        Of the dealing.

    Raises
    ------
    InputError
        Fewer than two batches, fewer sounds than batches, or a sound that is not one.
    """
    first, second = (_features(waves, rate) for waves in (recorded, generated))
    sets = {"recorded": first, "generated": second}
    check_counts(sets, max(batches, 1), " of half a second or more")
    spread = torch.cat(first).std(0).clamp(min=LEAST_SPREAD)
    scaled = [[features / spread for features in one] for one in (first, second)]
    return frechet_of_features(*scaled, batches=batches, seed=seed)


def _features(waves: Iterable[Tensor], rate: int) -> list[Tensor]:
    every = (speech_features(wave, rate) for wave in waves)
    return [features for features in every if len(features)]


def _cosines() -> Tensor:
    """Return the first columns (MELS, CEPSTRA) of the orthonormal cosine transform, type II."""
    band, order = torch.arange(MELS).double()[:, None], torch.arange(CEPSTRA).double()
    columns = (math.pi / MELS * (band + 0.5) * order).cos() * math.sqrt(2 / MELS)
    return torch.where(order == 0, columns / math.sqrt(2), columns)


def _slopes(x: Tensor) -> Tensor:
    """Return the slope (T, D) of least squares through five frames, the ends repeated."""
    padded = torch.cat([x[:1], x[:1], x, x[-1:], x[-1:]])
    return padded.unfold(0, 5, 1) @ torch.tensor([-2.0, -1, 0, 1, 2]).to(x) / 10


def _modulation(bands: Tensor) -> Tensor:
    """Return the log energies (W, 25) of the fluctuations of log bands (W, MELS, SPAN)."""
    levels = bands.unflatten(1, (GROUPS, MELS // GROUPS)).mean(2)
    window = torch.hann_window(SPAN, dtype=bands.dtype)
    spectrum = torch.fft.rfft((levels - levels.mean(-1, keepdim=True)) * window).abs().square()
    energies = torch.stack([spectrum[..., low:high].sum(-1) for low, high in OCTAVES], -1)
    return (energies + LEAST_SPREAD).log().flatten(1)
