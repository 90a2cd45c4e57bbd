r"""SRNN: h_t is read from past frames alone, and z_t is a Markov chain given h.

::

    s_{t-1} -> h_t = LSTM(s_{t-1}, h_{t-1})
    h_t, z_{t-1} -> z_t        z_t ~ N(prior(h_t, z_{t-1}))
    h_t, z_t     -> s_t        s_t ~ p(. | emission(h_t, z_t))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates. The default is the tracking model of
Lin et al.: the path of an object (`Motion`), 1,540 parameters with its guide. `benchmarks.speech`
has the sizes of the speech papers.

References: M. Fraccaro et al., "Sequential neural models with stochastic layers", NeurIPS 2016; X.
Lin et al., "Mixture of dynamical variational autoencoders for multi-source trajectory modeling and
separation", TMLR 2023 (sizes for tracking).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.past import Past
from ppl_models.likelihoods import Likelihood
from ppl_models.networks import LSTM, Conditional, ConditionalNormal
from ppl_models.sequences import Moments


class SRNN(DynamicalVAE):
    """Stochastic recurrent network: `DeepAR`, with a latent z_t ~ N(prior(h_t, z_{t-1})) a frame.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    input_dim, recurrent_dim : int
        Sizes of the layer that reads s_{t-1}, and of h_t.
    prior_dims, emission_dims : sequence of int
        Hidden layers of the prior and of the emission.
    likelihood : str or Likelihood, optional
        By default ``Motion(data_dim)``: a Gaussian path, as in tracking.
    """

    autoregressive = True

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        input_dim: int = 4,
        recurrent_dim: int = 8,
        prior_dims: Sequence[int] = (8, 8),
        emission_dims: Sequence[int] = (16,),
        likelihood: str | Likelihood | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, likelihood=likelihood or Motion(data_dim))
        self.reader = nn.Sequential(nn.Linear(self.feature_dim, input_dim), nn.Tanh())
        self.recurrence = LSTM(input_dim, recurrent_dim)
        sizes = recurrent_dim, latent_dim
        self.emission = Conditional(*sizes, emission_dims, self.likelihood.raw_dim)
        self.prior = ConditionalNormal(*sizes, prior_dims, latent_dim)

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1}."""
        return past.memory(self.recurrence, self.reader(past.s))

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from h_t and z_{t-1}."""
        moments: Moments = self.prior(h, past.z)
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from h_t and z_t."""
        raw: Tensor = self.emission(h, z)
        return raw
