"""Long recordings in pieces: where they start, and how sounds of two of them meet."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.data.stft import STFT

PIECE, OVERLAP = 10.0, 1.0
"""Seconds of a piece, and of what two of them share."""
AT_ONCE = 8
"""Pieces in one batch."""


def samples(stft: STFT) -> tuple[int, int]:
    """Return a piece and an overlap in samples, whole steps both."""
    length, shared = (round(s * stft.rate) // stft.hop * stft.hop for s in (PIECE, OVERLAP))
    return length, shared


def starts(count: int, stft: STFT) -> range:
    """Return where the pieces of a recording of so many samples start."""
    length, shared = samples(stft)
    return range(0, max(count - shared, 1), length - shared)


def lay(out: Tensor, at: int, sounds: Tensor, stft: STFT) -> None:
    """Put sounds (..., n) of the piece at a sample into ``out`` (..., N), cross-fading.

    The earlier piece has the first quarter of what they share, the later one the last.
    """
    if at:
        n = min(samples(stft)[1], sounds.shape[-1])
        before = out[..., at : at + n]
        faded = torch.lerp(before, sounds[..., :n], fade(samples(stft)[1])[:n].to(out))
        sounds = torch.cat([faded, sounds[..., n:]], -1)
    out[..., at : at + sounds.shape[-1]] = sounds


def fade(count: int) -> Tensor:
    """Return weights of the later piece: 0 in the first quarter, 1 in the last."""
    middle = torch.arange(count) + 0.5
    return (2 * middle / count - 0.5).clamp(0, 1)


def level(wave: Tensor) -> float:
    """Return the largest modulus, 1 of silence."""
    return float(wave.abs().max()) or 1.0
