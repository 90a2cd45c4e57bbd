"""Sounds at another rate, and parts of a sound back at its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ppl_models.data.stft import STFT
from ppl_models.errors import InputError


def resample(wave: Tensor, rate: int, wanted: int) -> Tensor:
    """Turn sounds (..., N) of one rate into another, by a polyphase filter."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    samples = resample_poly(wave.detach().cpu().double().numpy(), up, down, axis=-1)
    return torch.from_numpy(samples).float()


def parts_at_own_rate(parts: Tensor, stft: STFT, wave: Tensor, own_rate: int) -> Tensor:
    """Return the parts of a sound at its own rate, where they add up to it.

    Parts were found at another rate, as that of a model. Turned back, they lack what the model
    cannot hear, above half its rate, and what filters leave out. That rest goes to the parts, frame
    by frame, in the proportion of their power in the upper half of the model's band, which is what
    is nearest to it; evenly, where there is none. The other way, from a lower rate, there is
    little rest.

    Parameters
    ----------
    parts
        (N, n) at the rate of ``stft``.
    stft
        Its frames are those in which the rest is shared.
    wave
        (M,) at ``own_rate``; ``parts`` are those of this sound, resampled.
    own_rate
        Samples a second.

    Returns
    -------
    Tensor
        (N, M).

    Raises
    ------
    InputError
        Parts that are not as long as the sound is at their rate.
    """
    rate, wanted = stft.rate, -(-len(wave) * stft.rate // own_rate)
    if parts.shape[-1] != wanted:
        found = f"{parts.shape[-1]} samples at {rate} Hz, for {len(wave)} at {own_rate} Hz"
        raise InputError("parts", found, f"{wanted} samples", "give the parts of this sound")
    if rate == own_rate:
        return parts + (wave - parts.sum(0)) / len(parts)
    known = resample(parts, rate, own_rate)[:, : len(wave)]
    return known + _shares(parts, stft, len(wave)) * (wave - known.sum(0))


def _shares(parts: Tensor, stft: STFT, length: int) -> Tensor:
    """Return each part's share (N, length) of the power in the upper half of the band."""
    upper = stft.power(parts)[..., stft.bins // 2 :].sum(-1)
    total = upper.sum(0)
    even = torch.full_like(upper, 1 / len(parts))
    shares = torch.where(total > 0, upper / total.where(total > 0, torch.ones(())), even)
    return interpolate(shares[None], length, mode="linear", align_corners=True)[0]
