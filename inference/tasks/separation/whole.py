"""The answer of a recording, put together from those of its pieces.

What the posterior means leave of a bin (of little power where sources add up) goes to its sources
by their shares, so that the sounds add up to the recording.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from inference.tasks.separation.pieces import lay, samples
from inference.tasks.separation.sums import Posterior
from ppl_models.data.stft import STFT
from ppl_models.likelihoods import to_complex


class Separation(NamedTuple):
    """A recording in its N sources."""

    names: tuple[str, ...]
    waves: Tensor
    """(N, samples): their sum is the recording."""
    mean: Tensor
    """(N, T, F) complex: E[s_n | o], in the units of the recording."""
    variance: Tensor
    """(N, T, F): E|s_n - mean|^2."""
    responsibilities: Tensor
    """(N, T, F): q(w = n) of each bin; where sources add up, their shares of expected power."""
    bound: Tensor
    """Nats of the recording brought to a largest modulus of 1, summed over pieces."""
    bound_error: Tensor
    """Standard error, from draws; NaN where the bound is an objective, and bounds nothing."""
    objective: Tensor
    """(iterations,): what was climbed."""
    rate: int


class Piece(NamedTuple):
    """A piece's sounds (N, samples), and its posterior, without padding."""

    waves: Tensor
    mean: Tensor
    variance: Tensor
    shares: Tensor
    bound: Tensor
    bound_error: Tensor
    objective: Tensor


def piece_of(found: Posterior, b: int, wave: Tensor, x: Tensor, stft: STFT) -> Piece:
    """Return row b as sounds that add up to ``wave``, of spectra x (T, F)."""
    frames = len(x)
    mean = to_complex(found.mean[b, :, :frames])
    shares = found.shares[b, :, :frames]
    sounds = stft.invert(mean + shares * (x - mean.sum(0)), length=len(wave))
    sounds = sounds + (wave - sounds.sum(0)) / len(sounds)
    return Piece(
        sounds,
        mean,
        found.variance[b, :, :frames],
        shares,
        found.bound[b],
        found.bound_error[b],
        found.objective[:, b],
    )


class Whole:
    """A recording's answer, put together from pieces."""

    def __init__(self, wave: Tensor, sources: int, stft: STFT) -> None:
        self.stft, self.frames = stft, stft.frames(len(wave))
        like, size = wave.float(), (sources, self.frames, stft.bins)
        self.waves = like.new_zeros(sources, len(wave))
        self.mean = torch.zeros(size, dtype=torch.complex64)
        self.variance, self.shares = torch.zeros(size), torch.zeros(size)
        self.bound, self.square = torch.zeros(()), torch.zeros(())
        self.objective = torch.zeros(())

    def put(self, at: int, piece: Piece) -> None:
        """Put in the piece that starts at a sample."""
        frame = at // self.stft.hop
        lay(self.waves, at, piece.waves, self.stft)
        # frames of the first half of what they share are the other piece's
        skip = samples(self.stft)[1] // self.stft.hop // 2 if at else 0
        rows = slice(frame + skip, frame + piece.mean.shape[1])
        self.mean[:, rows] = piece.mean[:, skip:].to(self.mean)
        self.variance[:, rows] = piece.variance[:, skip:]
        self.shares[:, rows] = piece.shares[:, skip:]
        self.bound = self.bound + piece.bound
        self.square = self.square + piece.bound_error**2
        self.objective = self.objective + piece.objective

    def finished(self, names: tuple[str, ...], wave: Tensor, loud: float) -> Separation:
        """Return the answer in the units of the recording."""
        if not wave.any():
            silent = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
            even = torch.full_like(self.shares, 1 / len(names))
            waves, rest = torch.zeros_like(self.waves), (self.bound, self.square.sqrt())
            return Separation(names, waves, *silent, even, *rest, self.objective, self.stft.rate)
        waves = loud * self.waves
        waves = waves + (wave - waves.sum(0)) / len(names)
        return Separation(
            names,
            waves,
            loud * self.mean,
            loud**2 * self.variance,
            self.shares,
            self.bound,
            self.square.sqrt(),
            self.objective,
            self.stft.rate,
        )
