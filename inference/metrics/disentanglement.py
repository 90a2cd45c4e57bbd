"""How far codes hold one factor each: the mutual information gap.

Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018,
section 4.1. It needs the factors that made the data, so it is a measure for data made on purpose.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.errors import InputError


def mig(codes: Tensor, factors: Tensor, bins: int = 20) -> float:
    r"""Return the mutual information gap of codes and the factors of their data.

    .. math:: \frac1K \sum_k \frac{1}{H(v_k)} \left(I(z_{j(k)}; v_k)
        - \max_{j \ne j(k)} I(z_j; v_k)\right), \qquad j(k) = \arg\max_j I(z_j; v_k)

    1 where each factor is known from one code and from no other; 0 where the two best codes of each
    factor know as much, as after a rotation by 45 degrees.

    Parameters
    ----------
    codes
        (N, L): means of the posteriors, or draws.
    factors
        (N, K), each of a few values (bin continuous ones first).
    bins
        As for `factor_information`.

    Raises
    ------
    InputError
        Arrays of other shapes, a factor with one value only, or numbers that are not finite.
    """
    found = factor_information(codes, factors, bins)
    if len(found) == 1:
        found = torch.cat([found, torch.zeros_like(found)])
    best, second = found.topk(2, dim=0).values
    entropies = torch.stack([_entropy(_labels(v)) for v in factors.T])
    return float(((best - second) / entropies).mean())


def factor_information(codes: Tensor, factors: Tensor, bins: int = 20) -> Tensor:
    """Estimate the mutual information of each code with each factor, (L, K) in nats.

    The range of each code is cut into ``bins`` bins of equal width (as Locatello et al. do, ICML
    2019, appendix C). The estimate from counts is high by about (bins - 1) (values - 1) / (2 N)
    nats, N being the number of data.

    Parameters
    ----------
    codes, factors, bins
        As for `mig`; ``bins`` of a code, at least 2.

    Raises
    ------
    InputError
        As `mig` does.
    """
    _look_at(codes, factors, bins)
    rows = []
    for code in codes.double().T:
        width = (code.max() - code.min()).clamp_min(torch.finfo(code.dtype).tiny)
        label = ((code - code.min()) / width * bins).long().clamp_max(bins - 1)
        rows.append(torch.stack([_mutual(label, _labels(v)) for v in factors.T]))
    return torch.stack(rows)


def _look_at(codes: Tensor, factors: Tensor, bins: int) -> None:
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not len(codes):
        found = f"codes {tuple(codes.shape)}, factors {tuple(factors.shape)}"
        cure = "give a row a datum to both: codes (N, L), factors (N, K)"
        raise InputError("codes", found, "two matrices with as many rows", cure)
    if not (codes.isfinite().all() and factors.isfinite().all()):
        raise InputError("codes", "NaN or infinite numbers", "finite ones", "leave those data out")
    for k, factor in enumerate(factors.T):
        if len(factor.unique()) < 2:
            cure = "leave it out: a constant factor cannot be predicted"
            raise InputError("factors", f"one value of factor {k}", "two or more", cure)
    if bins < 2:
        raise InputError("bins", str(bins), "at least 2", "bins=20")


def _labels(values: Tensor) -> Tensor:
    return values.unique(return_inverse=True)[1]


def _entropy(labels: Tensor) -> Tensor:
    share = torch.bincount(labels).double() / len(labels)
    return torch.special.entr(share).sum()


def _mutual(a: Tensor, b: Tensor) -> Tensor:
    return _entropy(a) + _entropy(b) - _entropy(a * (b.max() + 1) + b)
