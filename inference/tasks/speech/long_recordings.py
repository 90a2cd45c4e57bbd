"""Long recordings: re-synthesised in pieces, within the memory of a few of them, and cross-faded.

A recording of up to `PIECE` seconds is decoded whole. A longer one is cut into pieces of that
length, each of which begins `OVERLAP` seconds before the one before it ends. Each is encoded and
decoded as an utterance of its own: a global latent w is that of the piece. In the middle half of an
overlap one fades into the other, sample by sample: both have the recording's phases, so that they
add up. The quarters beside it, where one of the two has little past or little future to read, are
the other's alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.tasks.speech.resynthesis import (
    Analysis,
    analyse,
    check_wave,
    decode,
    finite,
    resynthesise,
)
from ppl_models.data.speech import padded
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError

PIECE, OVERLAP = 30.0, 2.0
"""Seconds of a piece, and of what two of them share."""
AT_ONCE = 4
"""Pieces in one batch."""


@torch.no_grad()
def resynthesise_long(
    model: Any,
    guide: Any,
    wave: Tensor,
    stft: STFT | None = None,
    *,
    w: Tensor | None = None,
    seconds: float = PIECE,
    overlap: float = OVERLAP,
) -> Tensor:
    """Re-synthesise a recording (N,) of any length, as `resynthesise`; return the sound (N,).

    Memory beyond the recording's own is that of `AT_ONCE` pieces.

    Parameters
    ----------
    model, guide, wave, stft, w
        As in `resynthesise`, which does it all if the recording is no longer than a piece.
    seconds, overlap
        Length of a piece, and what it shares with the next.

    Raises
    ------
    InputError
        As `resynthesise`; or pieces that are not longer than twice their overlap.
    """
    stft = stft or STFT()
    check_wave(wave)
    length, shared = _samples(seconds, overlap, stft)
    level = wave.abs().max()
    if len(wave) <= length or level == 0:
        return resynthesise(model, guide, wave, stft, w=w).wave
    starts = range(0, len(wave) - shared, length - shared)
    out, fade = torch.zeros_like(wave), _fade(shared, wave)
    for first in range(0, len(starts), AT_ONCE):
        some = starts[first : first + AT_ONCE]
        decoded = _decode([wave[s : s + length] / level for s in some], model, guide, stft, w)
        for start, piece in zip(some, decoded, strict=True):
            piece = level * piece
            if start:
                before = out[start : start + shared]
                piece[:shared] = torch.lerp(before, piece[:shared], fade)
            out[start : start + len(piece)] = piece
    return out


@torch.no_grad()
def encode_global(model: Any, guide: Any, wave: Tensor, stft: STFT | None = None) -> Tensor:
    """Return the posterior mean of w (W,), whose voice it is, of a recording (N,).

    Of one longer than a piece, the mean over pieces, each as its length weighs.

    Raises
    ------
    InputError
        The model has no w, or there is nothing but silence.
    """
    stft = stft or STFT()
    check_wave(wave)
    level = wave.abs().max()
    if level == 0 or not model.global_dim:
        found = "silence" if level == 0 else f"{type(model).__name__}, which has no global latent"
        cure = "give speech, and one of HiTDVAE, LigHTDVAE and DSAE"
        raise InputError("encode_global", found, "speech, and a model with a global latent", cure)
    total = wave.new_zeros(model.global_dim)
    for piece in (wave / level).split(_samples(PIECE, OVERLAP, stft)[0]):
        w = analyse(model, guide, stft.power(piece)[None]).w
        assert w is not None  # global_dim is not 0
        total += w[0] * (len(piece) / len(wave))
    return total


def _decode(
    waves: list[Tensor], model: Any, guide: Any, stft: STFT, given: Tensor | None
) -> list[Tensor]:
    """Decode pieces in one batch."""
    spectra = [stft.analyse(wave) for wave in waves]
    s, mask = padded([each.abs().square() for each in spectra])
    z, w = analyse(model, guide, s, mask)
    w = w if given is None else given.expand(len(waves), -1)
    moduli = finite(decode(model, Analysis(z, w), mask)).sqrt()
    parts = zip(waves, spectra, moduli, strict=True)
    return [
        stft.invert(torch.polar(modulus[: len(x)], x.angle()), length=len(wave))
        for wave, x, modulus in parts
    ]


def _samples(seconds: float, overlap: float, stft: STFT) -> tuple[int, int]:
    """Return a piece and an overlap in samples, whole steps both."""
    length, shared = (round(s * stft.rate) // stft.hop * stft.hop for s in (seconds, overlap))
    if not 0 < 2 * shared < length:
        found, cure = f"{seconds} s that share {overlap} s", "longer pieces, or a shorter overlap"
        raise InputError("seconds", found, "pieces longer than twice their overlap", cure)
    return length, shared


def _fade(samples: int, like: Tensor) -> Tensor:
    """Return weights of the later piece: 0 in the first quarter, 1 in the last."""
    middle = torch.arange(samples, dtype=like.dtype, device=like.device) + 0.5
    return (2 * middle / samples - 0.5).clamp(0, 1)
