r"""The guide of the partial VAE: it reads the set of values that were observed.

.. math:: q(z \mid x_O) = N(z; \mu(c), \mathrm{diag} \, \sigma(c)^2), \quad
          c = \sum_{d \in O} h(x_d, d)

The sum has as many terms as there are values, so one network serves every subset of columns. The
parts that read sets are `ppl_models.networks.PointNetPlus` and its relatives. Beside it, each value
adds a learned Gaussian message (`AdditiveEvidence`; with full covariances `LinearPosterior`), as in
a linear model it would; the network moves that posterior in units of its own scale.

References
----------
Ma, Tschiatschek, Palla, Hernandez-Lobato, Nowozin and Zhang, "EDDI: Efficient Dynamic Discovery of
High-Value Information with Partial VAE", ICML 2019, arXiv:1809.11142, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.acquisition import PartialVAE
from ppl_models.distributions import ReparameterisedNormal
from ppl_models.errors import unknown
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, AdditiveEvidence, LinearPosterior, set_reader, together

COVARIANCES = ("diagonal", "full")


class PartialVAEGuide(ReadingGuide[PartialVAE]):
    """Amortized Gaussian posterior q(z | x_O) of `PartialVAE`.

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
    covariance : "diagonal" or "full"
        Of q. What two columns say together makes numbers of z depend on one another: a full
        covariance follows that, and is exact for linear Gaussian columns.

    Raises
    ------
    InputError
        An unknown reader or covariance, or a module that does not know its ``out_dim``.
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
        covariance: Literal["diagonal", "full"] = "diagonal",
    ) -> None:
        super().__init__(model)
        columns = model.likelihood
        sizes = columns.data_dim, columns.value_dim, set_dim, embedding_dim
        self.reader = set_reader(reader, *sizes)
        if covariance not in COVARIANCES:
            raise unknown("covariance", repr(covariance), COVARIANCES)
        self.full, latent_dim = covariance == "full", model.latent_dim
        evidence = LinearPosterior if self.full else AdditiveEvidence
        self.evidence = evidence(columns.data_dim, columns.value_dim, latent_dim)
        below = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("below", below, persistent=False)
        self._parts = [latent_dim, latent_dim] + [below.shape[1]] * self.full
        widths = cast(int, self.reader.out_dim) + 2 * latent_dim, *check_widths(hidden_dims)
        self.head = MLP(*widths, sum(self._parts), activation=nn.SiLU)

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

        A `Normal` of batch shape (..., L), or a `MultivariateNormal` of batch shape (...,).
        """
        columns = self.model.likelihood
        values = columns.features(columns.fill_missing(x, mask))
        if mask is None:
            mask = torch.ones_like(x, dtype=torch.bool)
        any_seen = mask.any(-1, keepdim=True)
        loc, spread = self.evidence(values, mask)
        log_scale = spread.diagonal(dim1=-2, dim2=-1).log() if self.full else spread
        inputs = together(self.reader(values, mask), loc, log_scale)
        parts = self.head(inputs).split(self._parts, -1)
        move, widen, *mixed = (torch.where(any_seen, part, 0.0) for part in parts)
        if self.full:
            lower = torch.diag_embed(widen.exp())
            lower[..., self.below[0], self.below[1]] = mixed[0]
            moved = loc + (spread @ move[..., None])[..., 0]
            return ReparameterisedNormal(moved, scale_tril=spread @ lower, validate_args=False)
        moved = torch.addcmul(loc, log_scale.exp(), move)
        return dist.Normal(moved, (log_scale + widen).exp(), validate_args=False)
