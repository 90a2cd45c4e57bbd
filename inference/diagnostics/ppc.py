"""Posterior predictive checks: whether the fitted model would have made data like these.

Data are drawn from the model given the guide's draws, and a statistic of each is compared
with the statistic of the real data (Gelman, Meng and Stern 1996, "Posterior predictive assessment
of model fitness via realized discrepancies").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inference.diagnostics.figures import axes_row
from inference.diagnostics.table import table
from inference.tracing import Sampler, both, sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Statistic = Callable[[Tensor], Tensor | float]
STATISTICS: dict[str, Statistic] = {
    "mean": lambda x: x.mean(),
    "sd": lambda x: x.std(),
    "min": lambda x: x.min(),
    "max": lambda x: x.max(),
    "zeros": lambda x: (x == 0).to(x.dtype).mean(),
}


@dataclass(frozen=True)
class Check:
    """A statistic of one observed site: of the data, and of S data sets drawn.

    Parameters
    ----------
    site, statistic
        Their names.
    observed
        The statistic of the data.
    replicates
        The statistic of the drawn data sets, ``(S,)``.
    """

    site: str
    statistic: str
    observed: float
    replicates: Tensor

    @property
    def interval(self) -> tuple[float, float]:
        """The central 90 % of the replicates."""
        low, high = self.replicates.quantile(torch.tensor([0.05, 0.95]).double())
        return float(low), float(high)

    @property
    def pvalue(self) -> float:
        """The share of replicates above the data, ties half: near 0 or 1 is a misfit."""
        above = (self.replicates > self.observed).double()
        return float((above + 0.5 * (self.replicates == self.observed)).mean())


@dataclass(frozen=True)
class PPC:
    """A table of checks; ``str()`` prints it.

    The same data are fitted and checked, so p-values are drawn towards a half: an extreme one is
    a misfit, a central one no proof.
    """

    checks: tuple[Check, ...]

    def __getitem__(self, key: tuple[str, str]) -> Check:
        """Return the check of ``(site, statistic)``.

        Raises
        ------
        KeyError
            Listing the checks there are.
        """
        for check in self.checks:
            if (check.site, check.statistic) == key:
                return check
        raise KeyError(f"{key}: no such check, {[(c.site, c.statistic) for c in self.checks]}")

    def __str__(self) -> str:
        numbers = [(head, "10.4g") for head in ("observed", "predicted", "5 %", "95 %")]
        rows = [
            (c.site, c.statistic, c.observed, float(c.replicates.mean()), *c.interval, c.pvalue)
            for c in self.checks
        ]
        return "\n".join(table([("site", "<"), ("statistic", "<"), *numbers, ("p", "6.3f")], rows))

    def plot(self, ax: Sequence[Axes] | None = None) -> list[Axes]:
        """Plot each check's replicates with the data as a line, an axes a check.

        Parameters
        ----------
        ax
            As many matplotlib axes as checks; a figure of their own by default (``[0].figure``).
        """
        axes = axes_row(ax, len(self.checks))
        for one, check in zip(axes, self.checks, strict=True):
            one.hist(check.replicates.numpy(), bins=30, color="0.75")
            one.axvline(check.observed, color="C1", label=f"data, p = {check.pvalue:.2f}")
            one.set(xlabel=f"{check.statistic} of {check.site}", yticks=[])
            one.legend()
        return axes


def ppc(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    statistic: Sequence[str] | Mapping[str, Statistic] = tuple(STATISTICS),
    num_samples: int = 500,
    seed: int = 0,
    masks: Mapping[str, Tensor] | None = None,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> PPC:
    """Compare statistics of the data with those of data drawn given the guide's draws.

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    statistic
        Names out of `STATISTICS`, or functions by name: of a site's values in double precision,
        ``(plates..., event...)``, or a vector of the values that count where some are masked;
        returning one number.
    num_samples
        S, the number of data sets drawn.
    seed
        Where the draws begin.
    masks
        By site, which values count: boolean, ``(plates..., event...)`` or its leading dims. Masks
        that the model itself puts on the site (``dist.mask``, ``poutine.mask``) need not be given.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws made at a time.

    Raises
    ------
    ValueError
        An unknown statistic, or one that is not a single finite number of the data; a mask that
        does not fit.
    PairError
        The guide misses a latent site.
    """
    statistics = _statistics(statistic)
    with sampling(model, guide, data, named, seed, plate) as sampler:
        counts = _counts(sampler, masks or {})
        replicates: dict[tuple[str, str], list[float]] = {}
        for traces in sampler.chunks(num_samples, "sampled", chunk):
            for site, drawn in sampler.predict(traces).items():
                for one in drawn:
                    _measure(replicates, site, _counted(one, counts[site]), statistics)
        observed: dict[tuple[str, str], list[float]] = {}
        for site, mask in counts.items():
            _measure(observed, site, _counted(sampler.data(site), mask), statistics)
    return PPC(tuple(_check(key, observed[key][0], replicates[key]) for key in observed))


def _check(key: tuple[str, str], observed: float, replicates: list[float]) -> Check:
    if not torch.isfinite(torch.tensor(observed)):
        raise ValueError(
            f"statistic: {key[1]!r} of {key[0]!r} is {observed} on the data, expected a finite "
            "number; mask what is missing"
        )
    return Check(*key, observed, torch.tensor(replicates, dtype=torch.double))


def _statistics(given: Sequence[str] | Mapping[str, Statistic]) -> dict[str, Statistic]:
    if isinstance(given, Mapping):
        return dict(given)
    names = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in names if name not in STATISTICS]
    if unknown or not names:
        raise ValueError(f"statistic: saw {unknown or names}, expected some of {list(STATISTICS)}")
    return {name: STATISTICS[name] for name in names}


def _measure(
    into: dict[tuple[str, str], list[float]],
    site: str,
    values: Tensor,
    statistics: Mapping[str, Statistic],
) -> None:
    for name, function in statistics.items():
        result = torch.as_tensor(function(values))
        if result.numel() != 1:
            raise ValueError(
                f"statistic: {name!r} of {site!r} returned shape {tuple(result.shape)}, "
                "expected one number"
            )
        into.setdefault((site, name), []).append(float(result))


def _counts(sampler: Sampler, masks: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """Return which values of each observed site count; None if all do."""
    counts = {name: sampler.mask(name) for name in sampler.observed}
    for name, mask in masks.items():
        if name not in counts:
            raise ValueError(f"masks: saw {name!r}, expected observed sites: {list(counts)}")
        shape = sampler.data(name).shape
        if mask.dtype != torch.bool or mask.shape != shape[: mask.dim()]:
            raise ValueError(
                f"masks: saw {mask.dtype} of shape {tuple(mask.shape)} for {name!r}, expected "
                f"torch.bool of shape {tuple(shape)}, or its leading dims"
            )
        full = mask.reshape(mask.shape + (1,) * (len(shape) - mask.dim())).expand(shape)
        counts[name] = both(full, counts[name])
    return counts


def _counted(values: Tensor, mask: Tensor | None) -> Tensor:
    values = values.double()
    return values if mask is None else values[mask]
