r"""FrameVAE: a VAE of each frame by itself, the member of the family without dynamics.

::

    z_t ~ N(0, I)        s_t ~ p(. | emission(z_t))

Sites: ``z`` (T, L) and ``s`` (T, D), in the enclosing plates.

Reference: D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.networks import MLP


class FrameVAE(DynamicalVAE):
    """A VAE of each frame by itself: nothing has dynamics.

    Parameters
    ----------
    data_dim, latent_dim : int
        D and L.
    emission_dims : sequence of int
        Hidden layers of the emission.
    **options
        ``likelihood``, as in `DynamicalVAE`.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        emission_dims: Sequence[int] = (128,),
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.emission = MLP(latent_dim, *emission_dims, self.likelihood.raw_dim)

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from z_t."""
        return self.emission(z)
