r"""Bounds of many draws a datum: importance weighted, and Renyi's.

With K draws :math:`z_k \sim q(z \mid x)` and weights :math:`w_k = p(x, z_k) / q(z_k \mid x)`, in
nats a datum,

.. math::

    \text{IWAE}_K &= \log \tfrac1K \sum_k w_k, \\
    \text{Renyi}_{\alpha, K} &= \tfrac{1}{1 - \alpha} \log \tfrac1K \sum_k w_k^{1 - \alpha}

(Burda, Grosse and Salakhutdinov 2016, equation 8; Li and Turner 2016, equation 5, where alpha = 0
is IWAE and alpha -> 1 the evidence lower bound). Gradients are those of these numbers, through the
draws. Draws are made at once under an outer plate, where the pair allows it; in chunks, each of
which is run again in the backward pass, so that memory holds one chunk: the gradient is the same.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from inference.errors import PairError
from inference.objectives.pair_trace import refuse_pathless
from inference.objectives.step import Step
from inference.tracing import Sampler, log_weights, read_draws, sampler_of

_NEAR_ONE = 1e-6  # of alpha: nearer, Renyi's bound is the ELBO up to rounding


class Draws(NamedTuple):
    """Terms of log w, (K, B) each: log p(x | z), and log q(z) - log p(z).

    Where sites are summed out, ``ratio`` is None and ``data`` all of log w.
    """

    data: Tensor
    ratio: Tensor | None

    def log_weights(self, kl_weight: float) -> Tensor:
        """Return log w, with the ratio of prior and guide to the power ``kl_weight``."""
        return self.data if self.ratio is None else self.data - kl_weight * self.ratio


def iwae(log_weights: Tensor) -> Tensor:
    """Return the importance weighted bound of each datum, (B,), of log weights (K, B)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def renyi(log_weights: Tensor, alpha: float) -> Tensor:
    """Return Renyi's bound of each datum, (B,), of log weights (K, B)."""
    order = 1 - alpha
    if abs(order) < _NEAR_ONE:
        return log_weights.mean(0)
    return iwae(order * log_weights) / order


def draw_many(step: Step, num_samples: int, chunk: int | None = None) -> Draws:
    """Draw K times from a guide for each datum; return the terms of the weights.

    Parameters
    ----------
    step
        The pair and its batch.
    num_samples
        K.
    chunk
        Draws to hold at a time; by default all.

    Raises
    ------
    PairError
        A site outside the data plate, or a draw that is no differentiable function of noise.
    NonFiniteError
        Where sites are summed out: a log density is NaN or plus infinity.
    """
    if not step.shape.local:
        raise PairError(
            None,
            "a site outside the data plate, in an objective of many draws a datum",
            "every site in the data plate, so that each datum has its own weights",
            "kind='auto', or move what belongs to a datum into the plate",
        )
    sampler = sampler_of(*step.call)
    run = partial(_draw_summed if step.shape.enumerated else _draw, sampler)
    most = min(num_samples, chunk or num_samples) if sampler.vectorised else 1
    sizes = [min(most, num_samples - start) for start in range(0, num_samples, most)]
    again = chunk is not None and len(sizes) > 1 and torch.is_grad_enabled()
    parts = [
        # args go along so that checkpoint knows whose generators to bring back
        Draws(*checkpoint(run, size, step.args, step.kwargs, use_reentrant=False))
        if again
        else run(size, step.args, step.kwargs)
        for size in sizes
    ]
    data = torch.cat([part.data for part in parts])
    ratios = [part.ratio for part in parts if part.ratio is not None]
    return Draws(data, torch.cat(ratios) if ratios else None)


def _draw(sampler: Sampler, size: int, args: Any, kwargs: Any) -> Draws:
    """Draw so many times, at once where the pair allows it; else once."""
    assert sampler.plate is not None
    draws = size if sampler.vectorised else None
    pair = sampler.model, sampler.guide, args, kwargs
    terms = read_draws(*pair, sampler.plate.name, draws, sampler.nesting)
    refuse_pathless(terms.rows)
    data = terms.observed()
    ratio = terms.log_ratio()
    return Draws(data, 0 * data if ratio is None else ratio)


def _draw_summed(sampler: Sampler, size: int, args: Any, kwargs: Any) -> Draws:
    """Draw from a pair with sites that are summed out, exactly, inside the weights."""
    traces = sampler.traces(size if sampler.vectorised else None, "summed")
    terms = traces.terms(sampler.plate)
    refuse_pathless(terms.rows, summed=True)
    return Draws(log_weights(terms), None)
