r"""Variational EM for mixtures of paths: coordinate ascent on q(s, z, w) = q(s, z) q(w).

For N sources, K_t detections a frame, and detection noise Phi_tk = phi diag(size_tk)^2:

* E-W: eta_tkn prop. to p(w = n) N(o_tk; m_tn, Phi_tk) exp(-1/2 tr(Phi_tk^-1 V_tn)), in logs; the
  clutter class, if any, has a uniform density.
* E-S and E-Z: q(s_n, z_n) given the evidence sum_k eta_tkn Phi_tk^-1 (o_tk). A guide does it
  (``update``); the mixture knows nothing of the prior of its sources.
* M: phi, one scale a sequence, at the mode under an inverse-gamma prior. (One Phi a detection, as
  the naive M step has it, collapses on its detection.)

What is climbed is the objective sum_tk log sum_n exp(...) - sum_n rate_n + log p(phi), with E-W
solved. Where rate_n is E_q[log q(s_n, z_n) - log p(s_n, z_n)], as for a linear prior, it is the
ELBO, and cannot fall. An ``update`` whose networks read a path of means returns a rate against that
plug-in prior: the objective is then no bound, and may fall. The ELBO of the q that is returned
takes the true rate, estimated from draws (``rate_draws``).

Source: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023 (seeds 000 and 001).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Posterior(Protocol):
    """What ``update`` returns: q(s) in the sources' frames, and what it costs."""

    @property
    def mean(self) -> Tensor:
        """(B, N, T, D)."""

    @property
    def variance(self) -> Tensor:
        """(B, N, T, D)."""

    @property
    def rate(self) -> Tensor:
        """(B, N): nats of E_q[log q(s, z) - log p(s, z)], or of their plug-in form."""


Update = Callable[[Tensor, Tensor, Tensor], Posterior]
"""(precision, weighted, previous mean), each (B, N, T, D) in the sources' frames -> q(s)."""

RateDraws = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same arguments -> (R, B, N): estimates whose mean is the rate of the q(s, z) of `Update`.

NaN stands for an estimate that was not made."""


class Mixture(NamedTuple):
    """The data of a batch of B sequences, and the constants of the mixture.

    A source's path s_n is in coordinates of its own: its box is origin_n + unit_n s_n.
    """

    o: Tensor
    """(B, T, K, D): detections, in any order; what stands where ``mask`` is False is not read."""
    mask: Tensor
    """(B, T, K) bool: which detections there are."""
    size: Tensor
    """(B, T, K, D): the standard deviation of a detection is sqrt(phi) size."""
    origin: Tensor
    """(B, N, D)."""
    unit: Tensor
    """(B, N, D), positive."""
    log_clutter: Tensor | None = None
    """(B): log density of a clutter detection; None for no clutter class."""
    clutter_weight: float = 0.1
    """p(w = clutter); each source has an equal share of the rest."""
    phi: float = 0.04**2
    """Mode of the prior of phi (nearly), and its value where it is fixed."""
    phi_strength: float = 20.0
    """nu of the prior phi ~ InverseGamma(nu / 2, nu phi / 2), in numbers observed."""
    learn_phi: bool = True
    """Whether the M step runs."""


class VEM(NamedTuple):
    """Where coordinate ascent ended."""

    mean: Tensor
    """(B, N, T, D): E_q[box of n at t], in the coordinates of ``o``."""
    variance: Tensor
    """(B, N, T, D)."""
    responsibilities: Tensor
    """(B, T, K, N [+ 1]): q(w_tk = n), clutter last; 0 where there is no detection."""
    phi: Tensor
    """(B)."""
    elbo: Tensor
    """(B): the ELBO of what is returned, nats a sequence: a bound of log p(o, phi)."""
    elbo_error: Tensor
    """(B): standard error of `elbo`, from draws; 0 where it is exact."""
    objective: Tensor
    """(iterations, B): what was climbed, after each iteration; no bound unless rates are exact."""


@torch.no_grad()
def vem(
    mixture: Mixture,
    start: Tensor,
    update: Update,
    *,
    iterations: int = 10,
    rate_draws: RateDraws | None = None,
) -> VEM:
    """Run coordinate ascent from paths ``start`` (B, N, T, D), in the coordinates of ``o``.

    Time and memory of an iteration are linear in T, N and K.

    Parameters
    ----------
    mixture : Mixture
    start : Tensor
    update : callable
        The E-S and E-Z steps.
    iterations : int
    rate_draws : callable, optional
        Estimates of the true rate, asked for once, at the end. Leave it out only where the rate
        that ``update`` returns is E_q[log q(s, z) - log p(s, z)] itself.

    Raises
    ------
    ValueError
        Where shapes disagree, or ``iterations`` is not positive.
    """
    mixture = _checked(mixture, start, iterations)
    origin, unit = mixture.origin[:, :, None], mixture.unit[:, :, None]
    phi = mixture.o.new_full((len(start),), mixture.phi)
    mean, variance = start, (phi[:, None, None, None] * _typical_size(mixture)).expand_as(start)
    # The starting doubt is that of one detection: enough for E-W to weigh near misses.
    eta, _ = responsibilities(mixture, mean, variance, phi)
    objective = []
    for _ in range(iterations):
        precision, weighted = _evidence(mixture, eta, phi)
        path = (mean - origin) / unit
        given = precision * unit**2, (weighted - precision * origin) * unit, path
        q = update(*given)
        mean, variance = origin + unit * q.mean, unit**2 * q.variance
        if mixture.learn_phi:
            phi = _noise_step(mixture, eta, mean, variance)
        eta, fit = responsibilities(mixture, mean, variance, phi)
        fit = fit + _log_prior(mixture, phi)
        objective.append(fit - q.rate.sum(-1))
    elbo, error = objective[-1], 0 * objective[-1]
    if rate_draws is not None:
        bounds = fit - rate_draws(*given).sum(-1)
        elbo, count = bounds.nanmean(0), bounds.isfinite().sum(0)
        spread = (bounds - elbo).square().nansum(0) / (count - 1)
        error = (spread / count).sqrt()
    return VEM(mean, variance, eta, phi, elbo, error, torch.stack(objective))


def responsibilities(
    mixture: Mixture, mean: Tensor, variance: Tensor, phi: Tensor
) -> tuple[Tensor, Tensor]:
    """Take the E-W step; return eta (B, T, K, N [+ 1]) and the fit (B).

    The fit is sum_tk log sum_n p(w = n) exp E_q[log p(o_tk | n, s)], the part of the bound that
    is not the sources' rate. Shapes: mean and variance (B, N, T, D), phi (B).
    """
    precision = 1 / (phi[:, None, None, None] * mixture.size**2)  # (B, T, K, D)
    scores = torch.stack(
        [
            (precision * ((mixture.o - m[:, :, None]) ** 2 + v[:, :, None])).sum(-1)
            for m, v in zip(mean.unbind(1), variance.unbind(1), strict=True)
        ],
        -1,
    )
    normaliser = 0.5 * (precision.log() - math.log(2 * math.pi)).sum(-1)
    weight = 1.0 if mixture.log_clutter is None else 1 - mixture.clutter_weight
    logits = normaliser[..., None] - 0.5 * scores + math.log(weight / mean.shape[1])
    if mixture.log_clutter is not None:
        clutter = mixture.log_clutter + math.log(mixture.clutter_weight)
        clutter = clutter[:, None, None, None].expand(*logits.shape[:-1], 1)
        logits = torch.cat([logits, clutter], -1)
    total = torch.logsumexp(logits, -1, keepdim=True)
    eta = torch.where(mixture.mask[..., None], (logits - total).exp(), 0.0)
    return eta, torch.where(mixture.mask, total[..., 0], 0.0).sum((1, 2))


def _checked(mixture: Mixture, start: Tensor, iterations: int) -> Mixture:
    """Return the mixture with what is masked filled, so that NaN there meets no arithmetic."""
    b, t, k, d = mixture.o.shape
    n = start.shape[1]
    shapes = {
        "start": (start, (b, n, t, d)),
        "mask": (mixture.mask, (b, t, k)),
        "size": (mixture.size, (b, t, k, d)),
        "origin": (mixture.origin, (b, n, d)),
        "unit": (mixture.unit, (b, n, d)),
    }
    for name, (tensor, expected) in shapes.items():
        if tensor.shape != expected:
            raise ValueError(f"{name}: saw shape {tuple(tensor.shape)}, expected {expected}")
    if iterations < 1:
        raise ValueError(f"iterations: saw {iterations}, expected 1 or more")
    mask = mixture.mask[..., None]
    return mixture._replace(
        o=torch.where(mask, mixture.o, 0.0), size=torch.where(mask, mixture.size, 1.0)
    )


def _typical_size(mixture: Mixture) -> Tensor:
    """Mean square size of a sequence's detections, (B, 1, 1, D)."""
    mask = mixture.mask[..., None].to(mixture.o)
    total = (mask * mixture.size**2).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    return torch.where(mask.sum((1, 2)) > 0, total, 1.0)[:, None, None]


def _evidence(mixture: Mixture, eta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Sum precision, and precision times detection, over k; each (B, N, T, D)."""
    n = mixture.origin.shape[1]
    share = eta[..., :n].permute(0, 1, 3, 2)  # (B, T, N, K)
    precision = 1 / (phi[:, None, None, None] * mixture.size**2)
    sums = share @ torch.cat([precision, precision * mixture.o], -1)
    return sums.transpose(1, 2).chunk(2, -1)  # type: ignore[return-value]


def _noise_step(mixture: Mixture, eta: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the mode of phi given q(s) and q(w), (B)."""
    square = mixture.o.new_zeros(len(eta))
    for n, (m, v) in enumerate(zip(mean.unbind(1), variance.unbind(1), strict=True)):
        error = ((mixture.o - m[:, :, None]) ** 2 + v[:, :, None]) / mixture.size**2
        square = square + (eta[..., n] * error.sum(-1)).sum((1, 2))
    count = mixture.o.shape[-1] * eta[..., : mean.shape[1]].sum((1, 2, 3))
    nu = mixture.phi_strength
    return (square + nu * mixture.phi) / (count + nu + 2)


def _log_prior(mixture: Mixture, phi: Tensor) -> Tensor:
    """Log density of phi where it is learned, else 0."""
    if not mixture.learn_phi:
        return torch.zeros_like(phi)
    half = mixture.phi_strength / 2
    rate = half * mixture.phi
    return half * math.log(rate) - math.lgamma(half) - (half + 1) * phi.log() - rate / phi
