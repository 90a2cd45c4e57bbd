r"""The guide of the hierarchical VAE: features of x bottom up, codes top down beside the model.

.. math:: q(z \mid x) = q(z_0 \mid x) \prod_{n=1}^N q(z_n \mid z_{<n}, x)

A pass up computes features e_n of x for each level. On the pass down, shared with the model, the
posterior of level n is relative to its prior: e_n and the model's features h_n give a shift of the
mean in prior standard deviations, and a change of the log scale. A level on which x has no bearing
costs nothing.

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

    It runs the model's own blocks, by reference: the guide's parameters, and its ``state_dict``,
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

    def forward(self, x: Tensor | None = None) -> Tensor:
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
        """Return e_0, ..., e_N (N, H), top first: a higher level is reached by more blocks."""
        h, levels = self.first(self.model.likelihood.features(x)), list[Tensor]()
        for block in reversed(self.up):
            h = block(h)
            levels.insert(0, h)
        return levels

    def posterior(self, n: int, feature: Tensor, rung: Rung | None) -> TorchDistribution:
        """Return q(z_n | z_<n, x), event shape (L_n,); at the top, ``rung`` is None."""
        if rung is None:
            loc, scale = split_normal(self.head[n](feature))
            return dist.Normal(loc, scale, validate_args=False).to_event(1)
        feature, stream = torch.broadcast_tensors(feature, rung.stream)
        shift, factor = split_normal(self.head[n](torch.cat([feature, stream], -1)))
        loc, scale = rung.loc + rung.scale * shift, rung.scale * factor
        return dist.Normal(loc, scale, validate_args=False).to_event(1)
