"""How well codes are known sources, up to their order, signs, scales: the mean correlation.

Hyvärinen and Morioka, "Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear
ICA", NeurIPS 2016, section 5; Khemakhem et al., "Variational Autoencoders and Nonlinear ICA",
AISTATS 2020, section 5 (MCC).
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ppl_models.errors import InputError


def mean_correlation(codes: Tensor, sources: Tensor, *, rank: bool = False) -> float:
    """Return the mean absolute correlation of sources with a code each, as best they match.

    Parameters
    ----------
    codes
        (N, L): means of the posteriors, or draws.
    sources
        (N, K), K at most L: what made the data. Each gets another code.
    rank
        Correlate ranks (Spearman): a monotone function of a source is as good as itself.

    Returns
    -------
    float
        1 where each source is a code, up to sign, scale and origin; about ``sqrt(2 / (pi N))`` or
        more, for the best match, where the two have nothing to do with each other.

    Raises
    ------
    InputError
        Other shapes, fewer than two rows, fewer codes than sources, or numbers that are not finite.
    """
    fits = codes.dim() == sources.dim() == 2 and len(codes) == len(sources) > 1
    if not fits or codes.shape[1] < sources.shape[1]:
        found = f"codes {tuple(codes.shape)}, sources {tuple(sources.shape)}"
        cure = "give a row a datum to both, and a code or more for each source"
        raise InputError("codes", found, "(N, L) and (N, K), K at most L, N at least 2", cure)
    if not (codes.isfinite().all() and sources.isfinite().all()):
        raise InputError("codes", "NaN or infinite numbers", "finite ones", "leave those data out")
    first, second = (_standard(_ranks(x) if rank else x) for x in (codes, sources))
    strength = (first.T @ second / len(codes)).abs().cpu()
    rows, columns = linear_sum_assignment(strength.numpy(), maximize=True)
    return float(strength[torch.as_tensor(rows), torch.as_tensor(columns)].mean())


def _standard(x: Tensor) -> Tensor:
    centred = x.detach().double() - x.detach().double().mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(torch.finfo(centred.dtype).tiny)


def _ranks(x: Tensor) -> Tensor:
    return x.argsort(0).argsort(0).double()
