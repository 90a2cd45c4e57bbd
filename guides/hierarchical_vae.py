r"""The guide of the hierarchical VAE: up through the datum, down through the model's own stream.

.. math:: q(z \mid x) = q(z_0 \mid x) \prod_{n=1}^N q(z_n \mid z_{<n}, x)

On the way up a feature e_n is left for each level; on the way down, beside the model, level n's
posterior moves the prior by what e_n and the stream say: its mean by so many of the prior's scales,
its log scale by so much. A level of which x tells nothing costs nothing.

References
----------
Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images", ICLR
2021, section 3. Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder",
NeurIPS 2020, arXiv:2007.03898, section 3.2: relative posteriors.
"""

from __future__ import annotations

from typing import cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.hierarchical_vae import HierarchicalVAE, Residual, Rung
from ppl_models.inputs import count_rows
from ppl_models.networks import MLP, split_normal


class HierarchicalVAEGuide(ReadingGuide[HierarchicalVAE]):
    """Top-down posterior q(z0, ..., zN | x) of `HierarchicalVAE`.

    Walks down the model's own stream, by reference: the guide's parameters, and its ``state_dict``,
    are its own networks' alone. Copy or pickle model and guide together.

    Parameters
    ----------
    model : HierarchicalVAE
    """

    def __init__(self, model: HierarchicalVAE) -> None:
        super().__init__(model)
        width, levels = model.hidden_dim, len(model.latent_dims)
        self.first = nn.Linear(model.likelihood.feature_dim, width)
        self.up = nn.ModuleList(Residual(width, levels**-0.5) for _ in range(levels))
        top, *below = model.latent_dims
        heads = [nn.Sequential(nn.GELU(), nn.Linear(width, 2 * top))]
        heads += [nn.Sequential(nn.GELU(), MLP(2 * width, width, 2 * size)) for size in below]
        self.head = nn.ModuleList(heads)

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Sample ``z0`` (N, L_0), ..., ``zN`` for data ``x`` (N, D); return the last.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            features, rung = self.features(cast(Tensor, x)), None
            last = len(features) - 1
            for n, feature in enumerate(features):
                z = pyro.sample(f"z{n}", self.posterior(n, feature, rung))
                rung = self.model.descend(n, rung, z, leave=True) if n < last else None
            return z

    def features(self, x: Tensor) -> list[Tensor]:
        """Return e_0, ..., e_N (N, H), top first: the higher the level, the longer the way up."""
        h, found = self.first(self.model.likelihood.features(x)), list[Tensor]()
        for block in reversed(self.up):
            h = block(h)
            found.insert(0, h)
        return found

    def posterior(self, n: int, feature: Tensor, rung: Rung | None) -> TorchDistribution:
        """Return q(z_n | z_<n, x), event shape (L_n,); at the top, the rung is None."""
        if rung is None:
            loc, scale = split_normal(self.head[n](feature))
            return dist.Normal(loc, scale, validate_args=False).to_event(1)
        feature, stream = torch.broadcast_tensors(feature, rung.stream)
        moved, widened = split_normal(self.head[n](torch.cat([feature, stream], -1)))
        loc, scale = rung.loc + rung.scale * moved, rung.scale * widened
        return dist.Normal(loc, scale, validate_args=False).to_event(1)
