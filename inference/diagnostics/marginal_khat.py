r"""Which parameter a guide has wrong: a k-hat for each, of the marginal density ratio.

The k-hat of the joint weights :math:`w = p(\theta, x) / q(\theta)` says that the guide misses part
of the posterior, not where. What is wrong with parameter j alone is the ratio of marginals

.. math:: r_j(\theta_j) = p(\theta_j \mid x) / q(\theta_j) = E_q[w \mid \theta_j] / E_q[w],

and the shape of its tail over the guide's draws is that parameter's k-hat. The ratio is
approximated in normal scores: :math:`u_s`, the normal quantile of the rank of :math:`\theta_{j,s}`
among the draws, is standard normal under q whatever q is, and what the weights make of it is taken
for a normal distribution of mean m and variance v, so that

.. math:: \log r_j(u) = u\, m / v + \tfrac12 (1 - 1 / v)\, u^2 + \text{const.}

With v = 4, a guide half as wide as it should be, the limit is k = 1 - 1/v = 0.75, as of the exact
ratio of two normals. Where few draws carry all weight, m and v are those of tempered weights
:math:`w^\beta` with an effective sample size of 200, and are extrapolated: natural parameters are
linear in :math:`\beta` where parameters are independent. So this is an approximation: of use to
tell parameters apart, while whether the weights can be trusted is the joint k-hat's to say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.diagnostics.pareto import smooth

_ENOUGH = 200  # effective draws that m and v are estimated from
_TEMPERS = tuple(0.5**i for i in range(8))


def marginal_khat(values: Tensor, log_weights: Tensor) -> Tensor:
    """Return a k-hat a parameter.

    Parameters
    ----------
    values
        ``(S, R)``, the guide's draws of R numbers.
    log_weights
        ``(S, 1)``, or ``(S, R)``: log weights of the draws.

    Returns
    -------
    Tensor
        ``(R,)``, double precision; minus infinity for a number that does not vary.
    """
    u = normal_scores(values)
    slope, precision = _tilt(u, log_weights.double())
    khat = smooth(slope * u + 0.5 * (1 - precision) * u**2)[1]
    return khat.masked_fill((values == values[:1]).all(0), -torch.inf)


def normal_scores(values: Tensor) -> Tensor:
    """Return the standard normal quantiles of ranks over the draws, (S, R)."""
    ranks = values.argsort(dim=0).argsort(dim=0).double()
    return torch.special.ndtri((ranks + 0.5) / len(values))


def _tilt(u: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return m / v and 1 / v of the scores under the posterior, (R,) each."""
    beta = _temper(log_weights)
    weights = (beta * log_weights).softmax(0)
    mean = (weights * u).sum(0)
    variance = (weights * (u - mean) ** 2).sum(0).clamp(min=1e-12)
    own = (u**2).mean(0)  # of the scores themselves: just under 1
    return mean / variance / beta, 1 + (own / variance - 1) / beta


def _temper(log_weights: Tensor) -> Tensor:
    enough = min(_ENOUGH, len(log_weights) / 4)
    beta = torch.full_like(log_weights[0], _TEMPERS[-1])
    for power in reversed(_TEMPERS):
        ess = (-(2 * (power * log_weights).log_softmax(0)).logsumexp(0)).exp()
        beta = torch.where(ess >= enough, torch.full_like(beta, power), beta)
    return beta
