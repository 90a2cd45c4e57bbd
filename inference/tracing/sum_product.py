r"""Exact sums over enumerated sites that keep the draws, and the data plate, apart.

With continuous latents :math:`z` from the guide and enumerated ones :math:`c`,

.. math:: \log p(x, z) = \log \sum_c p(c)\, p(z \mid c)\, p(x \mid c, z),

one number a draw and a datum. Sums are made in double precision by Pyro's plated sum-product
(Obermeyer et al. 2019, "Tensor variable elimination for plated factor graphs", section 3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pyro.ops import packed
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor

from inference.errors import PairError
from inference.tracing.sites import Place, Plate, counted, log_density, node
from inference.tracing.traces import DRAWS, Traces

if TYPE_CHECKING:
    pass


_IMPOSSIBLE = -1e30  # stands for log 0: a true infinity makes NaN of a gradient


def log_joint(traces: Traces, plate: Plate | None) -> Tensor:
    """Sum the model's log density over everything but the draws and the data plate.

    Parameters
    ----------
    traces
        Draws in the mode ``summed``.
    plate
        The plate to keep; None keeps only the draws.

    Returns
    -------
    Tensor
        ``(S, B)``, or ``(S,)`` without a plate; double precision.

    Raises
    ------
    PairError
        If a site is outside the plate to keep.
    """
    dense, summed = split(traces)
    terms = [contract(traces, summed, plate)] if summed else []
    for name, log_prob in dense.items():
        place = traces.places[name]
        terms.append(reduce(place.batch(log_prob, traces.size), place, plate, name))
    return torch.stack(terms).sum(0)


def split(traces: Traces) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the log densities of sites free of enumerated dims, and those of the others."""
    dense: dict[str, Tensor] = {}
    summed: dict[str, Tensor] = {}
    for name, site in counted(traces.model):
        log_prob = log_density(site)
        few = log_prob.dim() <= traces.places[name].nesting + 1
        (dense if few else summed)[name] = log_prob
    return dense, summed


def reduce(values: Tensor, place: Place, plate: Plate | None, name: str) -> Tensor:
    """Sum ``(S, plates...)`` to ``(S, B)``, or ``(S,)`` without a plate; double precision."""
    values = values.double()
    if plate is None:
        return values.flatten(1).sum(1) if values.dim() > 1 else values
    axis = place.axis(plate.name)
    if axis is None:
        raise outside(name, plate)
    return values.movedim(axis, 1).flatten(2).sum(2) if values.dim() > 2 else values


def outside(name: str, plate: Plate) -> PairError:
    """Make the error for a site that is not in the data plate."""
    return PairError(
        site=name,
        seen=f"a site outside the data plate {plate.name!r}",
        expected="every site inside it, so that each datum has its own weight",
        cure="move the site into the plate, or ask for joint weights (joint=True)",
    )


def contract(traces: Traces, terms: Mapping[str, Tensor], plate: Plate | None) -> Tensor:
    """Sum enumerated dims out of log factors, and multiply out every plate but those kept.

    Returns
    -------
    Tensor
        ``(S, B)``, or ``(S,)`` without a plate; double precision.
    """
    return contract_to(traces, terms, [] if plate is None else [plate])


def contract_to(traces: Traces, terms: Mapping[str, Tensor], plates: Sequence[Plate]) -> Tensor:
    """Do as `contract`, keeping several plates: ``(S, plates...)``."""
    tree, sizes = _tree(traces, terms)
    symbols = traces.model.plate_to_symbol
    for name in terms:
        for plate in plates:
            if traces.places[name].axis(plate.name) is None:
                raise outside(name, plate)
    sums = {s for tensors in tree.values() for t in tensors for s in t._pyro_dims}
    sums -= set(symbols.values())
    kept = [(DRAWS, traces.size)] * traces.plated + [(p.name, p.size) for p in plates]
    order = [symbols[name] for name, size in kept if size > 1]
    ring = LogRing(dim_to_size=sizes)
    result = contract_to_tensor(tree, sums, frozenset(order), ring=ring)
    dims = result._pyro_dims
    result = result.permute(*(dims.index(s) for s in order)) if order else result
    result = result.reshape(traces.size, *(p.size for p in plates))
    return result.masked_fill(result < _IMPOSSIBLE / 10, -torch.inf)


def _tree(
    traces: Traces, terms: Mapping[str, Tensor]
) -> tuple[OrderedDict[frozenset[str], list[Any]], dict[str, int]]:
    """Pack log factors by the plates they are in, and collect the size of every dim."""
    trace = traces.model
    trace.symbolize_dims()
    tree: OrderedDict[frozenset[str], list[Any]] = OrderedDict()
    sizes: dict[str, int] = {}
    for name, term in terms.items():
        site = node(trace, name)
        frames = [f for f in site["cond_indep_stack"] if f.vectorized and f.size > 1]
        sizes.update({trace.plate_to_symbol[f.name]: f.size for f in frames})
        tensor: Any = packed.pack(
            term.double().clamp(min=_IMPOSSIBLE), site["infer"]["_dim_to_symbol"]
        )
        sizes.update(zip(tensor._pyro_dims, tensor.shape, strict=True))
        ordinal = frozenset(trace.plate_to_symbol[f.name] for f in frames)
        tree.setdefault(ordinal, []).append(tensor)
    return tree, sizes


def expected_terms(
    traces: Traces, terms: Mapping[str, Tensor], plate: Plate | None
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Return the log sum, and each factor's expectation under the exact posterior of the sites.

    With :math:`F(t) = \log \sum_c \exp \sum_i t_i \log f_i(c)`, the derivative
    :math:`\partial F / \partial t_i` at :math:`t = 1` is :math:`E_{p(c \mid x, z)} \log f_i(c)`.

    Returns
    -------
    tuple
        The log sum and, by site, the expectations: each ``(S, B)``, or ``(S,)`` without a plate.
    """
    knobs = {name: _knob(traces, plate, term.device) for name, term in terms.items()}
    with torch.enable_grad():
        turned = {n: t.double().clamp(min=_IMPOSSIBLE) * knobs[n] for n, t in terms.items()}
        total = contract(traces, turned, plate)
        slopes = torch.autograd.grad(total.sum(), list(knobs.values()))
    shaped = [slope.reshape(total.shape) for slope in slopes]
    return total.detach(), dict(zip(knobs, shaped, strict=True))


def _knob(traces: Traces, plate: Plate | None, device: torch.device) -> Tensor:
    nesting = next(iter(traces.places.values())).nesting
    shape = [traces.size] + [1] * nesting
    if plate is not None:
        shape[nesting + 1 + plate.dim] = plate.size
    return torch.ones(shape, dtype=torch.double, device=device, requires_grad=True)


def pointwise(traces: Traces, name: str, data: Collection[str]) -> Tensor | None:
    r"""Return :math:`\log p(x_i \mid z)` of an observed site, enumerated sites summed, per element.

    Every element :math:`i` of the site's plates gets its own number, which is possible when the
    enumerated sites it depends on live in exactly the same plates (a mixture's assignments).
    The observed sites, all in `data`, are left out of each other's.

    Returns
    -------
    Tensor or None
        ``(S, plates...)``; None when an enumerated site is shared between elements.
    """
    dense, summed = split(traces)
    if name in dense:
        return traces.places[name].batch(dense[name], traces.size)
    hidden = {n: t for n, t in summed.items() if n not in data}
    linked = _linked(traces, name, {**hidden, name: summed[name]})
    plates = traces.places[name].plates
    if any(traces.places[n].plates != plates for n in linked):
        return None
    prior = {n: t for n, t in linked.items() if n != name}
    return contract_to(traces, linked, plates) - contract_to(traces, prior, plates)


def _linked(traces: Traces, name: str, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the factors that share enumerated dims with a site, directly or through others."""
    traces.model.symbolize_dims()
    plates = set(traces.model.plate_to_symbol.values())
    dims = {
        n: set(packed.pack(t, node(traces.model, n)["infer"]["_dim_to_symbol"])._pyro_dims) - plates
        for n, t in terms.items()
    }
    reached, before = set(dims[name]), set[str]()
    while reached != before:
        before = set(reached)
        reached = reached.union(*(d for d in dims.values() if d & reached))
    return {n: terms[n] for n in terms if dims[n] & reached}


def log_weights(traces: Traces, plate: Plate | None) -> Tensor:
    """Return log p - log q of each draw, ``(S, B)``, or ``(S,)`` without a plate."""
    total = log_joint(traces, plate)
    for name, _ in counted(traces.guide):
        total = total - reduce(traces.log_q(name), traces.guide_places[name], plate, name)
    return total
