"""Several senses of one thing, told from what they share and from what each has for itself.

::

    z ~ Normal(0, I)                               L numbers that all modalities share
    z_m ~ Normal(0, I)                             P_m numbers of one modality alone
    x_m ~ likelihood_m(decoder_m(z, z_m))          D_m numbers, m = 1, ..., M, where a row has it

     z ---+--> x_1 <-- z_1         p(z) prod_m p(z_m) p(x_m | z, z_m)
          +--> x_2 <-- z_2
          +--> x_M <-- z_M

References
----------
Lee and Pavlovic, "Private-Shared Disentangled Multimodal VAE for Learning of Latent
Representations", CVPR Workshops 2021, section 3. The VAE lecture, eq. 25.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.inputs import check_count
from ppl_models.modalities import Modalities
from ppl_models.multimodal import EXAMPLE, MultimodalVAE


class DMVAE(MultimodalVAE):
    """The story of the disentangled multi-modal VAE: M modalities, a shared code, private codes.

    Sites: ``z`` (L,), ``z_<name>`` (P,) and the modality (D_m,), all in the plate ``data``. Where a
    modality is missing its private code is that of the prior, in story and guide, and costs
    nothing.

    Parameters
    ----------
    private_dim : int or mapping of str to int
        P, numbers of a private code: of each modality, or by name.
    **options
        As `MultimodalVAE`; a decoder reads (..., L + P), the shared numbers first.
    """

    zero: Tensor

    def __init__(
        self,
        modalities: Modalities = EXAMPLE,
        latent_dim: int = 8,
        *,
        private_dim: int | Mapping[str, int] = 2,
        hidden_dim: int = 128,
        num_layers: int = 2,
        decoders: Mapping[str, nn.Module] | None = None,
        prior: nn.Module | None = None,
    ) -> None:
        self.private: dict[str, int] = {
            name: private_dim[name] if isinstance(private_dim, Mapping) else private_dim
            for name in modalities
        }
        for name, count in self.private.items():
            check_count(f"private_dim of {name}", count)
        super().__init__(
            modalities,
            latent_dim,
            hidden_dim=hidden_dim,
            num_layers=num_layers,
            decoders=decoders,
            prior=prior,
        )
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def code_dim(self, name: str) -> int:
        """Return L + P."""
        return self.latent_dim + self.private[name]

    def _code(self, name: str, z: Tensor) -> Tensor:
        own = dist.Normal(self.zero.expand(self.private[name]), 1.0).to_event(1)
        return torch.cat([z, pyro.sample(f"z_{name}", own)], -1)
