r"""Exact sums over enumerated sites that keep the draws, and the data plate, apart.

With continuous latents :math:`z` from the guide and enumerated ones :math:`c`,

.. math:: \log p(x, z) = \log \sum_c p(c)\, p(z \mid c)\, p(x \mid c, z),

one number a draw and a datum. Sums are made in double precision by Pyro's plated sum-product
(Obermeyer et al. 2019, "Tensor variable elimination for plated factor graphs", section 3). A
``poutine.scale`` multiplies a sum, not the factors in it, which must share one (as in
``TraceEnum_ELBO``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from pyro.ops import packed
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from torch import Tensor

from inference.errors import PairError
from inference.tracing.sites import Plate, node
from inference.tracing.terms import Terms, frame_of, outside, scale_of
from inference.tracing.traces import DRAWS

Frame = Plate | CondIndepStackFrame
IMPOSSIBLE = -1e30  # stands for log 0: a true infinity makes NaN of a gradient


def log_joint(terms: Terms, joint: bool = False) -> Tensor:
    """Sum the model's log density over everything but the draws and the data plate.

    Parameters
    ----------
    terms
        Of draws in the mode ``summed``.
    joint
        Sum over the data plate, too.

    Returns
    -------
    Tensor
        ``(S, B)``, or ``(S,)``; double precision.

    Raises
    ------
    PairError
        If a site is outside the data plate.
    """
    parts = [contract(terms, terms.summed, joint)] if terms.summed else []
    parts += [terms.reduce(p, terms.site(name), joint) for name, p in terms.dense.items()]
    return torch.stack(parts).sum(0)


def log_weights(terms: Terms, joint: bool = False) -> Tensor:
    """Return log p - log q of each draw; arguments and result are those of `log_joint`."""
    total = log_joint(terms, joint)
    for site in (row.q for row in terms.rows if row.q is not None):
        total = total - terms.reduce(terms.log_density(site), site, joint)
    return total


def contract(terms: Terms, factors: Mapping[str, Tensor], joint: bool = False) -> Tensor:
    """Sum enumerated dims out of log factors, and multiply out every plate but those kept.

    Returns
    -------
    Tensor
        ``(S, B)``, or ``(S,)`` if ``joint``, times the scale of the factors; double precision.

    Raises
    ------
    PairError
        The factors have several scales, or one is outside the data plate.
    """
    kept: Sequence[Frame] = () if joint else data_frames(terms, factors)
    return common_scale(terms, factors) * contract_to(terms, factors, kept)


def data_frames(terms: Terms, factors: Collection[str]) -> Sequence[Frame]:
    """Return the data plate around some factors, as a list of one; empty if there is none.

    Raises
    ------
    PairError
        A factor is outside of it.
    """
    frames = {name: frame_of(terms.site(name), terms.plate) for name in factors}
    for name, frame in frames.items():
        if terms.plate is not None and frame is None:
            raise outside(name, terms.plate)
    return [frame for frame in frames.values() if frame is not None][:1]


def common_scale(terms: Terms, factors: Collection[str]) -> float:
    """Return the one scale that sites have that are summed together, as ``TraceEnum_ELBO`` asks.

    Raises
    ------
    PairError
        There are several, or it is no number.
    """
    scales = {}
    for name in factors:
        scale = scale_of(terms.site(name), terms.plate)
        if isinstance(scale, Tensor) and scale.dim():
            raise _no_scale(name, f"a poutine.scale of shape {tuple(scale.shape)}")
        scales[name] = float(scale)
    if len(set(scales.values())) > 1:
        raise _no_scale(next(iter(factors)), f"sites summed together, of scales {scales}")
    return next(iter(scales.values()), 1.0)


def _no_scale(name: str, found: str) -> PairError:
    expected = "one poutine.scale, a number, for all sites that are summed together"
    cure = "scale the enumerated site, and what depends on it, alike"
    return PairError(name, found, expected, cure)


def contract_to(terms: Terms, factors: Mapping[str, Tensor], plates: Sequence[Frame]) -> Tensor:
    """Do as `contract`, without scales and keeping all of these plates: ``(S, plates...)``."""
    tree, sizes = _tree(trace_of(terms), factors)
    symbols, draws = trace_of(terms).plate_to_symbol, terms.draws or 1
    sums = {s for tensors in tree.values() for t in tensors for s in t._pyro_dims}
    sums -= set(symbols.values())
    kept = [(DRAWS, draws), *((p.name, p.size) for p in plates)]
    order = [symbols[name] for name, size in kept if size > 1]
    ring = LogRing(dim_to_size=sizes)
    result = contract_to_tensor(tree, sums, frozenset(order), ring=ring)
    dims = result._pyro_dims
    result = result.permute(*(dims.index(s) for s in order)) if order else result
    result = result.reshape(draws, *(p.size for p in plates))
    return result.masked_fill(result < IMPOSSIBLE / 10, -torch.inf)


def trace_of(terms: Terms) -> Trace:
    """Return the model's trace, from which a sum over enumerated sites is read."""
    assert terms.trace is not None, "a sum over enumerated sites is read from a trace"
    return terms.trace


def _tree(
    trace: Trace, factors: Mapping[str, Tensor]
) -> tuple[OrderedDict[frozenset[str], list[Any]], dict[str, int]]:
    """Pack log factors by the plates they are in, and collect the size of every dim."""
    trace.symbolize_dims()
    tree: OrderedDict[frozenset[str], list[Any]] = OrderedDict()
    sizes: dict[str, int] = {}
    for name, factor in factors.items():
        site = node(trace, name)
        frames = [f for f in site["cond_indep_stack"] if f.vectorized and f.size > 1]
        sizes.update({trace.plate_to_symbol[f.name]: f.size for f in frames})
        tensor: Any = packed.pack(
            factor.double().clamp(min=IMPOSSIBLE), site["infer"]["_dim_to_symbol"]
        )
        sizes.update(zip(tensor._pyro_dims, tensor.shape, strict=True))
        ordinal = frozenset(trace.plate_to_symbol[f.name] for f in frames)
        tree.setdefault(ordinal, []).append(tensor)
    return tree, sizes


def expected_factors(
    terms: Terms, factors: Mapping[str, Tensor], joint: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Return the log sum, and each factor's expectation under the exact posterior of the sites.

    With :math:`F(t) = \log \sum_c \exp \sum_i t_i \log f_i(c)`, the derivative
    :math:`\partial F / \partial t_i` at :math:`t = 1` is :math:`E_{p(c \mid x, z)} \log f_i(c)`.

    Returns
    -------
    tuple
        The log sum and, by site, the expectations, all times the factors' scale: each ``(S, B)``,
        or ``(S,)`` if ``joint``.
    """
    knobs = {name: _knob(terms, name, joint) for name in factors}
    with torch.enable_grad():
        turned = {n: f.double().clamp(min=IMPOSSIBLE) * knobs[n] for n, f in factors.items()}
        total = contract(terms, turned, joint)
        slopes = torch.autograd.grad(total.sum(), list(knobs.values()))
    shaped = [slope.reshape(total.shape) for slope in slopes]
    return total.detach(), dict(zip(knobs, shaped, strict=True))


def _knob(terms: Terms, name: str, joint: bool) -> Tensor:
    """Ones over draws and data plate, to broadcast with a site's factor."""
    shape = [terms.draws or 1] + [1] * terms.nesting
    frame = None if joint else frame_of(terms.site(name), terms.plate)
    if frame is not None and frame.dim is not None:
        shape[frame.dim] = frame.size
    device = terms.summed[name].device
    return torch.ones(shape, dtype=torch.double, device=device, requires_grad=True)
