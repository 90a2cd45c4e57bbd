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
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

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


class FrechetDistance(NamedTuple):
    """A distance of two sets.

    Attributes
    ----------
    distance : float
        d, of features whose standard deviation over the first set is 1.
    error : float
        Its standard error, from the jackknife over batches of sounds.
    bias : float
        What of it is due to the size of the sets, by the same jackknife, to order 1 / n.
    windows : tuple of int
        How many windows of half a second each set has.
    """

    distance: float
    error: float
    bias: float
    windows: tuple[int, int]


class _Sums(NamedTuple):
    """What the moments of some rows follow from: n, sum of x (D,), sum of x x^T (D, D)."""

    rows: int
    first: Tensor
    second: Tensor

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.rows - other.rows, self.first - other.first, self.second - other.second)

    def moments(self) -> tuple[Tensor, Tensor]:
        mean = self.first / self.rows
        scatter = self.second - self.rows * torch.outer(mean, mean)
        return mean, scatter / (self.rows - 1)


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Return the squared 2-Wasserstein distance of two Gaussians, with covariances (D, D).

    The trace of (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2), which is
    symmetric in the two and needs no square root of a matrix that is not.

    Raises
    ------
    InputError
        Shapes that do not fit, or numbers that are not finite.
    """
    size = (len(mean1), len(mean1))
    shapes = [tuple(one.shape) for one in (mean1, cov1, mean2, cov2)]
    if shapes != [size[:1], size, size[:1], size]:
        found = ", ".join(map(str, shapes))
        raise InputError("mean1, cov1, mean2, cov2", found, "(D,), (D, D), twice", "match them")
    means, covs = (torch.stack(pair).double() for pair in ((mean1, mean2), (cov1, cov2)))
    if not (means.isfinite().all() and covs.isfinite().all()):
        raise InputError("moments", "numbers not finite", "finite moments", "look at the features")
    values, vectors = torch.linalg.eigh((covs + covs.mT) / 2)
    rounding = values.amax(1, True) * size[0] * torch.finfo(values.dtype).eps
    values = torch.where(values > rounding, values, 0)  # else a root of it counts
    roots = vectors * values.sqrt()[:, None, :] @ vectors.mT
    traces = covs.diagonal(dim1=-2, dim2=-1).sum()
    distance = (means[0] - means[1]).square().sum() + traces
    distance -= 2 * torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    return max(float(distance), 0.0)


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
    if not first:
        raise _too_few("recorded", 0, batches)
    spread = torch.cat(first).std(0).clamp(min=LEAST_SPREAD)
    sets = [[features / spread for features in one] for one in (first, second)]
    return frechet_of_features(*sets, batches=batches, seed=seed)


def frechet_of_features(
    recorded: Sequence[Tensor], generated: Sequence[Tensor], *, batches: int = 10, seed: int = 0
) -> FrechetDistance:
    """Return the distance of two sets of things, each described by rows (W_i, D) of features.

    For your own features, those of a network for example; as `frechet_speech_distance`, nothing is
    scaled.
    """
    if batches < 2:
        raise InputError("batches", str(batches), "2 at least", "take 10")
    for name, rows in (("recorded", recorded), ("generated", generated)):
        if len(rows) < batches:
            raise _too_few(name, len(rows), batches)
    dealt = [_deal(rows, batches, seed) for rows in (recorded, generated)]
    first, second = (_add(groups) for groups in dealt)
    distance = _distance(first, second)
    kept = [_distance(first.less(a), second.less(b)) for a, b in zip(*dealt, strict=True)]
    without = torch.tensor(kept, dtype=torch.float64)
    error = math.sqrt((batches - 1) * float(without.var(correction=0)))
    bias = (batches - 1) * (float(without.mean()) - distance)
    return FrechetDistance(distance, error, bias, (first.rows, second.rows))


def _features(waves: Iterable[Tensor], rate: int) -> list[Tensor]:
    every = (speech_features(wave, rate) for wave in waves)
    return [features for features in every if len(features)]


def _deal(things: Sequence[Tensor], batches: int, seed: int) -> list[_Sums]:
    """Sum rows batch by batch; each thing is in one batch, its copy in the other set in the same.

    That is so where both sets are of one size, and in one order: sounds and what a model made of
    them. Their distance has no bias then, and the jackknife sees that.
    """
    order = torch.randperm(len(things), generator=torch.Generator().manual_seed(seed)).tolist()
    dealt = [torch.cat([things[i] for i in order[batch::batches]]) for batch in range(batches)]
    return [_Sums(len(x), x.sum(0), x.mT @ x) for x in dealt]


def _add(groups: Sequence[_Sums]) -> _Sums:
    rows, firsts, seconds = zip(*groups, strict=True)
    return _Sums(sum(rows), torch.stack(firsts).sum(0), torch.stack(seconds).sum(0))


def _distance(first: _Sums, second: _Sums) -> float:
    return frechet_distance(*first.moments(), *second.moments())


def _too_few(name: str, seen: int, batches: int) -> InputError:
    what, cure = f"{seen} of half a second or more", "give more, or lessen batches"
    return InputError(name, what, f"{batches} at least", cure)


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
