r"""What each observed element says by itself, the enumerated sites behind it summed out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from pyro.ops import packed
from torch import Tensor

from inference.tracing.sites import Plate, Site, node, place_of, unscaled_log_density
from inference.tracing.sum_product import IMPOSSIBLE, contract_to, trace_of
from inference.tracing.terms import Terms
from inference.tracing.traces import DRAWS


def pointwise(terms: Terms, name: str, data: Collection[str]) -> Tensor | None:
    """Return what `pointwise_sites` does for one site; None where its elements share states."""
    return pointwise_sites(terms, [name], data).get(name)


def pointwise_sites(
    terms: Terms, names: Collection[str], data: Collection[str]
) -> dict[str, Tensor]:
    r"""Return :math:`\log p(x_i \mid z)` of observed sites, enumerated sites summed, per element.

    Every element :math:`i` of a site's plates gets its own number, which is possible when the
    enumerated sites it depends on live in exactly the same plates (a mixture's assignments).
    The observed sites, all in `data`, are left out of each other's. No scales.

    A component of enumerated sites that depend on each other (a whole chain) is summed once: the
    derivative of its log sum with respect to a factor of ones over some sites' states is their
    joint prior, for every observed site together. So the work is linear in a chain's length.

    Returns
    -------
    dict
        By site, ``(S, plates...)``, without those whose enumerated sites are shared by elements.
    """
    dims = _dims(terms)
    hidden = [n for n in terms.summed if n not in data]
    found = {n: _alone(terms, n) for n in names if n not in terms.summed}
    observed = [n for n in names if n in terms.summed]
    priors: dict[str, Tensor] = {n: terms.summed[n].new_zeros(()) for n in observed}
    apart = set(observed)
    for component in _components(hidden, dims):
        states = set[str]().union(*(dims[n] for n in component))
        linked = [n for n in observed if dims[n] & states]
        wanted = [n for n in linked if _share_plates(terms, [n, *component])]
        apart -= set(linked) - set(wanted)
        for name, prior in _joint_priors(terms, component, wanted, states).items():
            priors[name] = priors[name] + prior
    return found | {n: _weighed(terms, n, priors[n]) for n in observed if n in apart}


def _alone(terms: Terms, name: str) -> Tensor:
    site = terms.site(name)
    return place_of(site, terms.nesting).batch(unscaled_log_density(site), terms.draws or 1)


def _weighed(terms: Terms, name: str, prior: Tensor) -> Tensor:
    """Average a site's density over its enumerated states, by their prior."""
    rank = terms.nesting + (terms.draws is not None)
    joint = terms.summed[name].clamp(min=IMPOSSIBLE) + prior
    states = list(range(joint.dim() - rank))
    total = joint.logsumexp(states) if states else joint
    total = total.masked_fill(total < IMPOSSIBLE / 10, -torch.inf)
    return place_of(terms.site(name), terms.nesting).batch(total, terms.draws or 1)


def _joint_priors(
    terms: Terms, component: Sequence[str], names: Sequence[str], states: set[str]
) -> dict[str, Tensor]:
    """Return the log prior of the states that each observed site depends on, in its own dims."""
    if not names:
        return {}
    knobs = {n: _states_knob(terms, n, states) for n in names}
    with torch.enable_grad():
        factors = {n: terms.summed[n].detach() for n in component}
        total = contract_to(terms, {**factors, **knobs}, _plates(terms.site(component[0]))).sum()
        slopes = torch.autograd.grad(total, list(knobs.values()))
    return {n: slope.log().clamp(min=IMPOSSIBLE) for n, slope in zip(names, slopes, strict=True)}


def _states_knob(terms: Terms, name: str, states: set[str]) -> Tensor:
    """A log factor of zeros over a site's plates, and over those of its dims that are `states`."""
    factor = terms.summed[name]
    symbols = node(trace_of(terms), name)["infer"]["_dim_to_symbol"]
    rank = terms.nesting + (terms.draws is not None)
    shape = list(factor.shape)
    for i in range(len(shape) - rank):
        shape[i] = shape[i] if symbols.get(i - len(shape)) in states else 1
    for frame in place_of(terms.site(name), 0).plates:
        shape[frame.dim] = frame.size
    return factor.new_zeros(shape, requires_grad=True)


def _share_plates(terms: Terms, names: Sequence[str]) -> bool:
    return len({_plates(terms.site(n)) for n in names}) == 1


def _dims(terms: Terms) -> dict[str, set[str]]:
    """Return the enumerated dims of every factor, by their symbols."""
    trace = trace_of(terms)
    trace.symbolize_dims()
    plates = set(trace.plate_to_symbol.values())
    return {
        n: set(packed.pack(f, node(trace, n)["infer"]["_dim_to_symbol"])._pyro_dims) - plates
        for n, f in terms.summed.items()
    }


def _components(names: Sequence[str], dims: Mapping[str, set[str]]) -> list[list[str]]:
    """Group factors that share enumerated dims, directly or through others."""
    groups: list[tuple[set[str], list[str]]] = []
    for name in names:
        linked = [g for g in groups if g[0] & dims[name]]
        groups = [g for g in groups if not g[0] & dims[name]]
        reached = set(dims[name]).union(*(g[0] for g in linked))
        groups.append((reached, [m for g in linked for m in g[1]] + [name]))
    return [group for _, group in groups]


def _plates(site: Site) -> tuple[Plate, ...]:
    return tuple(plate for plate in place_of(site, 0).plates if plate.name != DRAWS)
