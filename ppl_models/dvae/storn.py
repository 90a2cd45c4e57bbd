r"""STORN: an LSTM over past frames, driven by independent latents.

::

    z_t ~ N(0, I)        h_t = LSTM(s_{1:t-1}, z_{1:t})        s_t ~ p(. | emission(h_t))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates. The networks are those of the
benchmark of X. Bie et al., arXiv:2106.06500, with the sizes of its speech models.

References: J. Bayer, C. Osendorfer, "Learning stochastic recurrent networks", 2014,
arXiv:1411.7610.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import LSTM, MLP, Conditional, together


class STORN(DynamicalVAE):
    """Stochastic recurrent network of Bayer and Osendorfer: noise z_t drives an LSTM over frames.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    input_dim : int
        Layer that reads s_{t-1}.
    latent_dims : sequence of int
        Layers that read z_t.
    recurrent_dim : int
        H.
    emission_dims : sequence of int
        Hidden layers of the emission.
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
        emission_dims: Sequence[int] = (256,),
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.input_dim = input_dim
        self.reader = nn.Sequential(nn.Linear(self.feature_dim, input_dim), nn.Tanh())
        self.latent_reader = nn.Sequential(MLP(latent_dim, *latent_dims), nn.Tanh())
        self.recurrence = LSTM(input_dim + latent_dims[-1], recurrent_dim)
        self.emission = Conditional(recurrent_dim, 0, emission_dims, self.likelihood.raw_dim)

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from s_{1:t-1} and z_{1:t}."""
        read = together(self.reader(past.s), self.latent_reader(z))
        raw: Tensor = self.emission(past.memory(self.recurrence, read))
        return raw
