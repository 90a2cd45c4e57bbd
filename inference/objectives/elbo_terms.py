r"""The terms of a bound, site by site: what objectives, penalties and controllers share.

A bound is :math:`-(D + \sum_j R_j)`, in nats per observation: the distortion D of the observed
sites, :math:`-\log p(x \mid z)`, and the rate R of each latent one, :math:`\log q(z) - \log p(z)`
at a draw or the closed form KL(q || p). A `View` is one draw of a pair, from which they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import Trace_ELBO
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import is_validation_enabled, site_is_subsample
from torch import Tensor

from inference.errors import PairError
from inference.objectives.elbo_per_datum import to_plate
from inference.objectives.kl import Per, divergence, divergence_parts
from inference.tracing import Layout, Sites, in_plate


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """One draw of a pair on a batch, differentiable: what a penalty is given.

    Parameters
    ----------
    model, guide
        The pair.
    args, kwargs
        The batch, as both take it.
    step
        The training step, from 0.
    data_size
        N, observations in the data set.
    batch
        B, observations in the batch.
    q
        The guide's latent sites inside the data plate, by name: Pyro's site, with ``"fn"`` (an
        ``Independent(Normal)``, say) and ``"value"``, the draw.
    p
        All sites of the model at that draw, the observed ones among them.
    plate
        The name of the data plate.
    guide_sites
        All sites of the guide, those outside the data plate too.
    """

    model: Any
    guide: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    step: int
    data_size: int
    batch: int
    q: dict[str, Any]
    p: dict[str, Any]
    plate: str | None = None
    guide_sites: dict[str, Any] = field(default_factory=dict)

    def codes(self, name: str) -> Tensor:
        """Return the draw of a latent site, (B, ...) with its event dims last.

        Raises
        ------
        PairError
            The guide has no such site in the data plate.
        """
        if name not in self.q:
            known = ", ".join(self.q) or "none"
            seen, cure = f"no latent site '{name}' in the data plate", f"one of: {known}"
            raise PairError(name, seen, "the name of a latent site", cure)
        value: Tensor = self.q[name]["value"]
        return value

    def kl(self, name: str, per: Per = "total", closed_form: bool = True) -> Tensor:
        """Return KL(q || p) of a latent site in nats, (B, J): every element, step, or the total.

        A step is an entry of the first of two event dims or more, and of plates within the data
        plate; a site whose event is a vector has one. Masked entries are 0.

        Raises
        ------
        PairError
            As `codes`; or the site does not fall apart that far.
        """
        self.codes(name)
        if name not in self.p:
            cure = "one of: " + ", ".join(n for n in self.q if n in self.p)
            raise PairError(name, "a site of the guide alone", "a latent site of both", cure)
        parts = divergence_parts(self.q[name], self.p[name], closed_form)
        return parts.per(per, self.q[name], self.plate)[0]

    def observed(self) -> Tensor:
        """Return log p(x | z) of the sites observed in the data plate, (B,) in nats."""
        terms = [
            to_plate(log_density(site), site, self.plate or "")
            for site in self.p.values()
            if site["is_observed"] and in_plate(site, self.plate or "")
        ]
        return torch.stack(terms).sum(0)

    def mean(self, term: Tensor, site: Any) -> Tensor:
        """Return what a term over a site's batch adds to a bound, per observation."""
        if self.plate is not None and in_plate(site, self.plate):
            return to_plate(term, site, self.plate).mean()
        return term.sum() / self.data_size

    def detached(self) -> View:
        """Return the same draw as constants, for critics to learn from."""
        parts = (self.q, self.p, self.guide_sites)
        q, p, guide_sites = ({n: _constant(s) for n, s in sites.items()} for sites in parts)
        return replace(self, q=q, p=p, guide_sites=guide_sites)


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a bound, per observation: ``-(distortion + sum of rates)``.

    ``rates`` has of each latent site the mean KL over the batch, (J,) as it was asked for, and
    ``shares`` the part of the batch that has each of the J (1 without masks). Latents that have
    one posterior together are one entry, their names joined.
    """

    distortion: Tensor
    rates: dict[str, Tensor]
    shares: dict[str, Tensor]

    @property
    def rate(self) -> Tensor:
        """The sum of all rates: nats per observation."""
        return total(self.rates.values(), self.distortion)


def total(rates: Iterable[Tensor], like: Tensor) -> Tensor:
    """Return the sum of rates; 0 if there is none."""
    return sum((rate.sum() for rate in rates), torch.zeros_like(like))


def average(parts: Sequence[Terms]) -> Terms:
    """Return the mean of the terms of several draws."""
    if len(parts) == 1:
        return parts[0]
    rates = {n: torch.stack([t.rates[n] for t in parts]).mean(0) for n in parts[0].rates}
    shares = {n: torch.stack([t.shares[n] for t in parts]).mean(0) for n in parts[0].shares}
    return Terms(torch.stack([t.distortion for t in parts]).mean(), rates, shares)


def look(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    data_size: int,
    step: int = 0,
) -> View:
    """Draw once from a guide, and run its model on the draw.

    With Pyro's validation on, its own checks of shapes and sites are made.

    Raises
    ------
    PairError
        A latent site that is summed out, that the guide does not name, or that is drawn in no
        differentiable way: the terms of its bound are not those of one draw.
    """
    if shape.enumerated:
        cure = "a plain Objective, kind='iwae', or a guide that draws this site"
        raise _no_view(shape.enumerated[0], "a site that is summed out", cure)
    q, p = _run(model, guide, args, kwargs, shape)
    refuse_pathless(q, p)
    frame = shape.plate
    plate = None if frame is None else frame.name
    latent = {n: site for n, site in q.items() if not site["is_observed"]}
    inside = {n: s for n, s in latent.items() if plate is not None and in_plate(s, plate)}
    batch = 1 if frame is None else frame.size
    return View(model, guide, args, kwargs, step, data_size, batch, inside, p, plate, q)


def terms(view: View, closed_form: bool, per: Mapping[str, Per] | None = None) -> Terms:
    """Return the terms of a view's bound.

    Parameters
    ----------
    view
        A draw.
    closed_form
        Take KL divergences in closed form where there is one.
    per
        Sites whose rate is wanted in parts, and always in closed form where there is one.

    Raises
    ------
    PairError
        A site to take apart that is no latent site of both, or does not fall apart that far.
    """
    per = per or {}
    own = {n: s for n, s in view.guide_sites.items() if n not in view.p}
    fixed = [s for s in own.values() if is_fixed(s)]
    extra = [s for s in own.values() if not is_fixed(s)]
    distortion = sum(
        [-view.mean(log_density(s), s) for s in view.p.values() if s["is_observed"]]
        + [view.mean(log_density(s), s) for s in fixed]
    )
    latent = [n for n, s in view.p.items() if not s["is_observed"]]
    for name in per:
        if name not in latent or extra:
            seen = "one posterior for several sites" if name in latent else "no such latent site"
            raise PairError(name, seen, f"one of: {', '.join(latent)}", "leave it out of sites=")
    rates: dict[str, Tensor] = {}
    shares: dict[str, Tensor] = {}
    for name in latent:
        q, p = view.guide_sites[name], view.p[name]
        if name in per:
            values, weights = divergence_parts(q, p, True).per(per[name], q, view.plate)
            count = view.batch if name in view.q else view.data_size
            rates[name], shares[name] = values.sum(0) / count, weights.sum(0) / count
        else:
            rates[name] = view.mean(divergence(q, p, closed_form), q)[None]
    if extra:
        alone = [view.mean(log_density(site), site) for site in extra]
        pooled = torch.stack([rate.sum() for rate in rates.values()] + alone).sum(0, keepdim=True)
        names = " + ".join([*latent, *(s["name"] for s in extra)])
        rates = {names: pooled}
    return Terms(torch.as_tensor(distortion), rates, shares)


def log_density(site: Any) -> Tensor:
    """Return a site's log density over its batch, as scale and mask let it count."""
    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return torch.as_tensor(scale_and_mask(log_prob, site["scale"], site["mask"]))


def _run(
    model: Any, guide: Any, args: Any, kwargs: Any, shape: Layout
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sample sites of guide and model, those that plates make apart."""
    if is_validation_enabled() or isinstance(poutine.unwrap(guide), GuideMessenger):
        elbo = Trace_ELBO(max_plate_nesting=shape.max_plate_nesting)
        told, drawn = elbo._get_trace(model, guide, args, kwargs)
        return plain_sites(drawn.nodes), plain_sites(told.nodes)
    with Sites() as q:
        guide(*args, **kwargs)
    with Sites(q.sites) as p:
        model(*args, **kwargs)
    return plain_sites(q.sites), plain_sites(p.sites)


def plain_sites(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sample sites among the nodes of a run, those that plates make apart."""
    return {
        name: node
        for name, node in nodes.items()
        if node["type"] == "sample" and not site_is_subsample(node)
    }


def is_fixed(site: Any) -> bool:
    """Whether a site is no draw: data, or a factor. No KL weight reaches it."""
    return bool(site["is_observed"]) and not site["infer"].get("is_auxiliary")


def refuse_pathless(q: Mapping[str, Any], p: Mapping[str, Any]) -> None:
    """Refuse latent sites that are not drawn by the guide as a function of noise.

    Raises
    ------
    PairError
        Naming the site.
    """
    for name, site in q.items():
        if not site["is_observed"] and not getattr(site["fn"], "has_rsample", False):
            cure = "a distribution with rsample, or a plain Objective (kind='trace')"
            raise _no_view(name, "a draw that is no differentiable function of noise", cure)
    for name, site in p.items():
        if not site["is_observed"] and name not in q:
            raise _no_view(name, "a latent site that the guide does not name", "add it there")


def _constant(site: Any) -> Any:
    value = site["value"]
    return {**site, "value": value.detach() if isinstance(value, Tensor) else value}


def _no_view(name: str, seen: str, cure: str) -> PairError:
    expected = "a draw of every latent site by the guide, with rsample"
    return PairError(name, seen, expected, cure)
