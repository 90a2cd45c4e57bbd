r"""What a set of values says of z ~ Normal(0, I): Gaussian messages that add up, one a value.

Were each value, given z, Normal(a_d z, 1 / lambda_d), the posterior would be

.. math:: q(z \mid x_O) = N(\Lambda^{-1} \eta, \Lambda^{-1}), \quad
          \Lambda = I + \sum_{d \in O} \lambda_d a_d a_d^T, \quad
          \eta = \sum_{d \in O} \lambda_d a_d y_d

with y_d a linear function of what was read of value d: `LinearPosterior`. `AdditiveEvidence` has
precisions of each number of z alone, and so a diagonal covariance. Any subset is read at once, in
any order; of none, the posterior is the prior.

References
----------
Tipping and Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_models.networks.set_embedding import hide


class AdditiveEvidence(nn.Module):
    """The posterior of z ~ Normal(0, I) to which each observed value adds a Gaussian message.

    The precision is 1 + sum_d a_d and the mean sum_d (W_d x_d + b_d) over it: exact for linear
    Gaussian columns of one latent, the prior where nothing was observed, and a place to start from
    elsewhere.

    Parameters
    ----------
    data_dim, value_dim : int
        D, and V numbers a value.
    latent_dim : int
        L.
    """

    def __init__(self, data_dim: int, value_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.log_precision = nn.Parameter(torch.full((data_dim, latent_dim), -2.0))
        self.weight = nn.Parameter(torch.randn(data_dim * value_dim, latent_dim) / data_dim**0.5)
        self.bias = nn.Parameter(torch.zeros(data_dim, latent_dim))

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log scale (..., L) of values (..., D, V), those in the mask (..., D)."""
        seen = mask.to(values.dtype)
        precision = 1 + seen @ self.log_precision.exp()
        message = hide(values, mask).flatten(-2) @ self.weight + seen @ self.bias
        return message / precision, -0.5 * precision.log()


class LinearPosterior(nn.Module):
    """Mean and Cholesky factor of the covariance of z, given a set of values.

    Parameters
    ----------
    data_dim : int
        D, columns.
    value_dim : int
        V, numbers that describe a value.
    latent_dim : int
        L.

    Shapes: values (..., D, V) and mask (..., D) -> mean (..., L) and factor (..., L, L), lower
    triangular, with factor @ factor.T the covariance.
    """

    eye: Tensor

    def __init__(self, data_dim: int, value_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(0.5 * torch.randn(data_dim, latent_dim))
        self.log_precision = nn.Parameter(torch.zeros(data_dim))
        start = torch.zeros(data_dim, value_dim)
        start[:, 0] = 1.0
        self.readings = nn.Parameter(start)
        self.register_buffer("eye", torch.eye(latent_dim), persistent=False)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and factor."""
        weight = self.log_precision.exp() * mask
        pairs = self.directions[:, :, None] * self.directions[:, None]  # (D, L, L)
        precision = self.eye + (weight @ pairs.flatten(1)).unflatten(-1, self.eye.shape)
        readings = (torch.where(mask[..., None], values, 0.0) * self.readings).sum(-1)
        message = (weight * readings) @ self.directions
        # of the matrix turned by half a turn, so that the factor of its inverse is lower, too
        turned = torch.linalg.cholesky(precision.flip(-2, -1)).flip(-2, -1).mT
        factor = torch.linalg.solve_triangular(turned, self.eye, upper=False)
        mean = (factor @ (factor.mT @ message[..., None]))[..., 0]
        return mean, factor
