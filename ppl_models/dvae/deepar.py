r"""DeepAR: an autoregressive model without latents.

::

    s_{t-1} -> h_t = LSTM(s_{t-1}, h_{t-1})        h_t -> s_t ~ p(. | emission(h_t))

Site: ``s`` (T, D), in the enclosing plates.

References: D. Salinas et al., "DeepAR: probabilistic forecasting with autoregressive recurrent
networks", Int. J. Forecasting 2020, arXiv:1704.04110.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.past import Past
from ppl_models.likelihoods import Likelihood
from ppl_models.networks import LSTM, Conditional


class DeepAR(DynamicalVAE):
    """Autoregressive model: an LSTM over past frames, and an emission.

    Parameters
    ----------
    data_dim : int
        D, size of s_t.
    input_dim, recurrent_dim : int
        Sizes of the layer that reads s_{t-1}, and of h_t.
    emission_dims : sequence of int
        Hidden layers of the emission.
    likelihood : str or Likelihood, optional
        By default ``Motion(data_dim)``: a Gaussian path, as in tracking.
    """

    autoregressive = True

    def __init__(
        self,
        data_dim: int = 4,
        *,
        input_dim: int = 4,
        recurrent_dim: int = 8,
        emission_dims: Sequence[int] = (16,),
        likelihood: str | Likelihood | None = None,
    ) -> None:
        super().__init__(data_dim, 0, likelihood=likelihood or Motion(data_dim))
        self.reader = nn.Sequential(nn.Linear(self.feature_dim, input_dim), nn.Tanh())
        self.recurrence = LSTM(input_dim, recurrent_dim)
        self.emission = Conditional(recurrent_dim, 0, emission_dims, self.likelihood.raw_dim)

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1}."""
        return past.memory(self.recurrence, self.reader(past.s))

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from h_t."""
        raw: Tensor = self.emission(h)
        return raw
