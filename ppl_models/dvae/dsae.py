r"""DSAE: the disentangled sequential autoencoder, with a latent for what stays the same.

::

    v ~ N(0, I)        z_t ~ N(prior(LSTM(z_{1:t-1})))        s_t ~ p(. | emission(z_t, v))

Sites: ``v`` (V,), ``z`` (T, L) and ``s`` (T, D), in the enclosing plates; the paper calls v f. The
networks are those of the benchmark of X. Bie et al., arXiv:2106.06500, with the sizes of its speech
models.

References: Y. Li, S. Mandt, "Disentangled sequential autoencoder", ICML 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import LSTM, Conditional, ConditionalNormal
from ppl_models.sequences import Moments


class DSAE(DynamicalVAE):
    """Disentangled sequential autoencoder: v for what stays, z_t for what changes.

    Parameters
    ----------
    data_dim, latent_dim, global_dim : int
        D, L, and V of what stays.
    recurrent_dim : int
        H of the prior's LSTM.
    emission_dims : sequence of int
    **options
        ``likelihood``, as in `DynamicalVAE`.
    """

    global_site = "v"

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        global_dim: int = 4,
        recurrent_dim: int = 128,
        emission_dims: Sequence[int] = (32, 64, 128, 256),
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, global_dim=global_dim, **options)
        self.recurrence = LSTM(latent_dim, recurrent_dim)
        self.prior = ConditionalNormal(recurrent_dim, 0, (), latent_dim)
        raw_dim = self.likelihood.raw_dim
        self.emission = Conditional(latent_dim, global_dim, emission_dims, raw_dim)

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from z_{1:t-1}."""
        moments: Moments = self.prior(past.memory(self.recurrence, past.z))
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from z_t and v."""
        raw: Tensor = self.emission(z, past.w)
        return raw
