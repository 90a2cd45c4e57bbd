r"""Guides of the multimodal VAE: the posterior of the code, given whichever modalities a row has.

Four families cover every pattern A of observed modalities with few networks: a product of one
expert a modality, a mixture of them, a mixture of products, and an encoder of all together.

.. math:: q(z \mid x_A) \propto p(z) \prod_{m \in A} q_m(z \mid x_m), \qquad
          q(z \mid x_A) = \frac{1}{|A|} \sum_{m \in A} q_m(z \mid x_m), \quad \dots
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.modalities import MultimodalGuide, in_any, multiply
from ppl_models.distributions import NormalMixture
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.modalities import Rows
from ppl_models.multimodal import DMVAE, MultimodalVAE
from ppl_models.networks import MLP, split_normal
from ppl_models.sequences import Moments


class MVAEGuide(MultimodalGuide):
    """A product of experts, one a modality, and of the prior (Wu and Goodman 2018, section 2.2).

    q(z | x_A) is proportional to N(z; 0, I) prod_{m in A} N(z; mu_m(x_m), diag sigma_m(x_m)^2): the
    posterior itself wherever log p(x_m | z) is a diagonal quadratic of z. Parameters as
    `MultimodalGuide`.
    """

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return the product of the experts of the observed modalities."""
        return dist.Normal(*multiply(*self.experts(rows), rows.observed)).to_event(1)

    def experts(self, rows: Rows) -> Moments:
        """Return mean and scale of each modality's expert, (N, M, L); arbitrary where missing."""
        moments = [
            split_normal(self.encoders[n](self.features(n, rows)))
            if in_any(rows.observed_of(m))
            else self.standard(rows, self.latent_dim)
            for m, n in enumerate(self.names)
        ]
        loc, scale = zip(*moments, strict=True)
        return torch.stack(loc, -2), torch.stack(scale, -2)


class MixtureGuide(MVAEGuide):
    """A mixture of products of experts, over a family of subsets of the modalities.

    q(z | x_A) = mean over S in the family, where S and A meet, of q_S(z), a product of the experts
    in both S and A. One draw takes one of them at random and is reparametrised in it; the density
    is that of the whole mixture. The weights are not learned, so the gradient is unbiased.

    Parameters
    ----------
    model, **options
        As `MultimodalGuide`.
    family
        (K, M) bool, the subsets.
    prior_expert
        Whether N(0, I) is a factor of each product.
    """

    family: Tensor

    def __init__(
        self, model: MultimodalVAE, family: Tensor, prior_expert: bool, **options: Any
    ) -> None:
        super().__init__(model, **options)
        self.prior_expert = prior_expert
        self.register_buffer("family", family, persistent=False)

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return the mixture over the subsets of the observed modalities."""
        loc, scale = (moment.unsqueeze(-3) for moment in self.experts(rows))
        members = self.family if rows.observed is None else self.family & rows.observed[:, None]
        meets = members.any(-1)
        first = torch.arange(len(self.family), device=meets.device) == 0
        meets = meets | (first & ~meets.any(-1, keepdim=True))  # nothing observed: the prior, once
        return NormalMixture(*multiply(loc, scale, members, self.prior_expert), meets)


class MMVAEGuide(MixtureGuide):
    """A mixture of experts with equal weights, one an observed modality (Shi et al. 2019).

    q(z | x_A) = 1 / |A| sum_{m in A} N(z; mu_m(x_m), diag sigma_m(x_m)^2). Parameters as
    `MultimodalGuide`.
    """

    def __init__(self, model: MultimodalVAE, **options: Any) -> None:
        super().__init__(model, torch.eye(len(model.names)) > 0, False, **options)


class MoPoEGuide(MixtureGuide):
    """A mixture over all subsets of the modalities of products of experts (Sutter et al. 2021).

    q(z | x_A) is the mean of q_S over the subsets S of A that are not empty, q_S as `MVAEGuide`'s.
    Beyond ``max_subsets`` of them the family is the M single ones, the whole, and others drawn
    once from ``seed``: each meets A in a subset of it, over which the mean is taken. The bound is
    that of this mixture, a lower bound on the evidence like any other; the number of networks is M.

    Parameters
    ----------
    model, **options
        As `MultimodalGuide`.
    max_subsets : int
        Components at most; at least M + 1.
    seed : int
        Of the choice of subsets, where there are more.
    """

    def __init__(
        self, model: MultimodalVAE, *, max_subsets: int = 32, seed: int = 0, **options: Any
    ) -> None:
        count = len(model.names)
        check_count("max_subsets", max_subsets, count + 1)
        super().__init__(model, _subsets(count, max_subsets, seed), True, **options)


def _subsets(count: int, most: int, seed: int) -> Tensor:
    """Choose subsets of ``count`` modalities, (K, count) bool: all, or ``most`` of them."""
    if 2**count - 1 <= most:
        return torch.tensor(list(product([False, True], repeat=count))[1:])
    chosen = {tuple(row) for row in torch.eye(count).bool().tolist()} | {(True,) * count}
    generator = torch.Generator().manual_seed(seed)
    while len(chosen) < most:
        row = torch.rand(count, generator=generator) < 0.5
        chosen |= {tuple(row.tolist())} if row.any() else set()
    return torch.tensor(sorted(chosen))


class JMVAEGuide(MultimodalGuide):
    """One encoder of all modalities together, and one of each alone (Suzuki et al. 2016).

    A row with one observed modality goes through that modality's encoder, a row with several
    through the joint encoder: one layer a modality, the outputs of which are concatenated and
    passed to a network. With three modalities or more the outputs of missing ones are zero, and the
    network is given the mask. `inference.objectives.multimodal.SubsetKL` trains the single
    encoders, which no bound of complete rows does. Parameters as `MultimodalGuide`.

    Raises
    ------
    InputError
        No hidden layer, of which the joint encoder needs one.
    """

    def __init__(self, model: MultimodalVAE, **options: Any) -> None:
        super().__init__(model, **options)
        if not self.hidden_dims:
            raise InputError(
                "hidden_dims", "()", "one width or more", "take hidden_dims=(128, 128)"
            )
        (width, *_), count = self.hidden_dims, len(self.names)
        sizes = {n: model.part(n).feature_dim for n in self.names}
        self.heads = nn.ModuleDict({n: nn.Linear(size, width) for n, size in sizes.items()})
        mask_dim, hidden = count if count > 2 else 0, self.hidden_dims[1:] or self.hidden_dims
        self.joint = MLP(count * width + mask_dim, *hidden, 2 * self.latent_dim, activation=nn.ReLU)

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return the posterior, by the encoder of each row's pattern."""
        if rows.observed is None and len(self.names) > 1:
            return dist.Normal(*self._joint(rows)).to_event(1)
        every = self.known.new_ones(rows.size, len(self.names))  # where the guide is
        observed = every if rows.observed is None else rows.observed
        count, (loc, scale) = observed.sum(-1), self.standard(rows, self.latent_dim)
        for m in range(len(self.names) + 1):
            joint = m == len(self.names)
            where = count > 1 if joint else (count == 1) & observed[:, m]
            if where.any():
                moments = self._joint(rows) if joint else self._single(m, rows)
                loc = torch.where(where[:, None], moments[0], loc)
                scale = torch.where(where[:, None], moments[1], scale)
        return dist.Normal(loc, scale).to_event(1)

    def _single(self, m: int, rows: Rows) -> Moments:
        name = self.names[m]
        return split_normal(self.encoders[name](self.features(name, rows)))

    def _joint(self, rows: Rows) -> Moments:
        heads = []
        for m, name in enumerate(self.names):
            present = rows.observed_of(m)
            if not in_any(present):
                heads.append(self.zero.expand(rows.size, self.hidden_dims[0]))
                continue
            head = self.heads[name](self.features(name, rows)).relu()
            heads.append(head if present is None else torch.where(present[:, None], head, 0 * head))
        if len(self.names) > 2:
            ones = self.zero.expand(rows.size, len(self.names)) + 1
            heads.append(ones if rows.observed is None else rows.observed.to(ones))
        return split_normal(self.joint(torch.cat(heads, -1)))


class DMVAEGuide(MVAEGuide):
    """A product of experts for what is shared, each modality's own encoder for what is private.

    Lecture eq. 26; Lee and Pavlovic 2021, section 3. A private code is inferred from its modality
    where the row has it and it is ``observed``; elsewhere it is the prior's.

    Parameters
    ----------
    model : DMVAE
        As `MultimodalGuide`.
    peek : bool
        Infer a private code from its modality wherever the row has it, ``observed`` or not: so it
        is in the published cross terms (`SubsetObjective`, ``terms="cross"``). There the private
        code can hold all of its modality, and one modality generated from another may stay at
        chance (as in ``benchmarks.multimodal``); without, the information has to be shared.
    **options
        As `MultimodalGuide`; an encoder gives (N, 2 L + 2 P): means and log scales of the shared
        code, then those of the private one.
    """

    def __init__(self, model: DMVAE, *, peek: bool = False, **options: Any) -> None:
        self.private: dict[str, int] = dict(model.private)
        super().__init__(model, **options)
        self.peek = peek

    def _outputs(self, name: str) -> int:
        return 2 * (self.latent_dim + self.private[name])

    def _sample(self, rows: Rows) -> Tensor:
        shared, own = [], []
        for m, name in enumerate(self.names):
            both = self.standard(rows, self.latent_dim), self.standard(rows, self.private[name])
            observed, present = rows.observed_of(m), rows.mask_of(m)
            if rows.has_data and (in_any(observed) or (self.peek and in_any(present))):
                raw = self.encoders[name](self.features(name, rows))
                split = raw.split([2 * self.latent_dim, 2 * self.private[name]], -1)
                both = split_normal(split[0]), split_normal(split[1])
            shared.append(both[0])
            own.append(self._where(self._informed(rows, m), both[1]))
        loc, scale = (torch.stack(moments, -2) for moments in zip(*shared, strict=True))
        z = pyro.sample("z", dist.Normal(*multiply(loc, scale, rows.observed)).to_event(1))
        for name, moments in zip(self.names, own, strict=True):
            pyro.sample(f"z_{name}", dist.Normal(*moments).to_event(1))
        return z

    def _informed(self, rows: Rows, m: int) -> Tensor | None:
        """Return in which rows the private code of modality m is inferred, (N,); None: in all."""
        present, observed = rows.mask_of(m), rows.observed_of(m)
        if self.peek or observed is None:
            return present
        return observed if present is None else present & observed

    def _where(self, there: Tensor | None, moments: Moments) -> Moments:
        """Return the moments, and the prior's elsewhere."""
        if there is None:
            return moments
        loc, scale = moments
        keep = there[:, None]
        return torch.where(keep, loc, 0 * self.zero), torch.where(keep, scale, 1 + self.zero)
