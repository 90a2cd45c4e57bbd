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
from ppl_models.networks import split_normal

if TYPE_CHECKING:
    from ppl_models.disentangled import DMVAE


class DMVAEGuide(MVAEGuide):
    """A product of experts for what is shared, each modality's own encoder for what is private.

    Lecture eq. 26; Lee and Pavlovic 2021, section 3. A private code is read from its modality where
    the row has it (``mask``, whatever is ``seen``), and is the prior's where it has not.

    Parameters
    ----------
    story : DMVAE
        As `MultimodalGuide`.
    **options
        As `MultimodalGuide`; an encoder gives (N, 2 L + 2 P): means and log scales of the shared
        code, then those of the private one.
    """

    def __init__(self, story: DMVAE, **options: Any) -> None:
        self.private: dict[str, int] = dict(story.private)
        super().__init__(story, **options)

    def _outputs(self, name: str) -> int:
        return 2 * (self.latent_dim + self.private[name])

    def _look(self, rows: Rows) -> Tensor:
        shared, own = [], []
        for m, name in enumerate(self.names):
            both = self.rest(rows, self.latent_dim), self.rest(rows, self.private[name])
            if rows.observed and (needed(rows.has(m)) or needed(rows.shows(m))):
                raw = self.encoders[name](self.read(name, rows))
                split = raw.split([2 * self.latent_dim, 2 * self.private[name]], -1)
                both = split_normal(split[0]), split_normal(split[1])
            shared.append(both[0])
            own.append(self._present(both[1], rows, m))
        loc, scale = (torch.stack(moments, -2) for moments in zip(*shared, strict=True))
        z = pyro.sample("z", dist.Normal(*multiply(loc, scale, rows.seen)).to_event(1))
        for name, moments in zip(self.names, own, strict=True):
            pyro.sample(f"z_{name}", dist.Normal(*moments).to_event(1))
        return z

    def _present(self, moments: Moments, rows: Rows, m: int) -> Moments:
        """Return the prior's moments where a row does not have modality m."""
        present = rows.has(m)
        if present is None:
            return moments
        rest = self.rest(rows, self.private[self.names[m]])
        loc, scale = (
            torch.where(present[:, None], a, b) for a, b in zip(moments, rest, strict=True)
        )
        return loc, scale
