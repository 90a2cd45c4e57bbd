r"""Temporal NMF: `NMF` whose activations change slowly, by Virtanen's continuity.

.. math:: p(h) \propto \prod_{tk} \mathrm{Gamma}(h_{tk}) \;
    \exp\Big(-\alpha T \sum_k
    \frac{\sum_t (h_{tk} - h_{t-1,k})^2}{\sum_t h_{tk}^2}\Big)

The second factor does not depend on the scale of h. It is not normalised, and its normaliser is not
known (it depends on T, K, alpha and the shape, not on W or the rate): what is computed is an
*objective*, a log density, or its bound, up to that constant, and no evidence. Without data,
`path` draws h from the gamma prior alone: simulated activations do not have the continuity.

`update_activations` is multiplicative: the gradient is split into what raises an activation and
what lowers it, and their ratio is taken to the power 1/2. No surrogate stands behind it, so where a
sequence's objective would fall, the exponent is halved until it does not.

References
----------
Virtanen, "Monaural sound source separation by nonnegative matrix factorization with temporal
continuity and sparseness criteria", IEEE TASLP 2007: the continuity and its
split, there with the Kullback-Leibler divergence of magnitudes.
"""

from __future__ import annotations

import pyro
import torch
from torch import Tensor

from ppl_models.audio.nmf import LEAST, NMF, TINY
from ppl_models.errors import InputError
from ppl_models.sequences import clean

HALVINGS = 20
"""Of the exponent 1/2: below 1e-6 a step counts as none."""


class TemporalNMF(NMF):
    """`NMF` with temporal continuity.

    Parameters
    ----------
    bins, num_components : int
        F and K.
    shape : float
        As in `NMF`.
    continuity : float
        alpha, at least 0.

    Raises
    ------
    InputError
        As `NMF`, and for a continuity below 0.
    """

    def __init__(
        self,
        bins: int = 5,
        num_components: int = 3,
        *,
        shape: float = 1.0,
        continuity: float = 0.1,
    ) -> None:
        super().__init__(bins, num_components, shape=shape)
        if not continuity >= 0:
            raise InputError("continuity", str(continuity), "0 or more", "pass 0.1")
        self.continuity = float(continuity)

    def add_factor(self, h: Tensor, mask: Tensor | None) -> None:
        """Add the continuity, as the factor ``continuity``."""
        pyro.factor("continuity", self.log_factor(h, mask))

    def log_factor(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Return minus alpha T sum_k of the relative square changes: (...)."""
        frames, change, square = _changes(h, mask)
        ratio = change.square().sum(-2) / square
        return -self.continuity * frames * ratio.sum(-1)

    @torch.no_grad()
    def update_activations(
        self, power: Tensor, h: Tensor, mask: Tensor | None = None, rest: Tensor | float = 0.0
    ) -> Tensor:
        """Return better activations (..., T, K): no sequence's objective is lower."""
        up, down = self._slopes(power, h, mask, rest)
        more, less = self._split(h, mask)
        of_shape = (self.shape - 1) / h
        up = up + more + of_shape.clamp_min(0)
        down = down + less + self.rate - of_shape.clamp_max(0)
        ratio = (up.clamp_min(TINY) / down).log()
        before, step = self.log_joint(power, h, mask, rest), torch.full_like(h[..., 0, 0], 0.5)
        new = h
        for _ in range(HALVINGS):
            new = (h * (step[..., None, None] * ratio).exp()).clamp_min(LEAST)
            lower = self.log_joint(power, new, mask, rest) < before
            if not bool(lower.any()):
                return new
            step = torch.where(lower, step / 2, step)
        return torch.where(lower[..., None, None], h, new)

    def _split(self, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the parts of the continuity's gradient that raise and lower h (..., T, K)."""
        frames, change, square = _changes(h, mask)
        kept, scale = clean(h, mask), 2 * self.continuity * frames[..., None, None]
        square = square[..., None, :]
        whole = change.square().sum(-2, keepdim=True) / square.square()
        before = _pairs(h, mask).to(h)
        after = torch.cat([before[..., 1:, :], torch.zeros_like(before[..., :1, :])], -2)
        raising = before * kept.roll(1, -2) + after * kept.roll(-1, -2)
        lowering = (before + after) * kept
        return scale * (raising / square + kept * whole), scale * lowering / square


def _pairs(h: Tensor, mask: Tensor | None) -> Tensor:
    """Whether frame t and the one before it exist, (..., T, K)."""
    there = torch.ones_like(h, dtype=torch.bool) if mask is None else mask[..., None].expand_as(h)
    pairs = there & there.roll(1, -2)
    pairs[..., 0, :] = False
    return pairs


def _changes(h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return T (...), changes h_t - h_{t-1} (..., T, K), 0 at the first, and sum_t h^2 (..., K)."""
    kept = clean(h, mask)
    change = torch.where(_pairs(h, mask), kept - kept.roll(1, -2), torch.zeros_like(h))
    frames = torch.full_like(h[..., 0, 0], h.shape[-2])
    if mask is not None:
        frames = mask.sum(-1).to(h).expand(frames.shape)
    return frames, change, kept.square().sum(-2).clamp_min(LEAST**2)
