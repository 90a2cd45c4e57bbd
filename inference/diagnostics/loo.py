r"""Leave-one-out prediction from a guide's draws, corrected for what the guide is not.

With :math:`\theta_s \sim q` and :math:`w_s = p(x, \theta_s) / q(\theta_s)`,

.. math:: \log p(x_i \mid x_{-i}) = \log \frac{\sum_s r_{si}\, p(x_i \mid \theta_s)}{\sum_s r_{si}},
    \qquad r_{si} = \frac{w_s}{p(x_i \mid \theta_s)},

the ratios Pareto smoothed, datum by datum (Vehtari, Gelman and Gabry 2017, "Practical Bayesian
model evaluation using leave-one-out cross-validation and WAIC", section 2.2; of draws of an
approximation, Magnusson et al. 2019, "Bayesian leave-one-out cross-validation for large data").
``az.loo`` of unweighted draws takes every :math:`w_s` for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from inference.diagnostics.arviz_groups import summed_traces
from inference.diagnostics.pareto import khat_error, smooth
from inference.errors import PairError
from inference.tracing import Sampler, Traces, log_weights, pointwise, sampling, stack_draws


@dataclass(frozen=True)
class LOO:
    r"""Expected log predictive density by leave-one-out, of one observed site.

    Parameters
    ----------
    pointwise
        :math:`\log p(x_i \mid x_{-i})` in nats, over the site's plates.
    khat
        Shape of the tail of each element's ratios; over 0.7 its number cannot be trusted.
    num_samples
        S, the guide's draws it was made from.
    site
        The observed site.
    """

    pointwise: Tensor
    khat: Tensor
    num_samples: int
    site: str

    @property
    def elpd(self) -> float:
        """The sum over the data, nats in all."""
        return float(self.pointwise.sum())

    @property
    def error(self) -> float:
        """Standard error of `elpd` over data: the square root of N times their variance."""
        count = self.pointwise.numel()
        return math.sqrt(count) * float(self.pointwise.std()) if count > 1 else math.nan

    @property
    def khat_error(self) -> Tensor:
        """Standard errors of `khat`."""
        return khat_error(self.khat, self.num_samples)

    def __str__(self) -> str:
        bad = int((self.khat > 0.7).sum())
        return (
            f"elpd by leave-one-out of '{self.site}': {self.elpd:.2f} +- {self.error:.2f} nats in "
            f"all ({self.pointwise.numel()} data, {self.num_samples} weighted draws of the guide); "
            f"k-hat at most {float(self.khat.max()):.2f}, over 0.70: {bad}"
        )


def loo(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 4000,
    site: str | None = None,
    seed: int = 0,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> LOO:
    """Estimate leave-one-out prediction by weighted draws of a guide.

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S.
    site
        The observed site whose elements are left out, where there are several. The pair's other
        observed sites stay.
    seed
        Where the draws begin.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws held at a time.

    Raises
    ------
    PairError
        There are several observed sites, or none of that name; an enumerated site is shared by
        several elements, so that none can be left out alone.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        name = _only(sampler, site)
        parts = [_pair(sampler, name, t) for t in sampler.chunks(num_samples, "sampled", chunk)]
    weights, densities = (stack_draws([part[i] for part in parts]) for i in (0, 1))
    flat = densities.reshape(len(densities), -1)
    ratios, khat = smooth((weights - densities).reshape(flat.shape))
    shape = densities.shape[1:]
    return LOO((ratios + flat).logsumexp(0).reshape(shape), khat.reshape(shape), len(flat), name)


def _only(sampler: Sampler, site: str | None) -> str:
    names = sampler.observed
    if site is None and len(names) != 1 or site is not None and site not in names:
        raise PairError(
            site,
            f"observed sites: {', '.join(names) or 'none'}",
            "one site to leave data out of",
            f"name it: site='{names[0]}'" if names else "pass data to observe",
        )
    return site or names[0]


def _pair(sampler: Sampler, site: str, traces: Traces) -> tuple[Tensor, Tensor]:
    """Return log weights, (S, B) or (S, 1...), and log p(x_i | z), (S, plates...)."""
    terms = summed_traces(sampler, traces).terms(sampler.plate)
    density = pointwise(terms, site, [n for n, s in sampler.sites.items() if s["is_observed"]])
    if density is None:
        raise PairError(
            site,
            "an enumerated site that is shared by several elements",
            "elements that can be left out one by one, given the latents of the guide",
            "put the enumerated site in the same plates as the data",
        )
    weights = log_weights(terms, joint=not sampler.is_local)
    shape = [len(density)] + [1] * (density.dim() - 1)
    if sampler.is_local and sampler.plate is not None:
        axis = sampler.places[site].axis(sampler.plate.name)
        shape[1 if axis is None else axis] = -1
    return weights.reshape(shape), density.double()
