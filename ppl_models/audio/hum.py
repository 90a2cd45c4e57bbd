r"""Hum: a source whose spectrum never changes, as a fan's, a mains hum's, or a microphone's own.

.. math:: s_{tf} \sim N_c(0, v_f)

Site ``s`` (T, 2 F), in the enclosing plates; nothing is latent.

References
----------
Ephraim and Malah, "Speech enhancement using a minimum mean-square error short-time spectral
amplitude estimator", IEEE TASSP 1984: noise of constant spectrum.
"""

from __future__ import annotations

import pyro
import torch
from torch import Tensor, nn

from ppl_models.audio.parts import Latents, zero_mean
from ppl_models.inputs import check_count
from ppl_models.likelihoods import QUIET, bin_power
from ppl_models.sequences import SequenceModel, clean


class Hum(SequenceModel):
    """A source of constant spectrum.

    Parameters
    ----------
    bins : int
        F.

    Raises
    ------
    InputError
        A size below 1.
    """

    autoregressive = False

    def __init__(self, bins: int = 5) -> None:
        super().__init__()
        check_count("bins", bins)
        self.bins, self.data_dim = bins, 2 * bins
        self.log_spectrum = nn.Parameter(torch.zeros(bins))

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[None, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return None, and s.

        Arguments are those of `SequenceModel.path`; ``past``, which dynamical VAEs have, is unread.
        """
        v = self.spectrum.expand(length, -1)
        obs = None if s is None else clean(s, mask, observed)
        return None, pyro.sample("s", zero_mean(v, mask, observed), obs=obs)

    @property
    def spectrum(self) -> Tensor:
        """v, (F,)."""
        return self.log_spectrum.exp() + QUIET

    def variances(
        self, latents: Latents, s: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return v of every frame, (1, F)."""
        return self.spectrum[None]

    @torch.no_grad()
    def update(self, power: Tensor, mask: Tensor | None = None, rest: Tensor | float = 0.0) -> None:
        """Improve the spectrum in place, given powers (..., T, F) of a sum, and variance beside.

        The multiplicative update of Itakura-Saito NMF (`ppl_models.audio.nmf`) for one activation
        that is always 1: the likelihood of the sum is not lower.
        """
        v = (self.spectrum + rest).expand(power.shape)
        power, kept = clean(power, mask), clean(torch.ones_like(power), mask)
        up, down = (power / v.square()).flatten(0, -2).sum(0), (kept / v).flatten(0, -2).sum(0)
        ratio = up.clamp_min(1e-30) / down.clamp_min(1e-30)
        self.log_spectrum.add_(0.5 * ratio.log()).clamp_(min=-60.0)

    @torch.no_grad()
    def start_from(self, s: Tensor, mask: Tensor | None = None, *_: object) -> Hum:
        """Take the spectrum of greatest likelihood of frames (..., 2 F): their mean power."""
        frames = s[mask] if mask is not None else s.reshape(-1, self.data_dim)
        self.log_spectrum.copy_((bin_power(frames).mean(0) - QUIET).clamp_min(1e-12).log())
        return self
