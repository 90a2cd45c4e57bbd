r"""The parts of the KL term, estimated from the posteriors of one batch.

With the aggregated posterior q(z), the mean of q(z | x) over the data,

.. math::
    E\,\mathrm{KL}(q(z|x) \| p(z)) = \underbrace{I_q(x; z)}_{mi}
    + \underbrace{\mathrm{KL}(q(z) \| \prod_d q(z_d))}_{tc}
    + \underbrace{\sum_d E \log q(z_d) - E \log p(z)}_{dim}

where the last part is the sum of KL(q(z_d) || p(z_d)) for a prior that factorises.

References
----------
Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018,
equations 2-5 and appendix C. Chen (M.), "Learning with weak supervision", 2020, equation 2.15.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from pyro.distributions import Independent
from torch import Tensor

from inference.errors import PairError
from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Codes, Penalty, Schedule, number
from inference.tracing import unwrapped
from ppl_models.errors import InputError

Estimator = Literal["mws", "mss"]


class Parts(NamedTuple):
    """Mean log ratios of a batch, scalars in nats; their sum is the sampled KL term."""

    mi: Tensor
    tc: Tensor
    dim: Tensor


class Decomposition(Penalty):
    r"""Extra weights on the three parts of the KL term.

    .. math:: \mathrm{loss} \mathrel{+}= mi \cdot I_q(x; z)
        + tc \cdot \mathrm{KL}(q(z) \| \prod_d q(z_d))
        + dim \cdot \sum_d \mathrm{KL}(q(z_d) \| p(z_d))

    They come on top of the objective's own KL weight, 1 each. With ``mi=-1`` the codes' information
    costs nothing: what is left pulls q(z) alone to the prior (InfoVAE).

    The aggregated posterior at a draw is the batch's weighted mean of its posterior densities,

    .. math:: q(z_i) \approx \sum_j w_{ij}\, q(z_i | x_j), \qquad
        q(z_{id}) \approx \sum_j w_{ij}\, q(z_{id} | x_j).

    ``"mws"`` weighs all alike, :math:`w_{ij} = 1/B`. These are Chen et al.'s minibatch-weighted
    sampling, up to their constant factor 1/N, which changes no gradient and would move the total
    correlation by (D - 1) log N: without it, the value is that of the total correlation, a little
    high, since each draw's own posterior has N / B times its due. ``"mss"`` gives it its due,
    :math:`w_{ii} = 1/N` and :math:`w_{ij} = (N - 1) / (N (B - 1))`, an unbiased estimate of the
    density: theirs by stratified sampling, averaged over the order of the batch.

    Parameters
    ----------
    mi, tc, dim
        The weights: numbers, or schedules of the training step. Negative ones are allowed down to
        -1, where a part has gone from the loss.
    data_size
        N, for ``"mss"``; by default the objective's.
    estimator
        ``"mws"`` or ``"mss"``. A logarithm makes both err where B is small, or posteriors are
        narrow and far apart: take batches of hundreds.
    site
        The latent site; by default the guide's only continuous one. Its posterior must have
        independent dims.

    Raises
    ------
    InputError
        A weight below -1, an unknown estimator, or a size that is no number.
    """

    def __init__(
        self,
        mi: float | Schedule = 0.0,
        tc: float | Schedule = 0.0,
        dim: float | Schedule = 0.0,
        *,
        data_size: int | None = None,
        estimator: Estimator = "mws",
        site: str | None = None,
    ) -> None:
        super().__init__(1.0, site)
        for name, weight in {"mi": mi, "tc": tc, "dim": dim}.items():
            if not callable(weight):
                cure = "the part has weight 1 already: -1 takes it out"
                number(name, weight, -1, above=False, cure=cure)
        if estimator not in get_args(Estimator):
            cure = "'mws', or 'mss' for small batches of large data"
            raise InputError("estimator", repr(estimator), "'mws' or 'mss'", cure)
        if data_size is not None:
            number("data_size", data_size, 0)
        self.mi, self.tc, self.dim = mi, tc, dim
        self.data_size, self.estimator = data_size, estimator

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the weighted sum of the parts."""
        weights = [w(pair.step) if callable(w) else w for w in (self.mi, self.tc, self.dim)]
        parts = self.parts(pair, codes, prior=weights[2] != 0)
        total = 0 * codes.z.sum()
        for weight, part in zip(weights, parts, strict=True):
            total = total + weight * part
        return total

    def parts(self, pair: PairTrace, codes: Codes | None = None, prior: bool = True) -> Parts:
        """Estimate the three parts of a batch, in nats per observation.

        Parameters
        ----------
        pair
            A pair and its draws.
        codes
            Those of the site, where they are at hand.
        prior
            Whether ``dim`` is wanted; else it is zero, and the prior is not looked at.

        Raises
        ------
        PairError
            The posterior's dims are not independent, or the prior is summed over another site.
        """
        codes = self.codes(pair) if codes is None else codes
        pairs = _pairwise(pair.q[codes.name], codes)
        own = pairs.diagonal().sum(0)
        weights = self._log_weights(len(pairs), pair.data_size).to(pairs)
        joint = (pairs.sum(-1) + weights).logsumexp(1)
        single = (pairs + weights[:, :, None]).logsumexp(1).sum(-1)
        dim = (single - _log_prior(pair, codes)).mean() if prior else joint.new_zeros(())
        return Parts((own - joint).mean(), (joint - single).mean(), dim)

    def _log_weights(self, batch: int, data_size: int) -> Tensor:
        """Log w_ij, (B, B)."""
        size = max(self.data_size or data_size, batch)
        if self.estimator == "mws" or batch == 1:
            return torch.full((batch, batch), -math.log(batch))
        others = math.log(size - 1) - math.log(size) - math.log(batch - 1)
        return torch.full((batch, batch), others).fill_diagonal_(-math.log(size))


class TotalCorrelation(Decomposition):
    r"""Total correlation of the codes: :class:`Objective` with this is the beta-TCVAE.

    .. math:: \mathrm{loss} \mathrel{+}= w \cdot \mathrm{KL}(q(z) \| \prod_d q(z_d))

    The KL term has the total correlation in it once, so ``TotalCorrelation(beta - 1)`` gives it the
    weight beta. Codes whose dims are independent *over the data* often follow the data's own
    factors, though nothing in the loss makes them: a rotation of the latents that is as good always
    exists (Locatello et al., ICML 2019).

    Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018,
    equation 4.

    Parameters
    ----------
    weight
        beta - 1; a number, or a schedule of the training step.
    data_size, estimator, site
        As for `Decomposition`.
    """

    def __init__(
        self,
        weight: float | Schedule,
        data_size: int | None = None,
        estimator: Estimator = "mws",
        site: str | None = None,
    ) -> None:
        super().__init__(tc=weight, data_size=data_size, estimator=estimator, site=site)


def _pairwise(site: Any, codes: Codes) -> Tensor:
    """Log q(z_id | x_j), shape (B, B, D): draw i, posterior j, dim d."""
    value, event = site["value"], tuple(site["fn"].event_shape)
    fn = unwrapped(site["fn"], Independent)
    if fn.event_shape or tuple(fn.batch_shape) != (len(value), *event):
        found = f"a posterior of class {type(fn).__name__}, whose dims depend on each other"
        cure = "FactorCritic estimates the total correlation of any posterior"
        raise PairError(codes.name, found, "independent dims, dist.Normal(...).to_event(1)", cure)
    density = fn.log_prob(value[:, None]).reshape(len(value), len(value), -1)
    return density if codes.rows is None else density[codes.rows][:, codes.rows]


def _log_prior(pair: PairTrace, codes: Codes) -> Tensor:
    """Log p(z), of the data that count, (B,)."""
    site = pair.p.get(codes.name)
    value = pair.q[codes.name]["value"]
    density = None if site is None else site["fn"].log_prob(value)
    if density is None or tuple(density.shape) != (len(value),):
        found = "no prior" if density is None else f"a prior of batch shape {tuple(density.shape)}"
        cure = "leave dim=0, or use MMD, which only draws from the prior"
        raise PairError(codes.name, found, "a prior with a density a datum", cure)
    return codes.counted(density)[:, 0]
