"""A normal guide moved to the moments of its own weighted draws: adaptive importance sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.diagnostics import NormalApproximation
from inference.tracing import Potential, Sampler, Traces, log_weights, stack_draws

_DRAWS, _ROUNDS = 4000, 6
_ENOUGH = 10  # effective draws a parameter that a covariance is estimated from


def match_moments(sampler: Sampler, potential: Potential) -> NormalApproximation | None:
    r"""Estimate mean and covariance of the posterior from weighted draws of a guide.

    Moments are those that :math:`\mathrm{KL}(p \,\|\, q)` is least at, so that q covers p and
    weights stay bounded, where an evidence lower bound is best at a q that is too narrow (Cappe,
    Douc, Guillin, Marin and Robert 2008, "Adaptive importance sampling in general mixture
    classes", Statistics and Computing 18). Weights of few effective draws are tempered.

    Returns
    -------
    NormalApproximation or None
        Over unconstrained values, its bound that of the guide that was weighed; None where draws
        are too few for a covariance.
    """
    size = _DRAWS if sampler.vectorised else _DRAWS // 4
    chunks = list(sampler.chunks(size, "summed"))
    weights = stack_draws([log_weights(t.terms(sampler.plate), True) for t in chunks]).flatten()
    places = stack_draws([_places(sampler, potential, t) for t in chunks]).double()
    finite = places.isfinite().all(1) & weights.isfinite()
    weights, places = weights[finite], places[finite]
    share = _tempered(weights, _ENOUGH * places.shape[1])
    if share is None:
        return None
    mean = share @ places
    away = (places - mean) * share.sqrt().unsqueeze(1)
    factor, failed = torch.linalg.cholesky_ex(away.T @ away)
    if int(failed):
        return None
    error = float(weights.std()) / len(weights) ** 0.5
    return NormalApproximation(mean, factor, float(weights.mean()), error)


def _places(sampler: Sampler, potential: Potential, traces: Traces) -> Tensor:
    values = {}
    for name in potential.shapes:
        place, value = sampler.places[name], traces.value(name)
        full = value.expand(traces.size, *value.shape[1:])
        values[name] = full.reshape(traces.size, *place.shape).to(potential.dtype)
    return potential.flat(potential.unconstrained(values))


def _tempered(log_weights: Tensor, enough: int) -> Tensor | None:
    """Return weights of the largest power, 1, 1/2, 1/4, ..., that leaves enough effective draws."""
    for power in (0.5**i for i in range(_ROUNDS)):
        share = (power * log_weights).softmax(0)
        if float(1 / (share**2).sum()) >= enough:
            return share
    return None
