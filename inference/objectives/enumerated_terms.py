r"""The terms of a bound whose prior has sites that are summed out, as a mixture's component.

.. math:: R = E_q \log q(z) - \log \sum_c p(c)\, p(z \mid c), \qquad
    D = -E_q \log \frac{\sum_c p(c)\, p(z \mid c)\, p(x \mid z, c)}{\sum_c p(c)\, p(z \mid c)}

A rate for each latent whose prior is no such sum, and one for all others together, at a draw of
the guide; the sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from inference.errors import PairError
from inference.objectives.kl import Per
from inference.objectives.pair_trace import refuse_pathless
from inference.objectives.rate_distortion import RateDistortion
from inference.objectives.step import Step
from inference.tracing import Terms, contract, precision, sampler_of


def summed_rate_distortion(step: Step, per: Mapping[str, Per]) -> RateDistortion:
    """Return the terms of a draw, per observation.

    Parameters
    ----------
    step
        A pair with sites to sum out, all of whose sites lie in the data plate; and its batch.
    per
        How the one latent site of the guide is to be taken apart: not at all.

    Raises
    ------
    PairError
        A site outside the data plate; a draw that is no differentiable function of noise; or a
        rate that cannot be taken apart.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    if not step.shape.local:
        raise _no_rate(step.shape.enumerated[0])
    sampler = sampler_of(*step.call)
    terms = sampler.traces(None, "summed").terms(sampler.plate)
    refuse_pathless(terms.rows, summed=True)
    dtype = precision(step.args, step.kwargs)
    log_p = {n: terms.reduce(p, terms.site(n)) for n, p in terms.dense.items()}
    latent = {*step.shape.drawn, *step.shape.enumerated}  # in the trace the drawn look observed
    hidden = {n: f for n, f in terms.summed.items() if n in latent}
    log_prior = contract(terms, hidden)
    data = [p for n, p in log_p.items() if n not in latent]
    if len(hidden) < len(terms.summed):
        data.append(contract(terms, terms.summed) - log_prior)
    rates = _rates(terms, {n: p for n, p in log_p.items() if n in latent}, log_prior, hidden)
    rates = {name: rate.mean().to(dtype)[None] for name, rate in rates.items()}
    distortion = -torch.stack(data).sum(0).mean().to(dtype) if data else log_prior.new_zeros(())
    return RateDistortion(distortion, rates, _shares(per, terms, rates))


def _rates(
    terms: Terms, dense: Mapping[str, Tensor], log_prior: Tensor, hidden: Collection[str]
) -> dict[str, Tensor]:
    """Return the rates of latents alone, and of those together whose prior is a sum, (1, B)."""
    log_q = {
        row.name: terms.reduce(terms.log_density(row.q), row.q)
        for row in terms.rows
        if row.q is not None
    }
    single = [name for name in log_q if name in dense]
    if any(name not in terms.summed and name not in dense for name in log_q):
        single = []  # a site of the guide alone: one posterior together
    rates = {name: log_q[name] - dense[name] for name in single}
    joint = [name for name in log_q if name not in rates]
    prior = [log_prior, *(p for name, p in dense.items() if name not in rates)]
    if joint or hidden:
        parts = [*(log_q[name] for name in joint), *(-p for p in prior)]
        rates[" + ".join(joint)] = torch.stack(parts).sum(0)
    return rates


def _shares(per: Mapping[str, Per], terms: Terms, rates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Say that the rates are there in all of the batch; refuse to take them apart."""
    drawn = {row.name: row.q for row in terms.rows if row.q is not None}
    for name, granularity in per.items():
        if name not in rates:
            found = f"one rate of {' + '.join(drawn)}, whose prior is a sum"
            raise PairError(name, found, "the guide's one latent site", "leave out free_bits")
        if granularity == "element" or granularity == "step" and drawn[name]["fn"].event_dim > 1:
            found = f"a rate a {granularity}, of a pair whose prior has a sum"
            raise PairError(name, found, "the rate of the whole site", 'per="total"')
    return {name: torch.ones_like(rates[name]) for name in per}


def _no_rate(name: str) -> PairError:
    found = "a site that is summed out, and sites outside the data plate"
    cure = "a plain Objective, with a number or a schedule as kl_weight"
    return PairError(name, found, "sums over the prior of the guide's latents alone", cure)
