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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from inference.errors import PairError
from inference.objectives.elbo_terms import is_fixed, log_density, plain_sites, refuse_pathless
from inference.tracing import Layout, Sites, sampler_of

if TYPE_CHECKING:
    from inference.tracing import Sampler

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


def draw_many(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    num_samples: int,
    chunk: int | None = None,
) -> Draws:
    """Draw K times from a guide for each datum; return the terms of the weights.

    Parameters
    ----------
    shape
        The pair's layout.
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
    if not shape.local:
        raise PairError(
            None,
            "a site outside the data plate, in an objective of many draws a datum",
            "every site in the data plate, so that each datum has its own weights",
            "kind='auto', or move what belongs to a datum into the plate",
        )
    run, at_once = _runner(model, guide, args, kwargs, shape)
    step = min(num_samples, chunk or num_samples) if at_once else 1
    sizes = [min(step, num_samples - start) for start in range(0, num_samples, step)]
    again = chunk is not None and len(sizes) > 1 and torch.is_grad_enabled()
    parts = [
        # args go along so that checkpoint knows whose generators to bring back
        Draws(*checkpoint(run, size, args, kwargs, use_reentrant=False))
        if again
        else run(size, args, kwargs)
        for size in sizes
    ]
    data = torch.cat([part.data for part in parts])
    ratios = [part.ratio for part in parts if part.ratio is not None]
    return Draws(data, torch.cat(ratios) if ratios else None)


Run = Callable[[int, tuple[Any, ...], dict[str, Any]], Draws]


def _runner(model: Any, guide: Any, args: Any, kwargs: Any, shape: Layout) -> tuple[Run, bool]:
    """Return what draws so many times, and whether it does so in one run."""
    sampler = sampler_of(model, guide, args, kwargs, shape)
    at_once, nesting = sampler.vectorised, sampler.nesting
    if shape.enumerated:
        return _summed(sampler), at_once
    assert shape.plate is not None
    plate = shape.plate

    def run(size: int, args: Any, kwargs: Any) -> Draws:
        outer = -nesting - 1 if at_once else None
        with Sites() as q:
            _call(guide, args, kwargs, size, outer)
        with Sites(q.sites) as p:
            _call(model, args, kwargs, size, outer)
        guide_sites, sites = plain_sites(q.sites), plain_sites(p.sites)
        refuse_pathless(guide_sites, sites)
        data: list[Tensor] = []
        ratio: list[Tensor] = []
        for found, sign in ((guide_sites, -1), (sites, 1)):
            for site in found.values():
                laid = _laid_out(sign * log_density(site), site, plate.name, size, nesting)
                data.append(laid) if is_fixed(site) else ratio.append(-laid)
        whole = torch.stack(data).sum(0)
        return Draws(whole, torch.stack([0 * whole, *ratio]).sum(0))  # 0: a model without latents

    return run, at_once


def _call(fn: Any, args: Any, kwargs: Any, size: int, outer: int | None) -> None:
    if outer is None:
        fn(*args, **kwargs)
    else:
        with pyro.plate("_draws", size, dim=outer):
            fn(*args, **kwargs)


def _laid_out(term: Tensor, site: Any, plate: str, draws: int, nesting: int) -> Tensor:
    """Sum a term to (K, B), the scale of a plate that subsamples itself apart."""
    frame = next(f for f in site["cond_indep_stack"] if f.name == plate)
    sizes = [1] * (nesting + 1)
    sizes[0], sizes[frame.dim] = draws, frame.size
    term = term.expand(torch.broadcast_shapes(term.shape, tuple(sizes)))
    laid = term.movedim(frame.dim, 1).reshape(draws, frame.size, -1).sum(-1)
    return laid if frame.full_size is None else laid * (frame.size / frame.full_size)


def _summed(sampler: Sampler) -> Run:
    """Return what draws from a pair with sites that are summed out, exactly, inside the weights."""
    from inference.tracing import log_weights

    def run(size: int, args: Any, kwargs: Any) -> Draws:
        traces = sampler.traces(size if sampler.vectorised else None, "summed")
        refuse_pathless(plain_sites(dict(traces.guide.nodes)), {})
        return Draws(log_weights(traces, sampler.plate), None)

    return run
