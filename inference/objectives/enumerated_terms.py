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
from inference.objectives.elbo_terms import Terms, plain_sites, refuse_pathless
from inference.objectives.kl import Per
from inference.tracing import Layout, precision, sampler_of


def summed_terms(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    per: Mapping[str, Per],
) -> Terms:
    """Return the terms of a draw, per observation.

    Parameters
    ----------
    shape
        The pair's layout: there are sites to sum out, and all sites lie in the data plate.
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
    from inference.tracing import contract, reduce, split

    if not shape.local:
        seen = "a site that is summed out, and sites outside the data plate"
        raise _no_rate(shape.enumerated[0], seen)
    sampler = sampler_of(model, guide, args, kwargs, shape)
    traces, plate = sampler.traces(None, "summed"), sampler.plate
    latent = {*shape.drawn, *shape.enumerated}  # in the trace, the drawn ones look observed
    drawn = plain_sites(traces.guide.nodes)
    refuse_pathless(drawn, {})
    dense, summed = split(traces)
    for name in summed:
        if name not in latent:
            seen = f"data that depend on '{shape.enumerated[0]}', which is summed out"
            raise _no_rate(name, seen)
    places = traces.places
    log_p = {n: reduce(places[n].batch(p, 1), places[n], plate, n) for n, p in dense.items()}
    log_q = [reduce(traces.log_q(n), traces.guide_places[n], plate, n) for n in drawn]
    prior = [p for n, p in log_p.items() if n in latent]
    data = [p for n, p in log_p.items() if n not in latent]
    rate = torch.stack(log_q).sum(0) - torch.stack([*prior, contract(traces, summed, plate)]).sum(0)
    dtype = precision(args, kwargs)
    rates = {" + ".join(drawn): rate.mean().to(dtype)[None]}
    shares = _shares(per, drawn, rates)
    return Terms(-torch.stack(data).sum(0).mean().to(dtype), rates, shares)


def _shares(
    per: Mapping[str, Per], drawn: Mapping[str, Any], rates: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Say that the one rate is there in all of the batch; refuse to take it apart."""
    for name, granularity in per.items():
        if [name] != list(drawn):
            seen = f"one rate of {' + '.join(drawn)}, whose prior is a sum"
            raise PairError(name, seen, "the guide's one latent site", "leave out free_bits")
        if granularity == "element" or granularity == "step" and drawn[name]["fn"].event_dim > 1:
            seen = f"a rate a {granularity}, of a site whose prior is a sum"
            raise PairError(name, seen, "the rate of the whole site", 'per="total"')
    return {name: torch.ones_like(rates[name]) for name in per}


def _no_rate(name: str, seen: str) -> PairError:
    cure = "a plain Objective, with a number or a schedule as kl_weight"
    return PairError(name, seen, "sums over the prior of the guide's latents alone", cure)
