r"""Simulation-based calibration: whether the guide is right on data that the model made.

Draw latents and data from the model, then L draws of the guide given the data. If the guide is the
posterior, the rank of the true latent among its draws is uniform on 0..L (Talts et al. 2018,
"Validating Bayesian inference algorithms with simulation-based calibration", theorem 1). An
amortised guide needs no refitting, one pass a simulated data set is enough. Ranks that pile up at
both ends say that the guide is too narrow; in the middle, too wide; at one end, biased.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyro
import torch
from pyro import poutine
from torch import Tensor

from inference.diagnostics.replace import Replacement, replacements
from inference.diagnostics.simulated import refuse_uncalibrated
from inference.diagnostics.table import table
from inference.errors import PairError
from inference.tracing import Sampler, Unconditioned, node, sampling, stack_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Latents = dict[str, Tensor]
Quantity = Callable[[Latents], Tensor]
_EXPECTED = 10  # simulations expected in a bin of the test, at least


@dataclass(frozen=True)
class SBC:
    """Ranks of true latents among a guide's draws.

    Parameters
    ----------
    ranks
        By site (or quantity), ``(simulations, dims)``: integers from 0 to `draws`, ties broken at
        random. Dims are the site's plates other than the data plate and its event, flattened.
        -1 where a mask says that there is nothing: at frames after a sequence's end.
    draws
        L, the number of the guide's draws that the truth is ranked among.
    seed
        Where the uniform noise of `pvalues` begins.
    """

    ranks: dict[str, Tensor]
    draws: int
    seed: int = 0

    def uniform(self, site: str) -> Tensor:
        """Return ``(rank + U) / (L + 1)`` with U uniform: exactly uniform for a right guide.

        NaN where there is nothing to rank.
        """
        ranks = self._ranks(site).double()
        noise = torch.Generator().manual_seed(self.seed)
        jitter = torch.rand(ranks.shape, generator=noise, dtype=torch.double)
        return ((ranks + jitter) / (self.draws + 1)).masked_fill(ranks < 0, math.nan)

    def pvalues(self, site: str) -> Tensor:
        """Return a p-value a dim, ``(dims,)``: a chi-square test of uniform ranks.

        The ranks are put in up to 20 bins with ten or more expected in each. NaN for a dim that
        fewer than 20 simulations have: no test of it has any power.
        """
        return torch.stack([self._pvalue(dim[~dim.isnan()]) for dim in self.uniform(site).T])

    def _pvalue(self, uniform: Tensor) -> Tensor:
        count = len(uniform)
        if count < 2 * _EXPECTED:
            return torch.tensor(math.nan).double()
        bins = max(2, min(20, self.draws + 1, count // _EXPECTED))
        seen = (uniform * bins).long().clamp(max=bins - 1).bincount(minlength=bins).double()
        statistic = ((seen - count / bins) ** 2).sum() / (count / bins)
        return torch.special.gammaincc(torch.tensor((bins - 1) / 2).double(), statistic / 2)

    def pvalue(self, site: str | None = None) -> float:
        """Return one p-value for a site, or for all of them.

        Dims (and sites) of one simulation depend on each other, so the smallest p-value is
        multiplied by their number (Bonferroni): right under any dependence. NaN if no dim could be
        tested.
        """
        sites = list(self.ranks) if site is None else [site]
        values = torch.cat([self.pvalues(name) for name in sites])
        values = values[~values.isnan()]
        return min(1.0, float(values.min()) * len(values)) if len(values) else math.nan

    def __str__(self) -> str:
        numbers = ("dims", "5d"), ("simulations", "11d"), ("mean rank", "9.3f"), ("p", "8.2g")
        rows = [
            (name, r.shape[1], len(r), float(self.uniform(name).nanmean()), self.pvalue(name))
            for name, r in self.ranks.items()
        ]
        lines = table([("site", "<"), *numbers], rows)
        return "\n".join([*lines, f"ranks among {self.draws} draws; 0.5 is the right mean rank"])

    def plot(
        self,
        site: str | None = None,
        ax: Axes | None = None,
        kind: Literal["ecdf", "histogram"] = "ecdf",
    ) -> Axes:
        """Plot the ranks of a site, a line a dim; a right guide stays within the band.

        Parameters
        ----------
        site
            The site; may be left out if there is one.
        ax
            Matplotlib axes; a figure of its own by default (``.figure``).
        kind
            ``ecdf``: the empirical distribution minus the uniform one, with a band that holds a
            right guide's whole line 95 % of the time (Säilynoja, Bürkner and Vehtari 2022,
            "Graphical test for discrete uniformity", section 2.2). ``histogram``: counts, with the
            band that holds 95 % of a right guide's single counts.
        """
        from inference.diagnostics.sbc_plots import plot_ecdf, plot_histogram

        site = self._only(site)
        draw = {"ecdf": plot_ecdf, "histogram": plot_histogram}[kind]
        return draw(self.uniform(site), self.draws, site, ax, self.seed)

    def _ranks(self, site: str) -> Tensor:
        if site not in self.ranks:
            raise KeyError(f"{site!r}: no such site, there are {list(self.ranks)}")
        return self.ranks[site]

    def _only(self, site: str | None) -> str:
        if site is None and len(self.ranks) != 1:
            raise ValueError(f"site: name one of {list(self.ranks)}")
        return next(iter(self.ranks)) if site is None else site


def sbc(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    simulations: int = 1000,
    num_samples: int = 99,
    seed: int = 0,
    quantities: Mapping[str, Quantity] | None = None,
    replace: Mapping[str, int | str] | None = None,
    plate: str | None = None,
    **named: Any,
) -> SBC:
    """Calibrate an amortised guide on data simulated from the model, without refitting.

    When every latent lives in the data plate each datum is a simulation of its own, B of them a
    pass. With a latent outside it, one simulation is a whole data set, and of the local latents
    only one datum a data set is ranked, since those of one data set depend on each other.

    Parameters
    ----------
    model, guide
        Any pair; the guide must read the data it is given (an AutoGuide does not: it would have
        to be fitted again to each simulation).
    *data, **named
        Data, as the pair takes them: their shapes, masks and covariates are kept, observed values
        are replaced by simulated ones.
    simulations
        How many, at least; rounded up to whole data sets.
    num_samples
        L, the guide's draws a simulation. They are independent: no thinning is needed.
    seed
        Where simulation begins.
    quantities
        Further quantities to rank, by name: functions of a dict of latents, each
        ``(R, plates..., event...)`` with R draws (L, or 1 for the truth), that return ``(R, ...)``
        and keep the data plate's axis where they keep it apart: ``(R, B, ...)``. Latents are 0
        where a mask says that there is nothing.
    replace
        For an observed site whose value is not itself an argument: the index or the name of the
        argument that simulated values go into.
    plate
        The name of the data plate, when it is ambiguous.

    Raises
    ------
    PairError
        No argument is a site's observed value (name it in `replace`); an AutoGuide, which reads no
        data; a model whose data cannot be simulated (flat priors, factors, ``poutine.scale``).
    ValueError
        Fewer than 20 simulations: no test has any power.
    """
    if simulations < 2 * _EXPECTED:
        raise ValueError(f"simulations: saw {simulations}, expected at least {2 * _EXPECTED}")
    with sampling(model, guide, data, named, seed, plate) as sampler:
        refuse_uncalibrated(sampler)
        study = _Study(sampler, num_samples, dict(quantities or {}), dict(replace or {}))
        runs = math.ceil(simulations / study.each)
        found = [study.run(index) for index in range(runs)]
    return SBC(
        {name: stack_draws([f[name] for f in found]) for name in found[0]}, num_samples, seed
    )


class _Study:
    """One pair's calibration: simulate, draw, rank."""

    def __init__(
        self,
        sampler: Sampler,
        num_samples: int,
        quantities: dict[str, Quantity],
        replace: dict[str, int | str],
    ) -> None:
        self.sampler, self.draws, self.quantities = sampler, num_samples, quantities
        self.names = [*sampler.latents, *sampler.enumerated]
        self.replace: list[Replacement] = replacements(sampler, replace)
        self.local = all(self._axis(name) is not None for name in self.names)
        self.each = sampler.plate.size if self.local and sampler.plate else 1
        self.masks = {name: self._mask(name) for name in self.names}

    def run(self, index: int) -> dict[str, Tensor]:
        """Simulate one data set; return ranks by name, ``(simulations, dims)``."""
        forward: Any = Unconditioned()(self.sampler.model)
        trace = poutine.trace(forward).get_trace(*self.sampler.args, **self.sampler.kwargs)
        sampler = self._on(trace)
        places = sampler.places
        truth = {n: places[n].value(node(trace, n)["value"], 1).cpu() for n in self.names}
        mode: Literal["sampled", "plain"] = "sampled" if sampler.enumerated else "plain"
        parts = [{n: t.value(n) for n in self.names} for t in sampler.chunks(self.draws, mode)]
        drawn = {n: stack_draws([part[n] for part in parts]) for n in self.names}
        truth, drawn = self._cleaned(truth), self._cleaned(drawn)
        ranks = {
            n: self._rank(drawn[n], truth[n], self._axis(n), index, self.masks[n])
            for n in self.names
        }
        for name, quantity in self.quantities.items():
            axis = self._axis_of_quantity(name, quantity(truth))
            ranks[name] = self._rank(quantity(drawn), quantity(truth), axis, index)
        return ranks

    def _on(self, trace: pyro.poutine.Trace) -> Sampler:
        """Return the pair with simulated data in place of its own."""
        call = self.sampler.args, self.sampler.kwargs
        for item in self.replace:
            call = item.put(*call, node(trace, item.site)["value"].detach())
        return self.sampler.with_data(*call)

    def _mask(self, name: str) -> Tensor | None:
        mask = self.sampler.mask(name)
        return None if mask is None else mask.cpu()

    def _cleaned(self, values: Latents) -> Latents:
        """Put zeros where nothing is, so that no quantity reads what a guide left there."""
        masks = self.masks
        return {
            name: value if (mask := masks[name]) is None else value.masked_fill(~mask, 0)
            for name, value in values.items()
        }

    def _axis(self, name: str) -> int | None:
        plate = self.sampler.plate
        return self.sampler.places[name].axis(plate.name) if plate else None

    def _axis_of_quantity(self, name: str, value: Tensor) -> int | None:
        plate = self.sampler.plate
        if plate and value.dim() > 1 and value.shape[1] == plate.size:
            return 1
        if self.local:
            raise PairError(
                site=name,
                found=f"a quantity of shape {tuple(value.shape)}",
                expected=f"(R, {plate.size if plate else 'B'}, ...): a number a datum",
                cure="keep the first two axes of the latents it is computed from",
            )
        return None

    def _rank(
        self,
        drawn: Tensor,
        truth: Tensor,
        axis: int | None,
        index: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Rank truths ``(1, ...)`` among draws ``(L, ...)``, ties at random: ``(sims, dims)``."""
        below = (drawn < truth).sum(0)
        ties = (drawn == truth).sum(0)
        ranks = below + (torch.rand(ties.shape) * (ties + 1)).long()
        ranks = ranks if mask is None else ranks.masked_fill(~mask, -1)
        if axis is None:
            return ranks.reshape(1, -1)
        ranks = ranks.movedim(axis - 1, 0).flatten(1) if ranks.dim() > 1 else ranks.unsqueeze(1)
        return ranks if self.local else ranks[index % len(ranks)].unsqueeze(0)
