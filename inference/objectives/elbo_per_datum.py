"""The evidence lower bound of each observation, for pairs all of whose sites lie in a data plate.

Values are those of ``Trace_ELBO``, ``TraceMeanField_ELBO`` and ``TraceEnum_ELBO``, before they are
summed over the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from pyro.infer.traceenum_elbo import _compute_model_factors
from pyro.infer.util import Dice
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.poutine import Trace
from torch import Tensor

from inference.objectives.kl import divergence
from inference.objectives.step import Step
from inference.tracing import Terms, frame_of, read_pair, sample_sites, subsampled_share


def bound_per_datum(kind: str, step: Step, num_particles: int) -> Tensor:
    """Return the bound of each observation, (B,), averaged over draws.

    Parameters
    ----------
    kind
        ``"trace"``, ``"meanfield"`` or ``"enum"``.
    step
        A pair all of whose sites lie in the data plate, and its batch.
    num_particles
        Draws.
    """
    shape = step.shape
    assert shape.plate is not None
    if kind == "enum":
        nesting = shape.max_plate_nesting
        elbo = TraceEnum_ELBO(num_particles, nesting, strict_enumeration_warning=False)
        traces = elbo._get_traces(step.model, step.guide, step.args, step.kwargs)
        parts = [enumerated_bound(p, q, shape.plate.name) for p, q in traces]
    else:
        closed_form = kind == "meanfield"
        tables = (read_pair(*step.call, closed_form) for _ in range(num_particles))
        parts = [torch.stack(list(_signed(terms, closed_form))).sum(0) for terms in tables]
    return torch.stack(parts).mean(0)


def _signed(terms: Terms, closed_form: bool) -> Iterator[Tensor]:
    """Yield what each site adds to the bound, (B,)."""
    for row in terms.rows:
        if row.kind == "latent" and row.p is not None:
            rate = divergence(row.q, row.p, closed_form, terms.plate)
            yield -terms.reduce(rate, row.site)
        elif row.kind != "deterministic":
            term = terms.reduce(terms.log_density(row.site), row.site)
            yield term if row.q is None else -term


def enumerated_bound(model_trace: Trace, guide_trace: Trace, plate: str) -> Tensor:
    """Return log sum_w p(x, w, z) - log q(z) of each datum, (B,), as ``TraceEnum_ELBO`` has it.

    Pyro first contracts the enumerated sites to terms that keep the data plate, then takes an
    expectation that is linear in these terms. So the part of datum b is the derivative of the
    total with respect to a factor on its terms.
    """
    costs, ordering = _costs(model_trace, guide_trace)
    site = next(s for s in sample_sites(model_trace).values() if frame_of(s, plate))
    frame, symbol = frame_of(site, plate), model_trace.plate_to_symbol[plate]
    assert frame is not None
    with torch.enable_grad():
        like = next(term for terms in costs.values() for term in terms)
        factor = torch.ones(frame.size, dtype=like.dtype, device=like.device, requires_grad=True)
        weighed = {t: [_times(c, factor, symbol) for c in terms] for t, terms in costs.items()}
        total = Dice(guide_trace, ordering).compute_expectation(weighed)
        (bound,) = torch.autograd.grad(total, factor)
    return bound * subsampled_share(site, plate)


def _costs(model_trace: Trace, guide_trace: Trace) -> tuple[dict[Any, list[Tensor]], Any]:
    """Return the terms of log p and -log q by plates, enumeration done; and the sites' plates."""
    costs, factors, ordering, sum_dims, scale = _compute_model_factors(model_trace, guide_trace)
    for ordinal, terms in contract_tensor_tree(factors, sum_dims).items() if factors else ():
        scaled = [packed.scale_and_mask(term, scale=scale) for term in terms]
        costs.setdefault(ordinal, []).extend(scaled)
    for name, site in sample_sites(guide_trace).items():
        costs.setdefault(ordering[name], []).append(packed.neg(site["packed"]["log_prob"]))
    return {t: [_detach(term) for term in terms] for t, terms in costs.items()}, ordering


def _detach(term: Tensor) -> Tensor:
    result = term.detach()
    result._pyro_dims = term._pyro_dims  # type: ignore[attr-defined]
    return result


def _times(term: Tensor, factor: Tensor, symbol: str) -> Tensor:
    dims: str = term._pyro_dims  # type: ignore[attr-defined]
    if symbol in dims:
        shape = [-1 if dim == symbol else 1 for dim in dims]
        result = term * factor.reshape(shape)
    else:  # packing drops a plate of size one
        result = term * factor.sum() / len(factor)
    result._pyro_dims = dims  # type: ignore[attr-defined]
    return result
