r"""The guide of the partial VAE: it reads the set of values that were observed.

.. math:: q(z \mid x_O) = N(z; \mu(c), \mathrm{diag} \, \sigma(c)^2), \quad
          c = \sum_{d \in O} h(x_d, d)

The sum has as many terms as there are values, so one network serves every subset of columns. The
parts that read sets are `ppl_models.networks.PointNetPlus` and its relatives.

References
----------
Ma, Tschiatschek, Palla, Hernandez-Lobato, Nowozin and Zhang, "EDDI: Efficient Dynamic Discovery of
High-Value Information with Partial VAE", ICML 2019, arXiv:1809.11142, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.acquisition.linear_posterior import LinearPosterior
from guides.base import ReadingGuide
from ppl_models.acquisition import PartialVAE
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, set_reader


UNIT = math.log(math.e - 1)
"""softplus(UNIT) is 1."""


class PartialVAEGuide(ReadingGuide[PartialVAE]):
    r"""Amortized Gaussian posterior q(z | x_O) of `PartialVAE`.

    Of a row of which nothing was observed, it is the prior.

    Parameters
    ----------
    model : PartialVAE
    reader : str or nn.Module
        What reads the set of observed values: "pointnet-plus", "pointnet", "one-hot", "zeros" or
        "attention" (`ppl_models.networks`), or any module with an ``out_dim`` that maps values
        (..., D, V), `Columns.features`, and the mask (..., D) to (..., out_dim).
    embedding_dim : int
        Size of the learned identity of each column.
    set_dim : int
        Width of the reader, and size of what it returns.
    hidden_dims : sequence of int
        Widths of the hidden layers from there to mean and scale of z.
    linear : bool
        Start from the posterior of a linear Gaussian model of the values (`LinearPosterior`), of
        full covariance, which the reader then corrects: :math:`q = N(m + \mu(c), (F C(c)) (F
        C(c))^T)` with m and F F^T its mean and covariance, and C lower triangular. Where decoder
        and noise are nearly linear and Gaussian this is nearly exact from the start.

    Raises
    ------
    InputError
        An unknown reader, or a module that does not know its ``out_dim``.
    """

    below: Tensor

    def __init__(
        self,
        model: PartialVAE,
        *,
        reader: str | nn.Module = "pointnet-plus",
        embedding_dim: int = 16,
        set_dim: int = 64,
        hidden_dims: Sequence[int] = (64,),
        linear: bool = False,
    ) -> None:
        super().__init__(model)
        columns, latent_dim = model.likelihood, model.latent_dim
        sizes = columns.data_dim, columns.value_dim, set_dim, embedding_dim
        self.reader = set_reader(reader, *sizes)
        outputs = 2 * latent_dim + (latent_dim * (latent_dim - 1) // 2 if linear else 0)
        widths = cast(int, self.reader.out_dim), *check_widths(hidden_dims), outputs
        self.head = MLP(*widths, activation=nn.SiLU)
        self.linear = None
        if linear:
            self.linear = LinearPosterior(columns.data_dim, columns.value_dim, latent_dim)
            nn.init.zeros_(cast(nn.Linear, self.head[-1]).weight)
            nn.init.zeros_(cast(nn.Linear, self.head[-1]).bias)
            below = torch.tril_indices(latent_dim, latent_dim, -1)
            self.register_buffer("below", below, persistent=False)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """Sample ``z`` (N, L) for rows ``x`` (N, D), of which those in ``mask`` were observed.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            posterior = self.posterior(cast(Tensor, x), mask)
            return pyro.sample("z", posterior.to_event(1 - len(posterior.event_shape)))

    def posterior(
        self, x: Tensor, mask: Tensor | None = None
    ) -> dist.Normal | dist.MultivariateNormal:
        """Return q(z | x_O) for rows (..., D); whole ones without a mask.

        A `Normal` of batch shape (..., L), or, where it starts from a linear model, a
        `MultivariateNormal` of batch shape (...,).
        """
        columns = self.model.likelihood
        values = columns.features(columns.fill_missing(x, mask))
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        loc, log_scale, *mixed = self.head(self.reader(values, seen)).split(self._parts, -1)
        if self.linear is not None:
            return self._corrected(self.linear(values, seen), loc, log_scale, mixed[0], seen)
        scale = log_scale.exp()
        if mask is not None:
            any_seen = mask.any(-1, keepdim=True)
            loc, scale = torch.where(any_seen, loc, 0.0), torch.where(any_seen, scale, 1.0)
        return dist.Normal(loc, scale, validate_args=False)

    @property
    def _parts(self) -> list[int]:
        """What the head's outputs are: means, log scales, what is below a factor's diagonal."""
        size = self.model.latent_dim
        return [size, size] + ([size * (size - 1) // 2] if self.linear is not None else [])

    def _corrected(
        self,
        start: tuple[Tensor, Tensor],
        loc: Tensor,
        log_scale: Tensor,
        mixed: Tensor,
        seen: Tensor,
    ) -> dist.MultivariateNormal:
        """Return the linear model's posterior as the reader corrects it; of nothing, the prior."""
        any_seen = seen.any(-1, keepdim=True)
        scale = nn.functional.softplus(log_scale + UNIT)  # 1 at first, and grows slowly
        lower = torch.diag_embed(torch.where(any_seen, scale, 1.0))
        lower[..., self.below[0], self.below[1]] = torch.where(any_seen, mixed, 0.0)
        mean, factor = start
        loc = mean + torch.where(any_seen, loc, 0.0)
        return dist.MultivariateNormal(loc, scale_tril=factor @ lower, validate_args=False)
