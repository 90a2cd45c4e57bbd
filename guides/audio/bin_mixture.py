r"""The guide of BinMixture: q(phi) q(s | o) q(z | s); w is summed exactly by the ELBO, not guided.

With variances v_n of the sources, whoever owns a bin is known up to
eta_n prop. to N_c(o; 0, g_n v_n + v_o), and given eta a source is Gaussian (one E-S step of VEM):

.. math::
    q(s_{n,tf} \mid o) = N_c\Big(V \frac{\eta_n}{v_o} o, \; V\Big), \qquad
    V = \Big(\frac{\eta_n}{v_o} + \frac{1}{g_n v_n}\Big)^{-1}, \quad v_o = 2 \phi \, \mathrm{size}^2

Variances are ``start``, or read off the recording by the encoders of the parts. Gains g_n, a
sharpness of eta, one scale of V a source, and phi are learned; with `refined`, so are a shift and a
log scale a bin, for one batch of recordings.

References: those of `ppl_models.audio.bin_mixture`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from pyro.contrib.autoname import scope
from torch import Tensor, nn

from guides.audio.parts import PartsGuide
from guides.base import needed
from ppl_models.audio import BinMixture
from ppl_models.errors import InputError
from ppl_models.likelihoods import QUIET, bin_normal, bin_power
from ppl_models.mixdvae import mask_for
from ppl_models.sequences import masked


class BinMixtureGuide(PartsGuide[BinMixture]):
    """q(phi) q(s | o) q(z | s) of `BinMixture`.

    Parameters
    ----------
    model : BinMixture
    guides : mapping of str to nn.Module
        Of each part the guide, by the model's names.

    Raises
    ------
    InputError
        As `PartsGuide`.
    """

    def __init__(self, model: BinMixture, guides: Mapping[str, nn.Module]) -> None:
        super().__init__(model, guides)
        self.log_gain = nn.Parameter(torch.zeros(len(model)))
        self.log_scale = nn.Parameter(torch.zeros(len(model)))
        self.log_sharpness = nn.Parameter(torch.zeros(())) if len(model) > 1 else None
        learned = model.noise_strength is not None
        self.log_phi = nn.Parameter(torch.zeros(())) if learned else None
        self.offset: nn.ParameterDict | None = None

    def refined(self, batch: int, length: int) -> nn.ParameterDict:
        """Give the guide offsets of its own for B recordings; return them, to be trained.

        ``shift`` (B, N, T, 2 F), in standard deviations, and ``log_scale`` (B, N, T, F).
        """
        sources, bins = len(self.model), self.model.bins
        like = self.log_gain
        self.offset = nn.ParameterDict(
            {
                "shift": nn.Parameter(like.new_zeros(batch, sources, length, 2 * bins)),
                "log_scale": nn.Parameter(like.new_zeros(batch, sources, length, bins)),
            }
        )
        return self.offset

    def forward(
        self,
        o: Tensor | None,
        mask: Tensor | None = None,
        size: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Draw phi, s and latents of B recordings; arguments as `BinMixture.forward`.

        Return s (..., B, N, T, 2 F).

        Raises
        ------
        InputError
            ``o`` is missing, or one of them has another shape.
        """
        o = needed(o, "o", "recordings (B, T, F)")
        bins, size = self.model.read(o, mask, size)
        assert bins is not None
        bins, phi = bins.transpose(-1, -2).flatten(-2), self.phi(size)
        mean, variance = self.moments(bins, mask, size, start)
        paths, there = [], None if mask is None else mask[:, None, None]
        with pyro.plate("sequence", len(bins), dim=-3):
            if self.log_phi is not None:
                pyro.sample("phi", dist.Delta(phi[:, None, None]))
            for n, (name, guide) in enumerate(self.named_guides()):
                q = bin_normal(variance[:, n, None, None], mean[:, n, None, None])
                with scope(prefix=name):
                    s = pyro.sample("s", masked(q, there).to_event(2))
                    guide.path(s, **mask_for(guide.path, mask))
                paths.append(s.squeeze(-3).squeeze(-3))
        return torch.stack(paths, -3)

    def moments(
        self, o: Tensor, mask: Tensor | None, size: Tensor, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean (B, N, T, 2 F) and variance (B, N, T, F) of q(s | o).

        Shapes: o (B, T, 2 F) without what is masked, size (B, T, F), start (B, N, T, F).

        Raises
        ------
        InputError
            ``start`` has another shape.
        """
        start = self.encoded(o, mask) if start is None else start
        wanted = (len(o), len(self.model), *size.shape[1:])
        if start.shape != wanted:
            cure = "give one power a source and bin, or leave it out"
            raise InputError("start", f"shape {tuple(start.shape)}", str(wanted), cure)
        start = start if mask is None else torch.where(mask[:, None, :, None], start, 1.0)
        v = start.clamp_min(QUIET) * self.log_gain.exp()[:, None, None]
        noise = (2 * self.phi(size)[:, None, None] * size**2)[:, None]
        evidence = self.shares(o, v, noise) / noise
        variance = 1 / (evidence + 1 / v)
        mean = o[:, None] * torch.cat([variance * evidence] * 2, -1)
        log_scale = self.log_scale[:, None, None]
        if self.offset is None:
            return mean, variance * (2 * log_scale).exp()
        variance = variance * (2 * (log_scale + self.offset["log_scale"])).exp()
        deviation = (0.5 * variance).sqrt()
        return mean + torch.cat([deviation] * 2, -1) * self.offset["shift"], variance

    def shares(self, o: Tensor, v: Tensor, noise: Tensor) -> Tensor:
        """Return eta (B, N, T, F): who owns each bin, from variances v (B, N, T, F) alone."""
        total = v + noise
        logits = -total.log() - bin_power(o)[:, None] / total - math.log(math.pi)
        if self.log_sharpness is not None:
            logits = logits * self.log_sharpness.exp()
        return logits.softmax(1)

    def phi(self, like: Tensor) -> Tensor:
        """Return the guide's phi (B) for recordings ``like`` (B, ...): if fixed, the model's."""
        phi = like.new_full((len(like),), self.model.noise)
        return phi if self.log_phi is None else phi * self.log_phi.exp()
