r"""Whether a variational guide is biased: calibration of point estimates, by simulation.

Draw latents :math:`\theta_j` and data from the model, fit or run the guide on the data, and note

.. math:: p_{ij} = P_{\theta \sim q(\cdot \mid x_j)}(\theta_i < \theta_{ij}).

A guide that is the posterior has uniform p (`sbc`). One that is too narrow or too wide, as
variational guides are, is still of use if its centre is right, and then p is *symmetric* about a
half; if it is not, the guide is biased, and the side says which way (Yao, Vehtari, Simpson and
Gelman 2018, "Yes, but did it work? Evaluating variational inference", section 3.2, algorithm 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from torch import Tensor

from inference.diagnostics.figures import axes_of
from inference.diagnostics.sbc import Quantity, _Study
from inference.diagnostics.table import table
from inference.errors import PairError
from inference.tracing import Sampler, bind, sampling, stack_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Refit = Callable[..., Any]
_FEWEST = 20


@dataclass(frozen=True)
class VSBC:
    """Where the truth lies in the guide's marginals.

    Parameters
    ----------
    probabilities
        By site (or quantity), ``(simulations, dims)``: the share of the guide's draws below the
        truth. Dims are the site's plates other than the data plate and its event, flattened.
    """

    probabilities: dict[str, Tensor]

    def pvalues(self, site: str) -> Tensor:
        """Return a p-value a dim, ``(dims,)``, of symmetry about a half (`symmetry_pvalue`)."""
        columns = self.probabilities[site].T
        return torch.tensor([symmetry_pvalue(column) for column in columns], dtype=torch.double)

    def pvalue(self, site: str | None = None) -> float:
        """Return one p-value for a site, or for all: the smallest, times their number."""
        sites = list(self.probabilities) if site is None else [site]
        values = torch.cat([self.pvalues(name) for name in sites])
        return min(1.0, float(values.min()) * len(values))

    def bias(self, site: str) -> Tensor:
        """Return the mean of p less a half, (dims,): above 0, the guide's draws are too low."""
        return self.probabilities[site].mean(0) - 0.5

    def __str__(self) -> str:
        numbers = ("dims", "5d"), ("simulations", "11d"), ("worst mean p", "12.3f"), ("p", "8.2g")
        rows = []
        for name, p in self.probabilities.items():
            worst = float(self.bias(name)[self.bias(name).abs().argmax()]) + 0.5
            rows.append((name, p.shape[1], len(p), worst, self.pvalue(name)))
        lines = table([("site", "<"), *numbers], rows)
        note = "mean p above 0.5: the guide too low; p-values are of symmetry, not of calibration"
        return "\n".join([*lines, note])

    def plot(self, site: str, dim: int = 0, ax: Axes | None = None) -> Axes:
        """Plot a histogram of p, and of 1 - p beside it; returns the matplotlib axes."""
        ax = axes_of(ax)
        values = self.probabilities[site][:, dim].numpy()
        bins = np.linspace(0, 1, 21).tolist()
        ax.hist(values, bins, color="C0", alpha=0.6, label="p")
        ax.hist(1 - values, bins, histtype="step", color="C1", label="1 - p")
        ax.set(xlabel=f"share of the guide below the truth: {site}", ylabel="simulations")
        ax.legend()
        return ax


def vsbc(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    simulations: int = 100,
    num_samples: int = 999,
    refit: Refit | None = None,
    seed: int = 0,
    quantities: Mapping[str, Quantity] | None = None,
    replace: Mapping[str, int | str] | None = None,
    plate: str | None = None,
    **named: Any,
) -> VSBC:
    """Look for bias of a guide on data simulated from the model.

    Parameters
    ----------
    model, guide
        Any pair. An amortised guide is run on each simulated data set.
    *data, **named
        Data, as the pair takes them: their shapes, masks and covariates are kept, observed values
        are replaced by simulated ones.
    simulations
        How many, at least; when every latent lives in the data plate, each datum is one.
    num_samples
        L, the guide's draws a simulation.
    refit
        For a guide that does not read its data, such as an AutoGuide: called with the model and a
        simulated data set, ``refit(model, *data)``, it returns a guide fitted to that.
    seed
        Where simulation begins.
    quantities, replace, plate
        As `inference.sbc` takes them.

    Raises
    ------
    PairError
        As `inference.sbc`; fewer than 20 simulations; no ``refit`` for an AutoGuide.
    """
    if simulations < _FEWEST:
        raise PairError(
            "simulations", str(simulations), f"at least {_FEWEST}", "simulations=100 or more"
        )
    if refit is None and isinstance(guide, pyro.infer.autoguide.AutoGuide):
        raise PairError(
            "guide",
            f"{type(guide).__name__}, which does not read its data",
            "a guide that is fitted to each simulated data set",
            "refit=lambda model, *data: inference.start(model, AutoNormal, *data)",
        )
    with sampling(model, guide, data, named, seed, plate) as sampler:
        given = dict(quantities or {}), dict(replace or {})
        study = _Refitting(sampler, num_samples, *given, refit, plate)
        found = [study.run(index) for index in range(math.ceil(simulations / study.each))]
    ranks = {name: stack_draws([f[name] for f in found]) for name in found[0]}
    return VSBC({name: (r.double() + 0.5) / (num_samples + 1) for name, r in ranks.items()})


class _Refitting(_Study):
    """A calibration study whose guide may be another one for each simulation."""

    def __init__(
        self,
        sampler: Sampler,
        num_samples: int,
        quantities: dict[str, Quantity],
        replace: dict[str, int | str],
        refit: Refit | None,
        plate: str | None,
    ) -> None:
        super().__init__(sampler, num_samples, quantities, replace)
        self.refit, self.plate = refit, plate

    def _on(self, trace: pyro.poutine.Trace) -> Sampler:
        sampler = super()._on(trace)
        if self.refit is None:
            return sampler
        with torch.enable_grad():
            guide = self.refit(sampler.model, *sampler.args, **sampler.kwargs)
        _, guide = bind(sampler.model, guide, *sampler.args, **sampler.kwargs)
        vectorised = sampler.vectorised
        call = sampler.model, guide.eval(), sampler.args, sampler.kwargs
        return Sampler(*call, self.plate, vectorised or None)


def symmetry_pvalue(values: Tensor) -> float:
    r"""Test whether a sample is symmetric about a half.

    The statistic is the largest distance between the distributions of p and of 1 - p, as Yao et
    al. (2018) have it. Under symmetry the signs of p - 1/2, in the order of falling distance, are
    fair coins, and M times the statistic is the largest absolute partial sum of them (Butler
    1969, "A test for symmetry using the sample distribution function", Annals of Mathematical
    Statistics 40(6)): the p-value is exact, by steps of a random walk between two walls.

    Parameters
    ----------
    values
        ``(M,)``, from 0 to 1.
    """
    away = values.double() - 0.5
    signs = away[away.abs().argsort(descending=True)].sign()
    signs = signs[signs != 0]
    if not len(signs):
        return 1.0
    return _leaving(len(signs), int(signs.cumsum(0).abs().max()))


def _leaving(steps: int, wall: int) -> float:
    """Probability that a fair walk of so many steps reaches a wall on either side."""
    if wall <= 0:
        return 1.0
    inside = np.zeros(2 * wall + 1)
    inside[wall] = 1.0
    for _ in range(steps):
        moved = np.zeros_like(inside)
        moved[1:] += 0.5 * inside[:-1]
        moved[:-1] += 0.5 * inside[1:]
        moved[0] = moved[-1] = 0.0
        inside = moved
    return float(1 - inside.sum())
