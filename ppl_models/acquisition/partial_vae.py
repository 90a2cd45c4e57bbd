r"""The partial VAE: a table's rows from a latent code, whatever of each was observed.

::

    z ~ Normal(0, I)                          the code: L latent numbers
    x ~ likelihood(decoder(z))                the row: D columns, each of its own kind

.. math:: p(x_O, z) = p(z) \, \prod_{d \in O} p(x_d \mid z), \quad O \text{ what was observed}

Given z, columns are independent, so that those which are missing drop out: nothing is imputed. The
columns' kinds, and their units, are those of `ppl_models.likelihoods.Columns`.

References
----------
Ma, Tschiatschek, Palla, Hernandez-Lobato, Nowozin and Zhang, "EDDI: Efficient Dynamic Discovery of
High-Value Information with Partial VAE", ICML 2019, arXiv:1809.11142, section 3.
Høegh, "On Learning Useful Variational Autoencoder Representations", PhD thesis 2022, appendix A.
Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", ICML
2019, arXiv:1812.02633, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_widths, count_rows
from ppl_models.likelihoods import Columns
from ppl_models.networks import MLP


class PartialVAE(nn.Module):
    """A deep latent-variable model of tables with gaps.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``.

    Parameters
    ----------
    data_dim : int
        D, columns of the table.
    latent_dim : int
        L, numbers of a row's code.
    hidden_dims : sequence of int
        Widths of the decoder's hidden layers, from the code to the row.
    likelihood : Columns, optional
        The columns' names and kinds; D real columns by default.
    decoder : nn.Module, optional
        Any network (..., L) -> (..., likelihood.raw_dim), in place of the one made from
        ``hidden_dims``.
    linear : bool
        Add a linear map of z to the decoder's outputs: most of many tables is linear, which hidden
        layers are slow to learn.

    Raises
    ------
    InputError
        A likelihood of another kind, or of another number of columns.
    """

    zero: Tensor

    def __init__(
        self,
        data_dim: int = 15,
        latent_dim: int = 4,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        likelihood: Columns | None = None,
        decoder: nn.Module | None = None,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.hidden_dims = check_widths(hidden_dims)
        self.likelihood = checked_columns(likelihood, data_dim)
        sizes = latent_dim, *self.hidden_dims, self.likelihood.raw_dim
        self.decoder = decoder or MLP(*sizes, activation=nn.SiLU)
        self.line = nn.Linear(latent_dim, self.likelihood.raw_dim) if linear else None
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Tensor:
        """Score rows ``x`` (N, D); without data, simulate ``size`` whole ones.

        ``mask`` (N, D) is True for the values that were observed; the others may be NaN. Without
        it, all were.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim), or an observed value is not of
            its column's kind (checked while Pyro's validation is on).
        """
        size = size if x is None else self.count(x, mask)
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            columns = self.likelihood.distribution(self.raw(z))
            if x is not None and mask is not None:
                x, columns = self.likelihood.fill_missing(x, mask), columns.mask(mask)
            return pyro.sample("x", columns.to_event(1), obs=x)

    def raw(self, z: Tensor) -> Tensor:
        """Return the decoder's outputs (..., raw_dim) for codes z (..., L)."""
        raw: Tensor = self.decoder(z)
        return raw if self.line is None else raw + self.line(z)

    def observation(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z), of batch shape (...,) and event shape (D,), for codes z (..., L)."""
        distribution: TorchDistribution = self.likelihood(self.raw(z))
        return distribution

    def start_from(self, x: Tensor, mask: Tensor | None = None) -> PartialVAE:
        """Take the units of every column from training data (N, D); return the model.

        See `ppl_models.likelihoods.Columns.start_from`.
        """
        self.likelihood.start_from(x, mask)
        return self

    def count(self, x: Tensor, mask: Tensor | None = None) -> int:
        """Return N for rows (N, D), each observed value of its column's kind."""
        size = count_rows(x, self.data_dim)
        self.likelihood.check(x, mask)
        return size


def checked_columns(likelihood: Columns | None, data_dim: int) -> Columns:
    """Return the likelihood of a table of D columns, D real ones by default.

    Raises
    ------
    InputError
        It is no `Columns`, or has another number of columns.
    """
    if likelihood is None:
        return Columns(data_dim)
    if not isinstance(likelihood, Columns):
        cure = 'Columns([Column("age"), Column("sex", "binary")])'
        raise InputError("likelihood", repr(likelihood), "a likelihood of columns", cure)
    if likelihood.data_dim != data_dim:
        found, cure = f"{likelihood.data_dim} columns", "give data_dim=likelihood.data_dim"
        raise InputError("likelihood", found, f"{data_dim}, the model's data_dim", cure)
    return likelihood
