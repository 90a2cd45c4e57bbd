r"""The posterior of a linear Gaussian model of a set of values: exact where the model is linear.

Were each value, given z, Normal(a_d z, 1 / lambda_d), the posterior of z ~ Normal(0, I) would be

.. math:: q(z \mid x_O) = N(\Lambda^{-1} \eta, \Lambda^{-1}), \quad
          \Lambda = I + \sum_{d \in O} \lambda_d a_d a_d^T, \quad
          \eta = \sum_{d \in O} \lambda_d a_d y_d

with y_d a linear function of what was read of value d. Every observed value adds its own term, so
that any subset is read at once, in any order; of none, the posterior is the prior.

References
----------
Tipping and Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
