"""One differentiable draw of a pair on a batch: what penalties and critics are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from inference.errors import PairError
from inference.objectives.kl import Per, divergence_parts
from inference.tracing import Layout, Term, Terms, frame_of, rows_of, run_pair, to_plate


@dataclass(frozen=True, eq=False, repr=False)
class PairTrace:
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
            found = f"no latent site '{name}' in the data plate"
            raise PairError(name, found, "the name of a latent site", f"one of: {known}")
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

    @property
    def terms(self) -> Terms:
        """The table of all terms of the bound at this draw."""
        return Terms(tuple(rows_of(self.guide_sites, self.p)), self.plate)

    def observed(self) -> Tensor:
        """Return log p(x | z) of the sites observed in the data plate, (B,) in nats."""
        sites = [s for s in self.p.values() if s["is_observed"] and frame_of(s, self.plate)]
        terms = self.terms
        return torch.stack([terms.reduce(terms.log_density(s), s) for s in sites]).sum(0)

    def mean(self, term: Tensor, site: Any) -> Tensor:
        """Return what a term over a site's batch adds to a bound, per observation."""
        total = to_plate(term, site, self.plate)
        return total.mean() if total.dim() else total / self.data_size

    def detached(self) -> PairTrace:
        """Return the same draw as constants, for critics to learn from."""
        parts = (self.q, self.p, self.guide_sites)
        q, p, guide_sites = ({n: _constant(s) for n, s in sites.items()} for sites in parts)
        return replace(self, q=q, p=p, guide_sites=guide_sites)


def trace_pair(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    data_size: int,
    step: int = 0,
) -> PairTrace:
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
        raise _no_terms(shape.enumerated[0], "a site that is summed out", cure)
    q, p = run_pair(model, guide, args, kwargs, shape.max_plate_nesting)
    refuse_pathless(rows_of(q, p))
    frame = shape.plate
    plate = None if frame is None else frame.name
    inside = {n: s for n, s in q.items() if not s["is_observed"] and frame_of(s, plate)}
    batch = 1 if frame is None else frame.size
    return PairTrace(model, guide, args, kwargs, step, data_size, batch, inside, p, plate, q)


def refuse_pathless(rows: Iterable[Term], summed: bool = False) -> None:
    """Refuse latent sites that are not drawn by the guide as a function of noise.

    Parameters
    ----------
    rows
        Of a run.
    summed
        Whether sites that the guide does not name are summed out.

    Raises
    ------
    PairError
        Naming the site.
    """
    for row in rows:
        q = row.q
        if q is not None and not q["is_observed"] and not getattr(q["fn"], "has_rsample", False):
            cure = "a distribution with rsample, or a plain Objective (kind='trace')"
            raise _no_terms(row.name, "a draw that is no differentiable function of noise", cure)
        if row.kind == "enumerated" and not summed:
            raise _no_terms(row.name, "a latent site that the guide does not name", "add it there")


def _constant(site: Any) -> Any:
    value = site["value"]
    value = value.detach() if isinstance(value, Tensor) else value
    return {**site, "value": value, "log_prob": None}  # else the draw's own, with its gradient


def _no_terms(name: str, found: str, cure: str) -> PairError:
    expected = "a draw of every latent site by the guide, with rsample"
    return PairError(name, found, expected, cure)
