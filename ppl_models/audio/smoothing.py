"""Spectra that are smooth in frequency: they have no harmonics, and so cannot be a voice's."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import check_count


def smoother_of(bins: int, resolution: int) -> Tensor | None:
    """Return the matrix (F, F) of averages over neighbours, or None where there is none to do.

    Row f has the weights of a Hann window of ``resolution`` bins around f, which sum to one, at the
    edges too: a spectrum times it is the spectrum, each bin spread over its neighbours.

    Raises
    ------
    InputError
        The resolution is no odd number of bins.
    """
    check_count("resolution", resolution)
    if resolution % 2 == 0:
        cure = f"pass {resolution + 1}"
        raise InputError("resolution", str(resolution), "an odd number of bins", cure)
    if resolution == 1:
        return None
    window = torch.hann_window(resolution + 2, periodic=False)[1:-1]
    places, half = torch.arange(bins), resolution // 2
    apart = (places[:, None] - places).abs()
    weights = torch.where(apart <= half, window[(apart + half) % resolution], 0.0)
    return weights / weights.sum(-1, keepdim=True)
