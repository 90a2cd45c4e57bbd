r"""The terms of a bound whose prior has sites that are summed out, as a mixture's component.

.. math:: R = E_q \log q(z) - \log \sum_c p(c)\, p(z \mid c)

One rate for all latents together, at a draw of the guide; the sum is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inference.errors import PairError
from inference.objectives.kl import Per
from inference.objectives.pair_trace import refuse_pathless
from inference.objectives.rate_distortion import RateDistortion
from inference.objectives.step import Step
from inference.tracing import contract, precision, sampler_of


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
        Data that depend on a site that is summed out, so that there is no rate of the latents
        alone; a site outside the data plate; or a rate that cannot be taken apart.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    shape = step.shape
    if not shape.local:
        found = "a site that is summed out, and sites outside the data plate"
        raise _no_rate(shape.enumerated[0], found)
    sampler = sampler_of(*step.call)
    terms = sampler.traces(None, "summed").terms(sampler.plate)
    latent = {*shape.drawn, *shape.enumerated}  # in the trace, the drawn ones look observed
    drawn = {row.name: row.q for row in terms.rows if row.q is not None}
    refuse_pathless(terms.rows, summed=True)
    for name in terms.summed:
        if name not in latent:
            found = f"data that depend on '{shape.enumerated[0]}', which is summed out"
            raise _no_rate(name, found)
    log_p = {n: terms.reduce(p, terms.site(n)) for n, p in terms.dense.items()}
    log_q = [terms.reduce(terms.log_density(site), site) for site in drawn.values()]
    prior = [p for n, p in log_p.items() if n in latent] + [contract(terms, terms.summed)]
    data = [p for n, p in log_p.items() if n not in latent]
    rate = torch.stack(log_q).sum(0) - torch.stack(prior).sum(0)
    dtype = precision(step.args, step.kwargs)
    rates = {" + ".join(drawn): rate.mean().to(dtype)[None]}
    shares = _shares(per, drawn, rates)
    return RateDistortion(-torch.stack(data).sum(0).mean().to(dtype), rates, shares)


def _shares(
    per: Mapping[str, Per], drawn: Mapping[str, Any], rates: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Say that the one rate is there in all of the batch; refuse to take it apart."""
    for name, granularity in per.items():
        if [name] != list(drawn):
            found = f"one rate of {' + '.join(drawn)}, whose prior is a sum"
            raise PairError(name, found, "the guide's one latent site", "leave out free_bits")
        if granularity == "element" or granularity == "step" and drawn[name]["fn"].event_dim > 1:
            found = f"a rate a {granularity}, of a site whose prior is a sum"
            raise PairError(name, found, "the rate of the whole site", 'per="total"')
    return {name: torch.ones_like(rates[name]) for name in per}


def _no_rate(name: str, found: str) -> PairError:
    cure = "a plain Objective, with a number or a schedule as kl_weight"
    return PairError(name, found, "sums over the prior of the guide's latents alone", cure)
