"""The terms of an evidence lower bound, one sum an observation.

Each function takes a model's trace and a guide's, with log densities computed, all of whose sites
lie in one data plate, and returns the bound of each of its B elements, shape (B,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.traceenum_elbo import _compute_model_factors
from pyro.infer.util import Dice
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import kl_divergence

from inference.tracing import sample_sites


def trace_terms(model_trace: Trace, guide_trace: Trace, plate: str) -> Tensor:
    """Return log p(x, z) - log q(z), as ``Trace_ELBO`` sums it."""
    prior = [to_plate(site["log_prob"], site, plate) for site in _counted(model_trace)]
    guide = [to_plate(site["log_prob"], site, plate) for site in _counted(guide_trace)]
    return _sum(prior) - _sum(guide)


def mean_field_terms(model_trace: Trace, guide_trace: Trace, plate: str) -> Tensor:
    """Return log p(x | z) - KL(q(z) || p(z)), in closed form where there is one."""
    terms = []
    for name, site in sample_sites(model_trace).items():
        if site["infer"].get("_deterministic"):
            continue
        term = site["log_prob"]
        if not site["is_observed"]:
            term = _kl_term(site, guide_trace.nodes[name])
        terms.append(to_plate(term, site, plate))
    extra = [site for site in _counted(guide_trace) if site["name"] not in model_trace]
    return _sum(terms) - _sum([to_plate(site["log_prob"], site, plate) for site in extra])


def _kl_term(prior: Any, guide: Any) -> Tensor:
    try:
        kl = kl_divergence(guide["fn"], prior["fn"])
    except NotImplementedError:
        difference: Tensor = prior["log_prob"] - guide["log_prob"]
        return difference
    scaled: Tensor = scale_and_mask(kl, scale=guide["scale"], mask=guide["mask"])
    return -scaled


def enumerated_terms(model_trace: Trace, guide_trace: Trace, plate: str) -> Tensor:
    """Return log sum_w p(x, w, z) - log q(z), as ``TraceEnum_ELBO`` has it.

    Pyro first contracts the enumerated sites to terms that keep the data plate, then takes an
    expectation that is linear in these terms. So the part of datum b is the derivative of the
    total with respect to a factor on its terms.
    """
    costs, ordering = _costs(model_trace, guide_trace)
    frame = _frame(model_trace, plate)
    symbol = model_trace.plate_to_symbol[plate]
    with torch.enable_grad():
        like = next(term for terms in costs.values() for term in terms)
        factor = torch.ones(frame.size, dtype=like.dtype, device=like.device, requires_grad=True)
        weighed = {t: [_times(c, factor, symbol) for c in terms] for t, terms in costs.items()}
        total = Dice(guide_trace, ordering).compute_expectation(weighed)
        (bound,) = torch.autograd.grad(total, factor)
    return bound * _undo_subsampling(frame)


_TERMS: dict[str, Callable[[Trace, Trace, str], Tensor]] = {
    "trace": trace_terms,
    "meanfield": mean_field_terms,
    "enum": enumerated_terms,
}


def bound_per_datum(
    elbo: Any, kind: str, model: Any, guide: Any, args: Any, kwargs: Any, plate: str
) -> Tensor:
    """Return the bound of each observation, (B,), as one of Pyro's classes averages its draws."""
    traces = elbo._get_traces(model, guide, args, kwargs)
    terms = [_TERMS[kind](told, drawn, plate) for told, drawn in traces]
    return torch.stack(terms).sum(0) / elbo.num_particles


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


def to_plate(term: Tensor, site: Any, plate: str) -> Tensor:
    """Sum a term of a site to the elements of the data plate, shape (B,), free of its scale."""
    frame = next(f for f in site["cond_indep_stack"] if f.name == plate)
    shape = torch.broadcast_shapes(term.shape, (frame.size,) + (1,) * (-frame.dim - 1))
    moved = term.expand(shape).movedim(frame.dim, 0)
    return moved.reshape(frame.size, -1).sum(-1) * _undo_subsampling(frame)


def _undo_subsampling(frame: Any) -> float:
    return 1.0 if frame.full_size is None else frame.size / frame.full_size


def _frame(trace: Trace, plate: str) -> Any:
    sites = sample_sites(trace).values()
    return next(f for site in sites for f in site["cond_indep_stack"] if f.name == plate)


def _counted(trace: Trace) -> list[Any]:
    return [s for s in sample_sites(trace).values() if not s["infer"].get("_deterministic")]


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum(0) if terms else torch.zeros(())
