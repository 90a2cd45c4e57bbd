"""What a model predicts of the columns that were not measured: weighted draws of its posterior.

Every task of this room stands on `Draws`; whatever can give them is a `Predictor`. All people share
one set of standard normal numbers a seed (quasi-random ones): what is said of a person does not
depend on who else is asked about, nor on how many are handled at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from inference.randomness import derive
from inference.tasks.acquisition.quantiles import column_quantiles
from inference.tasks.acquisition.table import RealTable, Table
from ppl_models.distributions import MixedColumns
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, count_rows
from ppl_models.ppca import PPCA


@dataclass(frozen=True)
class Draws:
    """S weighted draws of the posterior p(z | what was measured) of N people.

    Parameters
    ----------
    table
        The columns.
    raw
        A decoder's outputs for each draw, (S, N, R).
    weights
        (S, N), summing to 1 over draws.
    bound
        The partial bound, log p(x_O) or less, in nats: (N,).
    z
        The draws themselves, (S, N, L), where there are any.
    """

    table: Table
    raw: Tensor
    weights: Tensor
    bound: Tensor
    z: Tensor | None = None

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each coordinate given z, (S, N, E) each, in units of the data."""
        with torch.no_grad():
            return self.table.moments(self.raw)

    @property
    def mean(self) -> Tensor:
        """E[x | z] by coordinate, (S, N, E)."""
        return self.moments[0]

    @property
    def variance(self) -> Tensor:
        """Var[x | z] by coordinate, (S, N, E)."""
        return self.moments[1]

    @property
    def effective_size(self) -> Tensor:
        """How many draws of equal weight would be as good, (N,): few where the guide is poor."""
        return 1 / self.weights.square().sum(0)

    def average(self, values: Tensor) -> Tensor:
        """Return the weighted mean over draws of values (S, N, ...): (N, ...)."""
        weights = self.weights.reshape(self.weights.shape + (1,) * (values.ndim - 2))
        return torch.where(weights > 0, weights * values, 0.0).sum(0)

    @cached_property
    def expected(self) -> Tensor:
        """The predictive mean of each coordinate, (N, E)."""
        return self.average(self.mean)

    @cached_property
    def aleatoric(self) -> Tensor:
        """E_z[Var(x | z)] by coordinate, (N, E): what no other measurement can take away."""
        return self.average(self.variance)

    @cached_property
    def epistemic(self) -> Tensor:
        """Var_z(E[x | z]) by coordinate, (N, E)."""
        return self.average((self.mean - self.expected).square())

    @torch.no_grad()
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x_d | z) of each column: (S, N, D) for x (N, D), (S, N, H, D) for (N, H, D).

        In the units of the data.
        """
        raw = self.raw if x.ndim == 2 else self.raw[..., None, :]
        return self.table.distribution(raw).log_prob(x)

    @torch.no_grad()
    def sample_columns(self, seed: int = 0) -> Tensor:
        """Return a hypothetical row of values for each draw, (S, N, D)."""
        size, dim = len(self.raw), len(self.table.names)
        u, v = (shuffled(size, dim, derive(seed, name), self.raw) for name in ("values", "rates"))
        columns = self.table.distribution(self.raw)
        if isinstance(columns, MixedColumns):
            return column_quantiles(columns, u[:, None], v[:, None])
        return columns.icdf(u[:, None])

    def rows(self, some: slice) -> Draws:
        """Return the draws of some of the people."""
        z = None if self.z is None else self.z[:, some]
        raw, weights = self.raw[:, some], self.weights[:, some]
        return Draws(self.table, raw, weights, self.bound[some], z)


class Predictor(Protocol):
    """Whatever draws from the posterior of a row, of which any columns were measured."""

    @property
    def table(self) -> Table:
        """The columns."""

    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 100, seed: int = 0) -> Draws:
        """Return draws for people x (N, D), of whom the columns in mask (N, D) were measured."""


def normal_noise(num_samples: int, dim: int, seed: int, like: Tensor) -> Tensor:
    """Return standard normal numbers (S, L) that fill the space evenly, of the type of ``like``.

    A scrambled Sobol sequence: averages over it are as unbiased as over independent numbers, and
    mostly much closer.
    """
    return torch.special.ndtri(uniform(num_samples, dim, seed, like))


def uniform(num_samples: int, dim: int, seed: int, like: Tensor) -> Tensor:
    """Return numbers (S, D) that fill the unit cube evenly, of the type of ``like``."""
    check_count("num_samples", num_samples)
    engine = SobolEngine(dim, scramble=True, seed=seed)
    u = engine.draw(num_samples, dtype=torch.float64)
    return u.clamp(1e-6, 1 - 1e-6).to(like)


def shuffled(num_samples: int, dim: int, seed: int, like: Tensor) -> Tensor:
    """Return the numbers of `uniform` in an order by lot.

    Two scrambled Sobol sequences go together point by point, as if they were dependent.
    """
    generator = torch.Generator().manual_seed(derive(seed, "order"))
    return uniform(num_samples, dim, seed, like)[torch.randperm(num_samples, generator=generator)]


class PairPredictor:
    """Draws of a model's posterior by its guide, as of PartialVAE and its guide.

    Parameters
    ----------
    model
        Has z ~ Normal(0, I), ``raw(z)``, the decoder's outputs, and ``likelihood``, its columns.
    guide
        Has ``posterior(x, mask)``, a Normal (N, L) or a MultivariateNormal (N,).
    weighted
        Weigh the draws by p(z) p(x_O | z) / q(z), self-normalised: with many draws this is the
        exact posterior, whatever the guide. False takes the guide's word.
    limits
        Least and largest value of each column, (2, D), to which measured ones are read: far outside
        of what it was trained on (another unit, say) a network answers with anything, or NaN.
    """

    def __init__(
        self, model: Any, guide: Any, weighted: bool = True, limits: Tensor | None = None
    ) -> None:
        self.model, self.guide, self.weighted, self.limits = model, guide, weighted, limits

    @property
    def table(self) -> Table:
        """The likelihood's columns."""
        return self.model.likelihood

    def posterior(self, x: Tensor, mask: Tensor) -> Any:
        """Return the guide's q(z | x_O), (N, L)."""
        with torch.no_grad():
            return self.guide.posterior(self._within(x), mask)

    def _within(self, x: Tensor) -> Tensor:
        """Return values as they are read."""
        return x if self.limits is None else x.clamp(*self.limits.to(x))

    @torch.no_grad()
    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 100, seed: int = 0) -> Draws:
        """Return draws for people x (N, D), of whom the columns in mask (N, D) were measured.

        The bound is E_q[log p(x_O | z)] - KL(q || p), estimated from the draws.
        """
        q = self.posterior(x, mask)
        noise = normal_noise(num_samples, q.loc.shape[-1], seed, q.loc)
        z, volume = placed(q, noise)
        raw = self.model.raw(z)
        columns = self.table.distribution(raw).log_prob(filled(self._within(x), mask))
        ratio = 0.5 * (noise.square()[:, None] - z.square()).sum(-1) + volume  # log p(z) / q(z)
        log_weights = torch.where(mask, columns, 0.0).sum(-1) + ratio
        equal = torch.full_like(log_weights, 1 / num_samples)
        weights = log_weights.softmax(0) if self.weighted else equal
        return Draws(self.table, raw, weights, log_weights.mean(0), z)


def placed(q: Any, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Make standard normal numbers (S, L) draws (S, N, L) of q, a Gaussian of N people.

    With them the log of what q spreads a unit of volume over, (N,).
    """
    q = getattr(q, "base_dist", q)
    if not isinstance(q, dist.MultivariateNormal):
        return torch.addcmul(q.loc, noise[:, None], q.scale), q.scale.log().sum(-1)
    z = q.loc + torch.einsum("nij,sj->sni", q.scale_tril, noise)
    return z, q.scale_tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def filled(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with a value of the column's own in place of what was not measured.

    A value that the column has, for zero may be outside of its support; it reaches nothing.
    """
    first = torch.where(mask, x, -torch.inf).amax(0)
    return torch.where(mask, x, torch.where(first.isfinite(), first, 1.0))


class PPCAPredictor:
    """Draws of the exact posterior of probabilistic PCA, the linear model of a table.

    Parameters
    ----------
    model : PPCA
    names : sequence of str, optional
        Of the columns; x1 to xD by default.
    spread : Tensor, optional
        Standard deviations (D,) of the columns in training; by default those of the model.
    """

    def __init__(self, model: PPCA, names: Any = None, spread: Tensor | None = None) -> None:
        self.model = model
        total = model.weight.detach().square().sum(-1) + (2 * model.log_scale.detach()).exp()
        self.table = RealTable(names or model.data_dim, total.sqrt() if spread is None else spread)

    def posterior(self, x: Tensor, mask: Tensor) -> dist.MultivariateNormal:
        """Return the exact p(z | x_O)."""
        with torch.no_grad():
            return self.model.posterior(x, mask)

    @torch.no_grad()
    def draws(self, x: Tensor, mask: Tensor, num_samples: int = 100, seed: int = 0) -> Draws:
        """Return draws for people x (N, D), of whom the columns in mask (N, D) were measured."""
        q = self.posterior(x, mask)
        noise = normal_noise(num_samples, self.model.latent_dim, seed, q.loc)
        z, _ = placed(q, noise)
        loc = self.model.decode(z)
        raw = torch.cat([loc, self.model.log_scale.exp().expand_as(loc)], -1)
        weights = torch.full_like(z[..., 0], 1 / num_samples)
        return Draws(self.table, raw, weights, self.model.evidence(x, mask), z)


def check_people(table: Table, x: Tensor, mask: Tensor | None, argument: str = "x") -> Tensor:
    """Return which values of x (N, D) exist: those of the mask, by default all.

    Raises
    ------
    InputError
        Another shape; or a value that exists is no finite number.
    """
    count_rows(x, len(table.names), argument)
    exists = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    if exists.shape != x.shape or exists.dtype is not torch.bool:
        found = f"{exists.dtype} of shape {tuple(exists.shape)}"
        raise InputError("mask", found, f"booleans of shape {tuple(x.shape)}", "mask = ~x.isnan()")
    if not bool(x[exists].isfinite().all()):
        cure = "mask = x.isfinite()"
        raise InputError(argument, "NaN or infinite numbers", "a mask where values miss", cure)
    return exists
