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

from collections.abc import Sequence
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.acquisition import PartialVAE
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, set_reader, split_normal


class PartialVAEGuide(ReadingGuide[PartialVAE]):
    """Amortized diagonal Gaussian posterior q(z | x_O) of `PartialVAE`.

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

    Raises
    ------
    InputError
        An unknown reader, or a module that does not know its ``out_dim``.
    """

    def __init__(
        self,
        model: PartialVAE,
        *,
        reader: str | nn.Module = "pointnet-plus",
        embedding_dim: int = 16,
        set_dim: int = 64,
        hidden_dims: Sequence[int] = (64,),
    ) -> None:
        super().__init__(model)
        columns = model.likelihood
        sizes = columns.data_dim, columns.value_dim, set_dim, embedding_dim
        self.reader = set_reader(reader, *sizes)
        widths = cast(int, self.reader.out_dim), *check_widths(hidden_dims), 2 * model.latent_dim
        self.head = MLP(*widths, activation=nn.SiLU)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """Sample ``z`` (N, L) for rows ``x`` (N, D), of which those in ``mask`` were observed.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            posterior = self.posterior(cast(Tensor, x), mask)
            return pyro.sample("z", posterior.to_event(1))

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.Normal:
        """Return q(z | x_O), batch shape (..., L), for rows (..., D); whole ones without a mask."""
        columns = self.model.likelihood
        values = columns.features(columns.fill_missing(x, mask))
        if mask is None:
            seen = torch.ones_like(x, dtype=torch.bool)
            loc, scale = split_normal(self.head(self.reader(values, seen)))
            return dist.Normal(loc, scale, validate_args=False)
        loc, scale = split_normal(self.head(self.reader(values, mask)))
        any_seen = mask.any(-1, keepdim=True)
        loc, scale = torch.where(any_seen, loc, 0.0), torch.where(any_seen, scale, 1.0)
        return dist.Normal(loc, scale, validate_args=False)
