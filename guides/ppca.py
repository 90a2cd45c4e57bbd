r"""The guide of probabilistic PCA: a linear Gaussian posterior, of full or diagonal covariance.

The exact posterior adds up the evidence of the D numbers of a datum:

.. math:: \mathrm{Cov}(z \mid x)^{-1} = I + \sum_d a_d a_d^T, \quad a_d = W_d / \mathrm{scale}

The guide has that form, with directions and an encoder of its own.

References
----------
Tipping and Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999, section 3.2.
Lucas, Tucker, Grosse and Norouzi, "Don't Blame the ELBO! A Linear VAE Perspective on Posterior
Collapse", NeurIPS 2019, section 4: the diagonal guide aligns W.
"""

from __future__ import annotations

from typing import Literal, cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.ppca import PPCA, combine_evidence, zero_missing


class PPCAGuide(ReadingGuide[PPCA]):
    """Amortized linear Gaussian posterior q(z | x) of :class:`ppl_models.ppca.PPCA`.

    With a full covariance, shared by all data of which the same numbers were observed, the family
    contains the exact posterior for any W: the best bound *is* the evidence. With a diagonal
    covariance it does so only where the columns of W are orthogonal. The evidence is the same for
    all rotations of W, but only there does the bound reach it, so training finds such a W (Lucas et
    al. 2019): the axes of a linear VAE with this guide are the principal axes.

    Parameters
    ----------
    model : PPCA
    covariance : "full" or "diagonal"

    Raises
    ------
    InputError
        Another covariance.
    """

    def __init__(
        self,
        model: PPCA,
        *,
        covariance: Literal["full", "diagonal"] = "full",
    ) -> None:
        super().__init__(model)
        if covariance not in ("full", "diagonal"):
            cure = "full is exact; diagonal is what a VAE's guide usually has"
            raise InputError("covariance", repr(covariance), '"full" or "diagonal"', cure)
        self.covariance, data_dim, latent_dim = covariance, model.data_dim, model.latent_dim
        self.centre = nn.Parameter(torch.zeros(data_dim))
        self.directions = nn.Parameter(torch.randn(data_dim, latent_dim) / data_dim**0.5)
        self.encoder = nn.Parameter(self.directions.detach().clone())
        # lengths apart: by the time the noise is small, they have grown by orders of magnitude
        self.log_length = nn.Parameter(torch.zeros(latent_dim))
        self.log_gain = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D), of which those in ``mask`` were observed.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            return pyro.sample("z", self.posterior(cast(Tensor, x), mask))

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> TorchDistribution:
        """Return q(z | x), batch shape (N,), event shape (L,)."""
        message = zero_missing(x - self.centre, mask) @ (self.encoder * self.log_gain.exp())
        directions = self.directions * self.log_length.exp()
        if self.covariance == "full":
            return combine_evidence(directions, message, mask)
        squares = directions.square()
        precision = 1 + (squares.sum(0) if mask is None else mask.to(x.dtype) @ squares)
        return dist.Normal(message / precision, precision.rsqrt()).to_event(1)

    @torch.no_grad()
    def set_exact(self) -> PPCAGuide:
        """Take the parameters of the model's exact posterior, and return the guide.

        With a diagonal covariance this is the posterior only if the columns of W are orthogonal.
        """
        model = self.model
        inverse_scale = (-model.log_scale).exp()
        self.centre.copy_(model.mean)
        for logarithm in (self.log_length, self.log_gain):
            logarithm.zero_()
        self.directions.copy_(model.weight * inverse_scale)
        self.encoder.copy_(model.weight * inverse_scale**2)
        return self
