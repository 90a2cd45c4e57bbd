r"""The terms of a pair's bound: a table with a row a site, of one run of guide and model.

.. math:: \log \frac{p(x, z)}{q(z \mid x)}
    = \sum_\text{observed} \log p - \sum_\text{latent} \Big( \log q - \log p \Big)

Every bound, rate and importance weight is a few lines over this table.

**Scales.** A ``poutine.scale`` that the user wrote, on a site of the model or of the guide, is part
of the pair: it multiplies the site's term in everything that speaks of the bound (`check`, `fit`,
`Objective.bound`, `importance`, `rates`, ...), as in Pyro's own ELBOs. Only one scale is taken out
again: the N / B of a data plate that subsamples itself, where a figure is one datum's. What is
asked of a distribution and not of a bound (`mutual_information`, the ``log_likelihood`` of
`posterior`) is that of the distribution, without scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from pyro.distributions.util import is_identically_one, scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from torch import Tensor

from inference.errors import PairError
from inference.tracing.sites import (
    Site,
    is_deterministic,
    refuse_nonfinite,
    unscaled_log_density,
)

TermKind = Literal["observed", "latent", "enumerated", "deterministic"]


class Term(NamedTuple):
    """One row: a site in the model (``p``), in the guide (``q``), or, if it is latent, in both.

    ``kind`` is ``"observed"`` for whatever is no draw, factors and the guide's own data included;
    ``"latent"`` for what the guide draws; ``"enumerated"`` for the model's draws without a guide.
    """

    name: str
    kind: TermKind
    p: Site | None
    q: Site | None

    @property
    def site(self) -> Site:
        """The site in the model; in the guide, if that alone has it."""
        site = self.q if self.p is None else self.p
        assert site is not None
        return site

    @property
    def scale(self) -> Any:
        """What the term is multiplied by: of the user's handlers, and of subsampling plates."""
        return self.site["scale"]

    @property
    def mask(self) -> Any:
        """Which entries count; None if all do."""
        return self.site["mask"]

    @property
    def plates(self) -> tuple[CondIndepStackFrame, ...]:
        """The plates around the site."""
        return tuple(self.site["cond_indep_stack"])


def rows_of(q: Mapping[str, Site], p: Mapping[str, Site]) -> list[Term]:
    """Pair up the sample sites of a run of guide and model."""
    rows = []
    for name, site in p.items():
        if is_deterministic(site):
            rows.append(Term(name, "deterministic", site, None))
        elif site["is_observed"]:
            rows.append(Term(name, "observed", site, None))
        else:
            rows.append(Term(name, "latent" if name in q else "enumerated", site, q.get(name)))
    for name, site in q.items():
        if not is_deterministic(site) and (name not in p or p[name]["is_observed"]):
            rows.append(Term(name, "observed" if is_fixed(site) else "latent", None, site))
    return rows


def is_fixed(site: Site) -> bool:
    """Whether a site is no draw: data, or a factor. No KL weight reaches it."""
    return bool(site["is_observed"]) and not site["infer"].get("is_auxiliary")


def log_density(site: Site, plate: str | None = None) -> Tensor:
    """Return a site's log density over its batch, scaled and masked as in Pyro's bounds.

    Parameters
    ----------
    site
        A site of a run; where its density was computed already (``trace.compute_log_prob``), that
        is returned.
    plate
        The data plate, whose N / B is taken out, if it subsamples itself: for a datum's own term.
    """
    log_prob = site.get("log_prob")
    if log_prob is None:
        log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        log_prob = scale_and_mask(log_prob, site["scale"], site["mask"])
    share = subsampled_share(site, plate)
    return torch.as_tensor(log_prob if share == 1.0 else log_prob * share)


def frame_of(site: Site, plate: str | None) -> CondIndepStackFrame | None:
    """Return a site's frame of the plate of this name; None if it is outside."""
    for frame in site["cond_indep_stack"]:
        if frame.name == plate:
            return frame
    return None


def subsampled_share(site: Site, plate: str | None) -> float:
    """B / N of a plate around a site that subsamples itself; 1 for any other."""
    frame = frame_of(site, plate)
    if frame is None or frame.full_size is None:
        return 1.0
    return frame.size / frame.full_size


def scale_of(site: Site, plate: str | None) -> Any:
    """A site's scale, the data plate's N / B taken out."""
    return site["scale"] * subsampled_share(site, plate)


def to_plate(
    values: Tensor, site: Site, plate: str | None, draws: int | None = None, nesting: int = 0
) -> Tensor:
    """Sum a site's term to the elements of the data plate.

    Parameters
    ----------
    values
        Over the batch shape of the site, aligned on the right.
    site
        Where the plates are read.
    plate
        Its name; None, or a plate that the site is not in, sums over everything.
    draws, nesting
        S of an outer plate of draws, and the batch dims to its right; None without one.

    Returns
    -------
    Tensor
        Shape (S, B): without S where there are no draws, without B outside the plate.
    """
    frame = frame_of(site, plate)
    kept = [] if draws is None else [(-nesting - 1, draws)]
    kept += [] if frame is None or frame.dim is None else [(frame.dim, frame.size)]
    if not kept:
        return values.sum()
    shape = [1] * max(-dim for dim, _ in kept)
    for dim, size in kept:
        shape[dim] = size
    values = values.expand(torch.broadcast_shapes(values.shape, tuple(shape)))
    values = values.movedim([dim for dim, _ in kept], list(range(len(kept))))
    values = values.reshape(*(size for _, size in kept), -1)
    return values[..., 0] if values.shape[-1] == 1 else values.sum(-1)


@dataclass(frozen=True, eq=False)
class Terms:
    """The table.

    Parameters
    ----------
    rows
        The model's sites in their order, then those of the guide alone.
    plate
        The name of the data plate; None if there is none.
    draws, nesting
        S of an outer plate of draws, and the batch dims to its right.
    trace
        The model's trace, where sites may be enumerated (`inference.tracing.sum_product`). Then
        the terms are to be judged, not trained on: they are in double precision, and a density that
        is NaN or plus infinity raises `NonFiniteError`. (Training wants neither: it looks at the
        loss, and a device would have to wait for the look.)
    """

    rows: tuple[Term, ...]
    plate: str | None = None
    draws: int | None = None
    nesting: int = 0
    trace: Trace | None = None

    @cached_property
    def dense(self) -> dict[str, Tensor]:
        """Log densities of the model's sites, by name, that depend on no enumerated site."""
        free = {name: v for name, v in self._unscaled.items() if v.dim() <= self._depth}
        scales = {name: scale_of(self.site(name), self.plate) for name in free}
        return {n: v if is_identically_one(scales[n]) else v * scales[n] for n, v in free.items()}

    @cached_property
    def summed(self) -> dict[str, Tensor]:
        """Factors of a sum, by name: the sites that are enumerated, or depend on one that is.

        Masked, but without scales: a scale is that of the sum (`sum_product.contract`).
        """
        return {name: value for name, value in self._unscaled.items() if value.dim() > self._depth}

    @property
    def _depth(self) -> int:
        """Batch dims of plates and draws: enumeration uses those to their left."""
        return self.nesting + (self.draws is not None)

    @cached_property
    def _unscaled(self) -> dict[str, Tensor]:
        rows = [row for row in self.rows if row.p is not None and row.kind != "deterministic"]
        return {row.name: unscaled_log_density(row.site).double() for row in rows}

    def site(self, name: str) -> Site:
        """Return a site of the model by name."""
        return self._sites[name]

    @cached_property
    def _sites(self) -> dict[str, Site]:
        return {row.name: row.p for row in self.rows if row.p is not None}

    def log_density(self, site: Site) -> Tensor:
        """Return a site's log density, the data plate's N / B taken out."""
        log_prob = log_density(site, self.plate)
        if self.trace is None:
            return log_prob
        return refuse_nonfinite(log_prob, site).double()

    def reduce(self, values: Tensor, site: Site, joint: bool = False) -> Tensor:
        """Sum a site's term to (S, B); to (S,) if ``joint``, or if there is no data plate.

        Raises
        ------
        PairError
            The site is outside the data plate.
        """
        if joint or self.plate is None:
            return to_plate(values, site, None, self.draws, self.nesting)
        if frame_of(site, self.plate) is None:
            raise outside(site["name"], self.plate)
        return to_plate(values, site, self.plate, self.draws, self.nesting)

    def observed(self) -> Tensor:
        """Return log p(x | z), the sum of the observed sites' terms, where none is enumerated."""
        rows = [row for row in self.rows if row.kind == "observed"]
        return self._sum([(row.site, -1 if row.p is None else 1) for row in rows])

    def log_ratio(self) -> Tensor | None:
        """Return log q(z) - log p(z) of all latent sites, where none is enumerated; None if no."""
        rows = [row for row in self.rows if row.kind == "latent"]
        sides = [(site, sign) for row in rows for site, sign in ((row.q, 1), (row.p, -1))]
        signed = [(site, sign) for site, sign in sides if site is not None]
        return self._sum(signed) if signed else None

    def _sum(self, signed: list[tuple[Site, int]]) -> Tensor:
        terms = [sign * self.reduce(self.log_density(s), s) for s, sign in signed]
        return torch.stack(terms).sum(0)


def outside(name: str, plate: str) -> PairError:
    """Make the error for a site that is not in the data plate."""
    return PairError(
        site=name,
        found=f"a site outside the data plate {plate!r}",
        expected="every site inside it, so that each datum has its own weight",
        cure="move the site into the plate, or ask for joint weights (joint=True)",
    )
