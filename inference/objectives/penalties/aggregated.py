r"""Distances between the aggregated posterior q(z) and the prior, from draws of both.

A Wasserstein autoencoder (Tolstikhin, Bousquet, Gelly and Schoelkopf, "Wasserstein Auto-Encoders",
ICLR 2018) asks that codes *of all data together* look like draws of the prior, not that the codes
of each datum do::

    Objective(kl_weight=0, penalties=(MMD(10),))

With ``kl_weight=0`` the loss is no bound of anything, and a guide's noise is held up by nothing: it
may shrink. What `fit` reports is the plain bound all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties.base import Codes, Penalty, Schedule, number, prior_draws
from ppl_models.errors import InputError

Kernel = Literal["imq", "rbf"]


class MMD(Penalty):
    r"""Squared maximum mean discrepancy between codes and prior, by a kernel.

    .. math:: \mathrm{MMD}^2 = \frac{1}{n(n-1)} \sum_{i \ne j} [k(z_i, z_j) + k(z'_i, z'_j)]
        - \frac{2}{n^2} \sum_{i,j} k(z_i, z'_j), \qquad z_i \sim q(z | x_i),\ z'_i \sim p(z)

    an unbiased estimate: 0 in the mean where q(z) is the prior, and now and then below it. Between
    points at a distance r, in D dims and with a scale :math:`C = 2 D \sigma^2 s` for each s of
    ``scales``, kernels are :math:`\sum_s C / (C + r^2)` ("imq", whose tails reach far codes) and
    :math:`\sum_s \exp(-r^2 / C)` ("rbf"). :math:`2 D \sigma^2` is the mean squared distance
    of two draws of the prior.

    Tolstikhin et al., "Wasserstein Auto-Encoders", ICLR 2018, algorithm 2 and section 4. Gretton et
    al., "A Kernel Two-Sample Test", JMLR 2012, equation 3.

    Parameters
    ----------
    weight
        lambda; a number, or a schedule of the training step. The paper takes 10 for MNIST beside a
        squared error.
    kernel
        ``"imq"`` or ``"rbf"``.
    scales
        s; several, so that one of them fits how far q(z) still is.
    variance
        sigma^2, the prior's in one dim.
    site
        The latent site; by default the guide's only continuous one.

    Raises
    ------
    InputError
        An unknown kernel, or a scale or variance that is not positive.
    """

    def __init__(
        self,
        weight: float | Schedule,
        kernel: Kernel = "imq",
        scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        variance: float = 1.0,
        site: str | None = None,
    ) -> None:
        super().__init__(weight, site)
        if kernel not in get_args(Kernel):
            raise InputError("kernel", repr(kernel), "'imq' or 'rbf'", "'imq' is the paper's")
        for scale in scales or (None,):
            number("scales", scale, 0)
        number("variance", variance, 0)
        self.kernel, self.scales, self.variance = kernel, tuple(scales), variance

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the discrepancy; 0 for a single datum, of which it says nothing."""
        z, n = codes.z, len(codes.z)
        if n < 2:
            return 0 * z.sum()
        prior = prior_draws(pair, codes)
        within = self._kernel(z, z) + self._kernel(prior, prior)
        others = within.sum() - within.diagonal().sum()
        return others / (n * (n - 1)) - 2 * self._kernel(z, prior).mean()

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum the kernels over the scales, for all pairs (n, m)."""
        squares = _squares(a, b)
        total = torch.zeros_like(squares)
        for scale in self.scales:
            width = 2 * a.shape[1] * self.variance * scale
            near = width / (width + squares) if self.kernel == "imq" else (-squares / width).exp()
            total = total + near
        return total


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs, (n, m)."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return squares.clamp_min(0)


class SlicedWasserstein(Penalty):
    r"""Sliced Wasserstein distance between codes and prior, to its p-th power.

    .. math:: \mathrm{SW}_p^p = E_u\, W_p^p(u^\top z, u^\top z'), \qquad
        W_p^p(a, b) = \frac1n \sum_i |a_{(i)} - b_{(i)}|^p

    over directions u on the unit sphere: in one dim the best transport pairs sorted numbers. A
    batch of n differs from the prior by chance, so it is not 0 but of the order 1/n (p = 2) where
    q(z) is the prior.

    Kolouri, Pope, Martin and Rohde, "Sliced Wasserstein Auto-Encoders", ICLR 2019, equations 8-12.

    Parameters
    ----------
    weight
        lambda; a number, or a schedule of the training step.
    projections
        Directions, drawn again at each step.
    p
        The power of the distance, at least 1.
    site
        The latent site; by default the guide's only continuous one.

    Raises
    ------
    InputError
        No projection, or a power below 1.
    """

    def __init__(
        self,
        weight: float | Schedule,
        projections: int = 64,
        p: float = 2.0,
        site: str | None = None,
    ) -> None:
        super().__init__(weight, site)
        number("projections", projections, 0)
        number("p", p, 1, above=False, cure="p=2")
        self.projections, self.p = int(projections), p

    def estimate(self, pair: PairTrace, codes: Codes) -> Tensor:
        """Return the mean over the projections."""
        z, prior = codes.z, prior_draws(pair, codes)
        directions = torch.randn(z.shape[1], self.projections, dtype=z.dtype, device=z.device)
        directions = directions / directions.norm(dim=0)
        gaps = (z @ directions).sort(0).values - (prior @ directions).sort(0).values
        return gaps.abs().pow(self.p).mean()
