r"""RVAE: the recurrent VAE, whose frames depend on all latents so far, or on all there are.

::

    z_t ~ N(0, I)        s_t ~ p(. | emission(LSTM(z_{1:t})))
    or, not causal,      s_t ~ p(. | emission(BiLSTM(z_{1:T})))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates. The networks are those of the
benchmark of X. Bie et al., arXiv:2106.06500, with the sizes of its speech models.

References: S. Leglaive et al., "A recurrent variational autoencoder for speech enhancement", ICASSP
2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import LSTM


class RVAE(DynamicalVAE):
    """Recurrent VAE: latents without dynamics, and frames that remember the latents.

    Parameters
    ----------
    data_dim, latent_dim : int
    recurrent_dim : int
        H, of each direction.
    causal : bool
        Whether s_t reads z_{1:t}, or z_{1:T}.
    **options
        ``likelihood``, as in `DynamicalVAE`.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        recurrent_dim: int = 128,
        causal: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.causal, self.noncausal = causal, not causal
        self.recurrence = LSTM(latent_dim, recurrent_dim)
        self.backward = None if causal else LSTM(latent_dim, recurrent_dim, backward=True)
        read_dim = recurrent_dim if causal else 2 * recurrent_dim
        self.emission = nn.Linear(read_dim, self.likelihood.raw_dim)

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from z_{1:t}, or from z_{1:T}."""
        read = past.memory(self.recurrence, z)
        if self.backward is not None:
            read = torch.cat([read, self.backward(z, past.mask)], -1)
        raw: Tensor = self.emission(read)
        return raw
