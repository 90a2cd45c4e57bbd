"""Guides of several modalities of one thing: what the code is, from whichever of them a row has.

Four ways to read one posterior for every pattern of missing modalities: a product of one expert a
modality, a mixture of them, a mixture of products, and an encoder of all together.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from guides.modalities import Moments, MultimodalGuide, multiply, needed
from ppl_models.distributions import NormalMixture
from ppl_models.inputs import check_count
from ppl_models.modalities import Rows
from ppl_models.networks import MLP, split_normal

if TYPE_CHECKING:
    from ppl_models.multimodal import DMVAE


if TYPE_CHECKING:
    from ppl_models.multimodal import MultimodalVAE


class MVAEGuide(MultimodalGuide):
    """A product of experts, one a modality, and of the prior (Wu and Goodman 2018, section 2.2).

    q(z | x_A) is proportional to N(z; 0, I) prod_{m in A} N(z; mu_m(x_m), diag sigma_m(x_m)^2): the
    posterior itself wherever log p(x_m | z) is a diagonal quadratic of z. Parameters as
    `MultimodalGuide`.
    """

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return the product of the experts that are seen."""
        return dist.Normal(*multiply(*self.experts(rows), rows.seen)).to_event(1)

    def experts(self, rows: Rows) -> Moments:
        """Return mean and scale of each modality's expert, (N, M, L); any number where unseen."""
        moments = [
            split_normal(self.encoders[n](self.read(n, rows)))
            if needed(rows.shows(m))
            else self.rest(rows, self.latent_dim)
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
        """Return the mixture over what is seen."""
        loc, scale = (moment.unsqueeze(-3) for moment in self.experts(rows))
        seen = self.family if rows.seen is None else self.family & rows.seen[:, None]
        meets = seen.any(-1)
        first = torch.arange(len(self.family), device=meets.device) == 0
        meets = meets | (first & ~meets.any(-1, keepdim=True))  # nothing seen: the prior, once
        return NormalMixture(*multiply(loc, scale, seen, self.prior_expert), meets)


class MMVAEGuide(MixtureGuide):
    """A mixture of experts, one a modality that is seen, all of one weight (Shi et al. 2019).

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

    A row of which one modality is seen is read by that modality's encoder, one of which several are
    by the joint encoder: a head a modality (one layer), whose outputs are joined and read by one
    more. With three modalities or more the heads of what is unseen are zero, and the joint encoder
    is told which they are. `inference.objectives.multimodal.SubsetKL` teaches the single encoders,
    which no bound of complete rows does. Parameters as `MultimodalGuide`.
    """

    def __init__(self, model: MultimodalVAE, **options: Any) -> None:
        super().__init__(model, **options)
        width, count = self.hidden_dim, len(self.names)
        self.heads = nn.ModuleDict({n: nn.Linear(self.features[n], width) for n in self.names})
        told = count if count > 2 else 0
        hidden = [width] * max(self.num_layers - 1, 1)
        self.joint = MLP(count * width + told, *hidden, 2 * self.latent_dim, activation=nn.ReLU)

    def distribution(self, rows: Rows) -> TorchDistribution:
        """Return what the encoder of the row's pattern says."""
        if rows.seen is None and len(self.names) > 1:
            return dist.Normal(*self._joint(rows)).to_event(1)
        every = self.known.new_ones(rows.size, len(self.names))  # where the guide is
        seen = every if rows.seen is None else rows.seen
        count, (loc, scale) = seen.sum(-1), self.rest(rows, self.latent_dim)
        for m in range(len(self.names) + 1):
            joint = m == len(self.names)
            where = count > 1 if joint else (count == 1) & seen[:, m]
            if where.any():
                moments = self._joint(rows) if joint else self._single(m, rows)
                loc = torch.where(where[:, None], moments[0], loc)
                scale = torch.where(where[:, None], moments[1], scale)
        return dist.Normal(loc, scale).to_event(1)

    def _single(self, m: int, rows: Rows) -> Moments:
        name = self.names[m]
        return split_normal(self.encoders[name](self.read(name, rows)))

    def _joint(self, rows: Rows) -> Moments:
        heads = []
        for m, name in enumerate(self.names):
            shows = rows.shows(m)
            if not needed(shows):
                heads.append(self.zero.expand(rows.size, self.hidden_dim))
                continue
            head = self.heads[name](self.read(name, rows)).relu()
            heads.append(head if shows is None else torch.where(shows[:, None], head, 0 * head))
        if len(self.names) > 2:
            ones = self.zero.expand(rows.size, len(self.names)) + 1
            heads.append(ones if rows.seen is None else rows.seen.to(ones))
        return split_normal(self.joint(torch.cat(heads, -1)))


class DMVAEGuide(MVAEGuide):
    """A product of experts for what is shared, each modality's own encoder for what is private.

    Lecture eq. 26; Lee and Pavlovic 2021, section 3. A private code is read from its modality where
    the row has it and it is ``seen``; elsewhere it is the prior's.

    Parameters
    ----------
    model : DMVAE
        As `MultimodalGuide`.
    peek : bool
        Read a private code from its modality wherever the row has it, ``seen`` or not: so it is in
        the published cross terms (`SubsetObjective`, ``terms="cross"``). There
        the private code can tell all of its modality, and what one modality then says of another
        may stay at chance (as in ``benchmarks.multimodal``); without, it has to be shared.
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

    def _look(self, rows: Rows) -> Tensor:
        shared, own = [], []
        for m, name in enumerate(self.names):
            both = self.rest(rows, self.latent_dim), self.rest(rows, self.private[name])
            if rows.observed and (needed(rows.shows(m)) or (self.peek and needed(rows.has(m)))):
                raw = self.encoders[name](self.read(name, rows))
                split = raw.split([2 * self.latent_dim, 2 * self.private[name]], -1)
                both = split_normal(split[0]), split_normal(split[1])
            shared.append(both[0])
            own.append(self._where(self._read(rows, m), both[1]))
        loc, scale = (torch.stack(moments, -2) for moments in zip(*shared, strict=True))
        z = pyro.sample("z", dist.Normal(*multiply(loc, scale, rows.seen)).to_event(1))
        for name, moments in zip(self.names, own, strict=True):
            pyro.sample(f"z_{name}", dist.Normal(*moments).to_event(1))
        return z

    def _read(self, rows: Rows, m: int) -> Tensor | None:
        """Say in which rows the private code of modality m is read, (N,); None if in all."""
        has, shows = rows.has(m), rows.shows(m)
        if self.peek or shows is None:
            return has
        return shows if has is None else has & shows

    def _where(self, there: Tensor | None, moments: Moments) -> Moments:
        """Return the moments, and the prior's elsewhere."""
        if there is None:
            return moments
        loc, scale = moments
        keep = there[:, None]
        return torch.where(keep, loc, 0 * self.zero), torch.where(keep, scale, 1 + self.zero)
