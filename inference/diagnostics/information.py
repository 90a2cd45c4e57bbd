r"""How much a guide's latents carry of the data: mutual information, and the rest of the rate.

.. math:: E\,\mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I_q(x; z) + \mathrm{KL}(q(z) \,\|\, p(z))

(Hoffman and Johnson 2016, "ELBO surgery"; Chen, "Learning with weak supervision", equation 2.15,
whose total correlation is part of the last term; He et al. 2019, "Lagging inference networks",
section 4.2). A rate is what the latents cost; the information is what they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.diagnostics.aggregate import Contrast, contrasts, drawn_sites, local_plate
from inference.errors import PairError
from inference.tracing import (
    Sampler,
    Traces,
    contract_to,
    data_frames,
    mean_and_error,
    sampling,
    stack_draws,
    unscaled_log_density,
)


@dataclass(frozen=True)
class Information:
    r"""What latents carry of their data, in nats a datum.

    The aggregated posterior q(z) is the mean over the N given data, each draw's own among them.
    So `nats` estimates from below what fresh data would have, and can never exceed log N, the
    `ceiling`: where it comes near, take more data. `upper` leaves a draw's own datum out, and
    estimates from above (Poole et al. 2019, "On variational bounds of mutual information",
    equations 10 and 13); the truth lies between the two, up to their errors.

    Parameters
    ----------
    nats, error
        I_q(x; z), and its standard error over the data.
    upper, upper_error
        The bound from above, and its error; NaN for one datum.
    rate
        E KL(q(z | x) || p(z)) of the same draws.
    size
        N.
    sites
        The guide's sites that z stands for.
    ceiling
        The most that can be seen: log N; of sequences that end at different frames the mean log
        number of data that end where a datum does, since only these are compared.
    """

    nats: float
    error: float
    upper: float
    upper_error: float
    rate: float
    size: int
    sites: tuple[str, ...]
    ceiling: float

    @staticmethod
    def of(contrast: Contrast, rate: Tensor, sites: Sequence[str]) -> Information:
        """Average over draws: a contrast, and the log ratios to the prior, ``(S, N)``."""
        others = contrast.others.mean(0)
        nats, upper = mean_and_error(contrast.all.mean(0)), mean_and_error(_present(others))
        ceiling = float(contrast.peers.double().log().mean())
        return Information(*nats, *upper, float(rate.mean()), rate.shape[1], tuple(sites), ceiling)

    @property
    def marginal_kl(self) -> float:
        """KL(q(z) || p(z)): the part of the rate that carries nothing of a datum."""
        return self.rate - self.nats

    def __str__(self) -> str:
        near = self.nats > self.ceiling - 1 and self.size > 1 and self.nats > 0.1
        lines = [
            f"{' + '.join(self.sites)}, nats a datum ({self.size} data)",
            f"  information I_q(x; z)   {self.nats:9.4f} +- {self.error:.4f}",
            f"    from above            {self.upper:9.4f} +- {self.upper_error:.4f}",
            f"  marginal KL(q(z)||p(z)) {self.marginal_kl:9.4f}",
            f"  rate                    {self.rate:9.4f}",
        ]
        if near:
            lines.append(f"  near its ceiling log N = {self.ceiling:.2f}: more data may show more")
        return "\n".join(lines)


def mutual_information(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 1,
    seed: int = 0,
    site: str | Sequence[str] | None = None,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Information:
    r"""Estimate the mutual information of data and latents under the guide.

    All latents of the guide together, each draw compared with the posteriors of all N data: the
    cost grows as S N^2, and a thousand data and one draw say it to about 0.03 nat.

    Parameters
    ----------
    model, guide
        Any pair whose latents are in a data plate. Enumerated sites are summed out of the prior.
    *data, **named
        The data, as the pair takes them; all N are compared.
    num_samples
        S, draws of the guide for each datum.
    seed
        Where the draws begin.
    site
        One latent site, or several, in place of all of them. They must depend on no other draw of
        the guide. `rate` is then theirs alone, the others of the prior being as drawn.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws compared with all data at a time; by default as many as a fixed budget allows.

    Raises
    ------
    PairError
        A pair without a data plate; a site outside of it, unknown, or that depends on another.
    NonFiniteError
        A log density is NaN or plus infinity.
    """
    names = (site,) if isinstance(site, str) else site
    with sampling(model, guide, data, named, seed, plate) as sampler:
        chosen = drawn_sites(sampler, names)
        parts = []
        for traces in sampler.chunks(num_samples, "summed"):
            (found,) = contrasts(sampler, traces, [chosen], chunk)
            rate = log_ratio(sampler, traces, None if site is None else chosen)
            parts.append((found.all, found.others, rate))
    ours, others, rates = (stack_draws(list(column)) for column in zip(*parts, strict=True))
    return Information.of(Contrast(ours, others, found.peers), rates, chosen)


def _present(values: Tensor) -> Tensor:
    """Leave out what is NaN: data that nothing was compared with; unless all are."""
    there = ~values.isnan()
    return values[there] if bool(there.any()) else values


def log_ratio(sampler: Sampler, traces: Traces, names: Sequence[str] | None = None) -> Tensor:
    """Return log q(z | x) - log p(z) of each draw, enumerated sites summed out: ``(S, N)``.

    Parameters
    ----------
    sampler, traces
        The pair, and draws in the mode ``summed``.
    names
        The latents to count, others being as drawn; by default all of them.

    Raises
    ------
    PairError
        A site is outside the data plate, or not in the model.
    """
    plate = local_plate(sampler)
    for name in names or ():
        if name not in sampler.latents:
            cure = "take site=None, all latents together"
            raise PairError(name, "a site of the guide alone", "one that the model has too", cure)
    terms, hidden = traces.terms(plate), {*sampler.latents, *sampler.enumerated}
    prior = {n: f for n, f in terms.summed.items() if n in hidden}
    of_guide = [row.q for row in terms.rows if row.q is not None]
    of_model = [terms.site(name) for name in terms.dense if name in hidden]
    signed = [(site, 1) for site in of_guide] + [(site, -1) for site in of_model]
    parts = [
        sign * terms.reduce(unscaled_log_density(site).double(), site)
        for site, sign in signed
        if names is None or site["name"] in names
    ]
    if prior and (names is None or set(names) & set(prior)):
        parts.append(-contract_to(terms, prior, data_frames(terms, prior)))
    return torch.stack(parts).sum(0)
