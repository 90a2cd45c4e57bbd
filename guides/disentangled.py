"""The guide of senses that share a code and have one of their own each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from guides.modalities import Moments, multiply, needed
from guides.multimodal import MVAEGuide
from ppl_models.modalities import Rows
from ppl_models.networks.mlp import split_normal

if TYPE_CHECKING:
    from ppl_models.disentangled import DMVAE


class DMVAEGuide(MVAEGuide):
    """A product of experts for what is shared, each modality's own encoder for what is private.

    Lecture eq. 26; Lee and Pavlovic 2021, section 3. A private code is read from its modality where
    the row has it and it is ``seen``; elsewhere it is the prior's.

    Parameters
    ----------
    story : DMVAE
        As `MultimodalGuide`.
    peek : bool
        Read a private code from its modality wherever the row has it, ``seen`` or not: so it is in
        the published cross terms (`inference.objectives.multimodal.SubsetObjective`, ``terms="cross"``). There
        the private code can tell all of its modality, and what one sense then says of another
        may stay at chance (as in ``benchmarks.multimodal``); without, it has to be shared.
    **options
        As `MultimodalGuide`; an encoder gives (N, 2 L + 2 P): means and log scales of the shared
        code, then those of the private one.
    """

    def __init__(self, story: DMVAE, *, peek: bool = False, **options: Any) -> None:
        self.private: dict[str, int] = dict(story.private)
        super().__init__(story, **options)
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
