"""Ideal masks: what filtering the bins of a mixture reaches, where the sources' powers are known.

>>> stft = STFT()
>>> powers = stft.power(sources)  # (N, T, F) of sounds (N, samples)
>>> ceiling = masked(sources.sum(0), ideal_ratio_mask(powers), stft)  # (N, samples)
>>> si_sdr(sources, ceiling)

They are ceilings, not methods: nobody knows the powers of the sources of a recording. Sources: D.
Wang and J. Chen, "Supervised speech separation based on deep learning: an overview", IEEE/ACM
Transactions on Audio, Speech, and Language Processing 2018, section III (targets).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.data.stft import STFT
from ppl_models.errors import InputError


def ideal_ratio_mask(powers: Tensor) -> Tensor:
    """Return each source's share of the power of a bin: the Wiener filter of known powers.

    Where the bins of the sources are independent, with variances ``powers`` and zero mean, the
    masked mixture is their mean given it.

    Parameters
    ----------
    powers
        (N, ...) of N sources, not negative; dim 0 is that of the sources.

    Returns
    -------
    Tensor
        The same shape; the sum over dim 0 is 1, in equal shares where all are silent.

    Raises
    ------
    InputError
        Numbers that are negative or not finite.
    """
    powers = _checked(powers)
    total = powers.sum(0)
    equal = torch.full_like(powers, 1 / len(powers))
    return torch.where(total > 0, powers / total.clamp(min=torch.finfo(powers.dtype).tiny), equal)


def ideal_binary_mask(powers: Tensor) -> Tensor:
    """Return 1 for the loudest source of a bin, the first of equals, and 0 for the others.

    As `ideal_ratio_mask`, whose arguments and errors are the same.
    """
    loudest = _checked(powers).argmax(0, keepdim=True)
    return torch.zeros_like(powers).scatter(0, loudest, 1.0)


def masked(mixture: Tensor, masks: Tensor, stft: STFT) -> Tensor:
    """Return the sounds (N, ..., samples) of a mixture (..., samples) under masks (N, ..., T, F).

    Where the masks of a bin sum to 1, the sounds sum to the mixture.
    """
    return stft.invert(masks * stft.analyse(mixture), mixture.shape[-1])


def _checked(powers: Tensor) -> Tensor:
    if not powers.ndim or not powers.numel() or not (powers.isfinite() & (powers >= 0)).all():
        found = f"shape {tuple(powers.shape)}, or numbers that are negative or not finite"
        raise InputError("powers", found, "finite powers (N, ...)", "give STFT.power(sources)")
    return powers
