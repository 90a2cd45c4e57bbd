r"""DKF: the deep Kalman filter, a state-space model whose transition and emission are networks.

::

    z_t ~ N(transition(z_{t-1}))        s_t ~ p(. | emission(z_t))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates. It is also called DMM. The networks
are those of the benchmark of X. Bie et al., arXiv:2106.06500, with the sizes of its speech models.

References: R. G. Krishnan, U. Shalit, D. Sontag, "Structured inference networks for nonlinear state
space models", AAAI 2017 (gated transition: section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import MLP
from ppl_models.sequences import Moments


class DKF(DynamicalVAE):
    """Deep Kalman filter: a state-space model whose transition and emission are networks.

    Parameters
    ----------
    data_dim, latent_dim : int
    emission_dims : sequence of int
    transition_dim : int
        Hidden layer of the gate and of the proposal.
    linear : bool
        Make transition and emission linear, as an LDS with a diagonal noise has them.
    **options
        ``likelihood``, as in `DynamicalVAE`.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        emission_dims: Sequence[int] = (32, 64, 128, 256),
        transition_dim: int = 16,
        linear: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        raw_dim = self.likelihood.raw_dim
        self.transition: nn.Module
        if linear:
            self.transition = LinearTransition(latent_dim)
            self.emission: nn.Module = nn.Linear(latent_dim, raw_dim)
        else:
            self.transition = GatedTransition(latent_dim, transition_dim)
            self.emission = MLP(latent_dim, *emission_dims, raw_dim)

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from z_{t-1}."""
        moments: Moments = self.transition(past.z)
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from z_t."""
        raw: Tensor = self.emission(z)
        return raw


class GatedTransition(nn.Module):
    """z_t given z_{t-1}, as Krishnan et al. 2017, section 5, have it.

    gate = sigmoid(net), proposal = net; mean = (1 - gate) linear(z) + gate proposal, variance =
    softplus(linear(relu(proposal))). The linear map starts as the identity.
    """

    def __init__(self, latent_dim: int, hidden_dim: int) -> None:
        super().__init__()
        sizes = latent_dim, hidden_dim, latent_dim
        self.gate = MLP(*sizes, activation=nn.ReLU)
        self.proposal = MLP(*sizes, activation=nn.ReLU)
        self.linear = nn.Linear(latent_dim, latent_dim)
        self.spread = nn.Linear(latent_dim, latent_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> Moments:
        """Return mean and scale (..., L)."""
        gate, proposal = self.gate(z).sigmoid(), self.proposal(z)
        variance = nn.functional.softplus(self.spread(proposal.relu()))
        return torch.lerp(self.linear(z), proposal, gate), (variance + 1e-6).sqrt()


class LinearTransition(nn.Module):
    """z_t ~ N(A z_{t-1} + b, diag scale^2); z_1 ~ N(b, diag scale^2)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, latent_dim)
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, z: Tensor) -> Moments:
        """Return mean and scale (..., L)."""
        mean = self.linear(z)
        return mean, self.log_scale.exp().expand_as(mean)
