"""Posteriors of the sites that a model sums out: marginals, joint modes and joint draws.

Such sites are discrete, marked ``infer={"enumerate": "parallel"}`` in the model, and absent from
the guide. Given the guide's draw of all other sites, their posterior is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from opt_einsum import shared_intermediates  # type: ignore[import-untyped]
from pyro import poutine
from pyro.infer.traceenum_elbo import _compute_model_factors
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from pyro.poutine import Trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from inference.randomness import reseed
from inference.tracing import (
    WRAPPERS,
    Site,
    WholePriors,
    bind,
    decode,
    layout,
    node,
    pair_traces,
    refuse_unsteady,
    sample_sites,
    untouched,
    unwrapped,
)


class EnumeratedSite(NamedTuple):
    r"""What is known of one enumerated site after seeing the data.

    Attributes
    ----------
    probs
        :math:`E_{q(z)}\, p(w = k \mid z, x)`, shape ``batch_shape + (K,)``: the exact marginal,
        averaged over the guide's draws of the other sites z. k counts the values in the order of
        ``support``.
    map
        A value, shape ``batch_shape + event_shape``. With one draw of the guide: the mode of
        :math:`p(w \mid z, x)`, jointly over all enumerated sites (Viterbi's path in a chain). With
        several: the mode of ``probs``, element by element.
    samples
        :math:`w^s \sim p(w \mid z^s, x)`, jointly over all enumerated sites, one for each draw of
        the guide: shape ``(S,) + batch_shape + event_shape``.
    support
        The values that the site can take, ``(K,) + event_shape``: 0, 1, ... of a ``Categorical``,
        unit vectors of a ``OneHotCategorical``.

    Where the model masks what it observes, there is no evidence: the posterior of an enumerated
    site is then its prior, given its parents, whether the site itself is under the mask or not.
    """

    probs: Tensor
    map: Tensor
    samples: Tensor
    support: Tensor


@torch.no_grad()
def enumerated(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    num_samples: int = 1,
    seed: int = 0,
    **kwargs: Any,
) -> dict[str, EnumeratedSite]:
    """Return the posterior of every enumerated site of a pair.

    Parameters
    ----------
    model, guide
        Any pair that `inference.tracing.bind` takes.
    *args, **kwargs
        The data, as both take them.
    num_samples
        S, draws of the guide.
    seed
        Of the draws.

    Returns
    -------
    dict of str to EnumeratedSite
        By site name, in the order of the model; empty if the model has no such site.

    Raises
    ------
    PairError
        The pair's sites come and go, or a latent site's support depends on another one.
    ValueError
        ``num_samples`` is not positive.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; expected at least 1")
    model, guide = bind(model, guide, *args, **kwargs)
    shape = layout(model, guide, args, kwargs)
    given = []
    with untouched(model, guide, seed=seed), poutine.block():
        refuse_unsteady(model, guide, pair_traces(model, guide, args, kwargs), args, kwargs)
        if not shape.enumerated:
            return {}
        reseed(seed)
        for _ in range(num_samples):
            trace = pair_traces(model, guide, args, kwargs)[1]
            given.append(conditional(model, trace, args, kwargs, shape.max_plate_nesting))
    return {name: _average([posterior[name] for posterior in given]) for name in given[0]}


def conditional(
    model: Callable[..., Any],
    guide_trace: Trace,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    nesting: int,
) -> dict[str, EnumeratedSite]:
    """Return the posterior of the enumerated sites given one draw of the guide.

    Parameters
    ----------
    model
        The model; it may be inside handlers.
    guide_trace
        A trace that holds the latent sites that are not enumerated, and no enumerated one.
    args, kwargs
        The data, as the model takes them.
    nesting
        Batch dims that plates use, counted from the right.

    Returns
    -------
    dict of str to EnumeratedSite
        With ``samples`` of shape ``(1,) + batch_shape``.
    """
    with poutine.block():
        trace, given = _enumerate(model, guide_trace, args, kwargs, -1 - nesting)
        marginals = _marginals(trace, given)
        mode, draw = (_decode(model, trace, given, args, kwargs, heat) for heat in (0, 1))
    return {
        name: _site(node(trace, name), probs, mode[name], draw[name])
        for name, probs in marginals.items()
    }


def _site(site: Site, probs: Tensor, mode: Tensor, draw: Tensor) -> EnumeratedSite:
    values = unwrapped(site["fn"], WRAPPERS).enumerate_support(expand=False)
    event = site["fn"].event_shape
    support = values.reshape(len(values), -1)[:, -event.numel() :].reshape(len(values), *event)
    mode, draw = (_like(value, probs.shape[:-1] + event) for value in (mode, draw))
    return EnumeratedSite(probs, mode, draw[None], support)


def _enumerate(
    model: Callable[..., Any], guide_trace: Trace, args: Any, kwargs: Any, first: int
) -> tuple[Trace, Trace]:
    """Score the model for every value of its enumerated sites, and the latent sites given."""
    given = _latents(guide_trace)
    given.compute_log_prob()
    given.pack_tensors()
    # enumeration inside of replay: else dims of enumerated parents of a replayed site are lost
    whole: Any = WholePriors()(model)
    tried = poutine.replay(EnumMessenger(first)(whole), trace=_latents(guide_trace))
    trace = prune_subsample_sites(poutine.trace(tried).get_trace(*args, **kwargs))
    trace.compute_log_prob()
    trace.pack_tensors(given.plate_to_symbol)
    return trace, given


def _marginals(trace: Trace, given: Trace) -> dict[str, Tensor]:
    """Sum the model's log densities over all enumerated sites but one, for each in turn."""
    _, factors, ordering, sum_dims, _ = _compute_model_factors(trace, given)
    # sizes are passed, since Pyro's packing forgets plates of size one
    frames = {f for site in sample_sites(trace).values() for f in site["cond_indep_stack"]}
    sizes = {trace.plate_to_symbol[f.name]: f.size for f in frames if f.vectorized}
    marginals = {}
    with shared_intermediates() as cache:
        for name, site in _summed(trace, given).items():
            symbol = site["infer"]["_enumerate_symbol"]
            logits = contract_to_tensor(
                factors,
                sum_dims,
                target_ordinal=ordering[name],
                target_dims={symbol},
                ring=LogRing(cache, dim_to_size=dict(sizes)),
            )
            marginals[name] = _unpack(logits, symbol, site, trace).softmax(-1)
    return marginals


def _latents(trace: Trace) -> Trace:
    """A copy of a trace's latent sites, free of what earlier runs of Pyro wrote on them."""
    copy = Trace()
    for name, site in sample_sites(trace).items():
        if not site["is_observed"]:
            infer = {key: value for key, value in site["infer"].items() if key[0] != "_"}
            stale = "packed", "score_parts", "log_prob", "log_prob_sum", "unscaled_log_prob"
            fresh = {key: value for key, value in site.items() if key not in stale}
            copy.add_node(name, **{**fresh, "infer": infer})
    return copy


def _summed(trace: Trace, given: Trace) -> dict[str, Any]:
    return {
        name: site
        for name, site in sample_sites(trace).items()
        if name not in given and site["infer"].get("_enumerate_dim") is not None
    }


def _unpack(logits: Tensor, symbol: str, site: Any, trace: Trace) -> Tensor:
    """Bring a contracted tensor to shape ``batch_shape + (K,)``, K the enumerated dim."""
    frames = [f for f in site["cond_indep_stack"] if f.vectorized]
    sizes = {trace.plate_to_symbol[f.name]: f for f in frames}
    dims: str = logits._pyro_dims  # type: ignore[attr-defined]
    rank = max((-f.dim for f in frames), default=0)
    batch = [1] * rank
    for frame in frames:
        batch[frame.dim] = frame.size
    order = sorted((d for d in dims if d != symbol), key=lambda d: sizes[d].dim)
    view = [1] * rank
    for dim in order:
        view[sizes[dim].dim] = sizes[dim].size
    logits = logits.permute([dims.index(d) for d in (*order, *(symbol if symbol in dims else ""))])
    return logits.reshape([*view, -1]).expand([*batch, -1])


def _decode(
    model: Callable[..., Any], trace: Trace, given: Trace, args: Any, kwargs: Any, temperature: int
) -> dict[str, Any]:
    """Return the joint mode (temperature 0) or a joint draw (1) of the enumerated sites."""
    conditioned = trace.copy()
    for name in sample_sites(given):  # as data are: nothing to decode there
        conditioned.nodes[name] = {**trace.nodes[name], "is_observed": True}
    conditioned.plate_to_symbol = trace.plate_to_symbol
    conditioned.symbol_to_dim = trace.symbol_to_dim
    whole: Any = WholePriors()(model)
    replayed = poutine.replay(whole, trace=_latents(given))
    with poutine.trace() as decoded:
        decode(replayed, conditioned, temperature, args, kwargs)
    return {name: site["value"] for name, site in sample_sites(decoded.trace).items()}


def _like(value: Tensor, shape: torch.Size) -> Tensor:
    """Give a decoded value the shape of its site: decoding drops plates of size one."""
    while value.dim() > len(shape):
        value = value.squeeze(0)
    return value.expand(shape)


def _average(given: list[EnumeratedSite]) -> EnumeratedSite:
    first = given[0]
    if len(given) == 1:
        return first
    probs = torch.stack([draw.probs for draw in given]).mean(0)
    samples = torch.cat([draw.samples for draw in given])
    mode = first.support[probs.argmax(-1)].to(samples.dtype)
    return EnumeratedSite(probs, mode, samples, first.support)
