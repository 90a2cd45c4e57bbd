r"""Does a pair's posterior collapse? Rates, information, units, and who is to blame, in one table.

A bound is minus distortion minus rate, and says nothing of how the two share it: of two pairs with
equal bounds one may use its latents, and the other not (Alemi et al. 2018, "Fixing a broken ELBO",
section 4; He et al. 2019, "Lagging inference networks", section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from inference.diagnostics.aggregate import Contrast, contrasts, drawn_sites, local_plate
from inference.diagnostics.amortisation import Gap, amortisation_gap
from inference.diagnostics.figures import axes_row
from inference.diagnostics.importance import importance
from inference.diagnostics.information import Information, log_ratio
from inference.diagnostics.rates import Rates, rates
from inference.diagnostics.table import table
from inference.diagnostics.units import SiteReport, units
from inference.randomness import derive
from inference.tracing import (
    Columns,
    Sampler,
    batch_length,
    bind,
    mean_and_error,
    sampling,
    stack_draws,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COMPARED = 5  # draws that each datum compares with all data


@dataclass(frozen=True)
class CollapseReport:
    """What a pair's latents cost, carry and lose; ``print`` it, or ``plot()`` it.

    Parameters
    ----------
    rates
        The bound, site by site.
    information
        I_q(x; z) of all latents together, and the marginal term.
    sites
        The guide's sites: their information, and their units.
    iwae, iwae_error, particles
        The importance weighted bound of so many draws, and its standard error over the data.
    gap
        The amortisation gap; None where no site of the guide has a location and a scale.
    """

    rates: Rates
    information: Information
    sites: tuple[SiteReport, ...]
    iwae: float
    iwae_error: float
    particles: int
    gap: Gap | None

    @property
    def rate(self) -> float:
        """Nats a datum of all latents, enumerated ones included."""
        return sum(row.nats for row in self.rates.rows if row.kind == "rate")

    @property
    def distortion(self) -> float:
        """Nats a datum of all observed sites."""
        return sum(row.nats for row in self.rates.rows if row.kind == "distortion")

    @property
    def collapsed(self) -> bool:
        """Whether the latents carry less than 0.1 nat of a datum."""
        return self.information.nats < COLLAPSED

    @property
    def verdict(self) -> str:
        """What the numbers say, in words."""
        return " ".join(verdict_of(self))

    def __str__(self) -> str:
        shown = self.information
        columns = ("site", "<"), ("information", "12.4f"), ("s.e.", "8.4f"), ("active units", "<")
        rows = [
            (s.site, s.information, s.error, f"{s.active} of {len(s.units)}{s.idle}")
            for s in self.sites
        ]
        lines = [
            *(str(self.rates), "", *table(columns, rows), ""),
            f"information I_q(x; z)    {shown.nats:10.4f} +- {shown.error:.4f}"
            f"  (at most {shown.upper:.4f} +- {shown.upper_error:.4f})",
            f"marginal KL(q(z)||p(z))  {shown.marginal_kl:10.4f}",
            f"bound, {self.particles} draws{'':<{11 - len(str(self.particles))}}"
            f"{self.iwae:10.4f} +- {self.iwae_error:.4f}",
        ]
        if self.gap is None:
            lines.append("amortisation gap         not defined: no site of location and scale")
        else:
            lines.append(
                f"amortisation gap         {self.gap.nats:10.4f} +- {self.gap.error:.4f}"
                f"  ({self.gap.size} data)"
            )
        return "\n".join([*lines, "", self.verdict])

    def plot(self, ax: Sequence[Axes] | None = None) -> list[Axes]:
        """Plot the units' rates (or spreads), and where the bound goes; returns the two axes."""
        left, right = panels = axes_row(ax, 2)
        found = [unit for site in self.sites for unit in site.units]
        priced = all(unit.rate is not None for unit in found)
        found.sort(key=lambda u: -(u.rate or 0.0) if priced else -u.spread)
        heights = [(u.rate or 0.0) if priced else u.spread for u in found]
        colours = ["C0" if unit.active else "0.75" for unit in found]
        left.bar(range(len(found)), heights, color=colours)
        what = "rate (nats)" if priced else "variance of posterior mean"
        left.set(xlabel="unit, in order (grey: not active)", ylabel=what)
        parts = {
            "rate": self.rate,
            "information": self.information.nats,
            "marginal KL": self.information.marginal_kl,
            "tightening by draws": self.iwae - self.rates.bound,
        }
        parts |= {"amortisation gap": self.gap.nats} if self.gap else {}
        right.barh(list(parts), list(parts.values()), color="C1")
        right.invert_yaxis()  # read from the top
        right.set(xlabel="nats a datum", title=self.verdict.partition(".")[0])
        return panels


def collapse_report(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 20,
    num_particles: int = 100,
    most: int = 1000,
    optimised: int = 64,
    steps: int = 150,
    seed: int = 0,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> CollapseReport:
    """Say what a pair's latents cost, what they carry, and what its encoder loses.

    Parameters
    ----------
    model, guide
        Any pair whose latents are in a data plate; enumerated sites outside the guide are summed.
    *data, **named
        The data, as the pair takes them: best some that it was not trained on.
    num_samples
        Of the guide, that rates and units are averaged over.
    num_particles
        K of the importance weighted bound.
    most
        Data, taken at random, that information and units are measured on: its cost is the square.
    optimised
        Data, taken at random, that get a posterior of their own.
    steps
        Of its optimisation.
    seed
        Where draws begin.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws held at a time.

    Raises
    ------
    PairError
        The pair has no data plate, or a latent outside of it: what is said here is said of a datum.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    model, guide = bind(model, guide, *data, **named)
    whole = Columns(data, named, batch_length(data, named))
    some, few = (_some(whole, size, seed) for size in (most, optimised))
    with sampling(model, guide, some.args, some.kwargs, seed, plate) as sampler:
        sites, information = _sites(sampler, num_samples, chunk)
    with sampling(model, guide, few.args, few.kwargs, seed, plate) as sampler:
        gap = amortisation_gap(sampler, seed, steps)
    how: dict[str, Any] = {"seed": seed, "plate": plate, "chunk": chunk}
    lean = {"num_samples": num_particles, "keep_draws": False, **how}
    weights = importance(model, guide, *data, **lean, **named)
    return CollapseReport(
        rates=rates(model, guide, *data, num_samples=num_samples, **how, **named),
        information=information,
        sites=sites,
        iwae=weights.iwae_mean[0],
        iwae_error=weights.iwae_mean[1],
        particles=num_particles,
        gap=gap,
    )


def _some(data: Columns, size: int, seed: int) -> Columns:
    """Take rows at random; all of them, in their order, where there are no more."""
    if data.size <= size:
        return data
    generator = torch.Generator().manual_seed(derive(seed, "rows"))
    return data.rows(torch.randperm(data.size, generator=generator)[:size].sort().values)


def _sites(
    sampler: Sampler, num_samples: int, chunk: int | None
) -> tuple[tuple[SiteReport, ...], Information]:
    """Share the information out among sites, what each adds to those before it; and all of it."""
    plate, names = local_plate(sampler), drawn_sites(sampler, None)
    held = list(sampler.chunks(num_samples, "summed", chunk))
    groups = [names[: k + 1] for k in range(len(names))]
    rows, ratios = [], []
    for traces in sampler.chunks(min(num_samples, _COMPARED), "summed"):
        rows.append(contrasts(sampler, traces, groups, chunk))
        ratios.append(log_ratio(sampler, traces))
    joined = [
        Contrast(
            stack_draws([c.all for c in column]),
            stack_draws([c.others for c in column]),
            column[0].peers,
        )
        for column in zip(*rows, strict=True)
    ]
    reports, before = [], torch.zeros(plate.size, dtype=torch.double)
    for name, contrast in zip(names, joined, strict=True):
        total = contrast.all.mean(0)
        parts = tuple(units(sampler, held, name, plate))
        reports.append(SiteReport(name, *mean_and_error(total - before), parts))
        before = total
    return tuple(reports), Information.of(joined[-1], stack_draws(ratios), names)


COLLAPSED = 0.1  # nats: a rate, or an information, under which a latent carries nothing


def verdict_of(report: CollapseReport) -> list[str]:
    """Put the findings in sentences, the gravest first."""
    shown, rate, words = report.information, report.rate, []
    total = sum(len(site.units) for site in report.sites)
    active = sum(site.active for site in report.sites)
    idle = [s.site for s in report.sites if s.information < COLLAPSED and len(report.sites) > 1]
    if report.collapsed and rate < COLLAPSED:
        words.append("Collapsed: the guide is the prior, and the latents carry no information.")
    elif report.collapsed:
        words.append(f"Collapsed, though {rate:.2f} nats are paid: every datum has one posterior.")
    elif idle or active < total:
        words.append(f"Partly collapsed: {active} of {total} units are active.")
    else:
        words.append(f"Healthy: all {total} units are active.")
    if not report.collapsed:
        most = f" to {min(shown.upper, shown.rate):.2f}" if shown.upper > shown.nats + 0.5 else ""
        words.append(
            f"The latents carry {shown.nats:.2f}{most} of the {shown.rate:.2f} nats they cost."
        )
        words += [f"Site {name!r} adds nothing to those before it." for name in idle]
    gap, loose = report.gap, report.iwae - report.rates.bound
    if gap is not None and gap.nats > max(3 * gap.error, 0.05):
        share = f", {min(gap.nats / loose, 1):.0%} of what {report.particles} draws regain"
        words.append(
            f"Limited by its encoder: posteriors fitted to each datum gain {gap.nats:.2f} nats"
            f"{share if loose > 0 else ''}."
        )
    elif loose > max(3 * report.iwae_error, 0.5):
        who = "the guide's family, of which no member gains" if gap else "its guide, which lacks"
        words.append(f"Limited by {who} the {loose:.2f} nats of {report.particles} draws.")
    if shown.rate - shown.upper > max(0.5, 0.25 * rate):  # sure even with so few data
        words.append("The aggregated posterior is not the prior: its samples will miss the data.")
    if not report.collapsed and shown.nats > shown.ceiling - 1:
        words.append(f"With {shown.size} data no more than {shown.ceiling:.1f} nats can be seen.")
    return words
