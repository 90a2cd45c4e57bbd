r"""VRNN: one LSTM over past frames and latents, which prior and emission share.

::

    h_t = LSTM(s_{1:t-1}, z_{1:t-1})
    z_t ~ N(prior(h_t))        s_t ~ p(. | emission(h_t, z_t))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates. The networks are those of the
benchmark of X. Bie et al., arXiv:2106.06500, with the sizes of its speech models.

References: J. Chung et al., "A recurrent latent variable model for sequential data", NeurIPS 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import LSTM, MLP, Conditional, ConditionalNormal, together
from ppl_models.sequences import Moments


class VRNN(DynamicalVAE):
    """Variational RNN: one LSTM over frames and latents, which prior and emission read.

    Parameters
    ----------
    data_dim, latent_dim, input_dim, latent_dims, recurrent_dim
        Those of `STORN`.
    prior_dims, emission_dims : sequence of int
        Hidden layers; none by default, as in the benchmark.
    **options
        ``likelihood``, as in `DynamicalVAE`.
    """

    autoregressive = True

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        input_dim: int = 256,
        latent_dims: Sequence[int] = (32, 64),
        recurrent_dim: int = 128,
        prior_dims: Sequence[int] = (),
        emission_dims: Sequence[int] = (),
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.input_dim = input_dim
        self.reader = nn.Sequential(nn.Linear(self.feature_dim, input_dim), nn.Tanh())
        self.latent_reader = nn.Sequential(MLP(latent_dim, *latent_dims), nn.Tanh())
        self.recurrence = LSTM(input_dim + latent_dims[-1], recurrent_dim)
        self.prior = ConditionalNormal(recurrent_dim, 0, prior_dims, latent_dim)
        raw_dim = self.likelihood.raw_dim
        self.emission = Conditional(recurrent_dim, latent_dims[-1], emission_dims, raw_dim)

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1} and z_{1:t-1}."""
        read = together(self.reader(past.s), self.latent_reader(past.z))
        return past.memory(self.recurrence, read)

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from h_t."""
        moments: Moments = self.prior(h)
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from h_t and z_t."""
        raw: Tensor = self.emission(h, self.latent_reader(z))
        return raw
