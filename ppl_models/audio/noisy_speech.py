r"""NoisySpeech: speech from a dynamical VAE, in noise whose variances a network gives.

.. math::
    z \sim p(z), \qquad s_t \sim N_c(0, v_s(z)_t), \qquad
    n_t \sim N_c(0, v_n(z, x_{1:t-1})_t), \qquad x_t = s_t + n_t

The clean speech s is integrated out exactly, so that

.. math:: p(x_t \mid x_{1:t-1}, z) = N_c(x_t; 0, v_{s,t} + v_{n,t}),

and given x and z it is a Wiener filter away (`wiener_of`). Speech is learned from clean recordings,
noise (and the encoder of noisy speech) from noisy ones: no recording is needed with and without its
noise.

============  ====================  ===========
site          batch shape (plates)  event shape
============  ====================  ===========
``speech/z``  (B)  data             (T, L)
``x``         (B)  data             (T, 2 F)
============  ====================  ===========

Speech with a global latent has that site besides, ``speech/w``.

References
----------
Lin, Leglaive, Girin and Alameda-Pineda, "Unsupervised speech enhancement with deep dynamical
generative speech and noise models", Interspeech 2023, arXiv:2306.07820.
"""

from __future__ import annotations

import pyro
import torch
from pyro.contrib.autoname import scope
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppl_models.audio.neural_noise import NeuralNoise, first_features, next_features
from ppl_models.audio.parts import Latents, bins_plate, of_bins, variances, wiener
from ppl_models.distributions import SequenceDistribution
from ppl_models.dvae import DynamicalVAE, FrameConditionals, Memory
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_normal, bin_power
from ppl_models.sequences import clean

SPEECH = "speech"


class NoisySpeech(nn.Module):
    """Speech and noise, the speech integrated out.

    Parameters
    ----------
    speech : nn.Module
        A dynamical VAE of complex bins (`as_source`) whose frames depend on latents alone:
        `RVAE`, `DKF`, `DSAE`, `FrameVAE`.
    noise : NeuralNoise
        `LVNoise`, `NONoise` or `NOLVNoise`, with as many bins and latents.

    Raises
    ------
    InputError
        Speech reads past frames of its own, has no latents, is no model of complex bins, or the
        noise is of other sizes.
    """

    def __init__(self, speech: nn.Module, noise: NeuralNoise) -> None:
        super().__init__()
        self.speech, self.noise = _speech_of(speech), noise
        self.data_dim, self.bins = self.speech.data_dim, self.speech.data_dim // 2
        sizes = self.bins, self.speech.latent_dim
        if (noise.bins, noise.latent_dim) != sizes:
            found = f"bins={noise.bins}, latent_dim={noise.latent_dim}"
            wanted = f"bins={sizes[0]}, latent_dim={sizes[1]}, those of speech"
            raise InputError("noise", found, wanted, f"build it so: {type(noise).__name__}{sizes}")

    def forward(
        self,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Score B noisy recordings; without them, simulate ``size`` of ``length`` frames.

        Return x (..., B, T, 2 F).

        Parameters
        ----------
        x : Tensor, optional
            (B, T, F) complex, or (B, T, 2 F), real parts first.
        mask : Tensor of bool, optional
            (B, T), frames that exist, the first ones of each row.
        size, length : int

        Raises
        ------
        InputError
            ``x`` or its mask has another shape, or is not finite.
        """
        with bins_plate(x, mask, self.bins, size, length, argument="x") as frames:
            sites = FrameConditionals(self.speech, frames.length, mask)
            with scope(prefix=SPEECH):
                self.speech.sample_latents(sites)
            latents = {"z": sites.z, self.speech.global_site: sites.w}
            known = {name: value for name, value in latents.items() if value is not None}
            return pyro.sample("x", self._noisy(known, frames.length, mask), obs=frames.s)

    def variances_of(
        self, x: Tensor, latents: Latents, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return v_s and v_n (..., T, F) of recordings x (..., T, 2 F), at latents by name."""
        v_s = variances(self.speech, latents, None, mask)
        return v_s, self.noise.variance(latents["z"], bin_power(clean(x, mask)), mask)

    def wiener_of(
        self, x: Tensor, latents: Latents, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean (..., T, 2 F) and variance (..., T, F) of clean speech, given x and latents.

        They are those of p(s | x, z), exactly.
        """
        return wiener(clean(x, mask), *self.variances_of(x, latents, mask))

    def _noisy(self, latents: Latents, length: int, mask: Tensor | None) -> SequenceDistribution:
        """Return prod_t p(x_t | x_{1:t-1}, z), event (T, 2 F)."""

        def frames(x: Tensor) -> TorchDistribution:
            v_s, v_n = self.variances_of(x, latents, mask)
            sequence: TorchDistribution = bin_normal(v_s + v_n).to_event(1)
            return sequence

        def draw(batch: torch.Size) -> Tensor:
            return self._draw(latents, batch, mask)

        return SequenceDistribution(frames, draw, (length, self.data_dim), mask=mask)

    def _draw(self, latents: Latents, batch: torch.Size, mask: Tensor | None) -> Tensor:
        """Draw x (*batch, T, 2 F), frame by frame where noise depends on past frames."""
        noise, z = self.noise, latents["z"]
        z = z.expand(*batch, *z.shape[-2:])
        v_s = variances(self.speech, latents, None, mask).expand(*batch, z.shape[-2], -1)
        before, memory = first_features(noise, z), Memory(stepwise=True)
        if not noise.autoregressive:
            return bin_normal(v_s + noise.emitted(noise.read(z, before, memory, mask))).sample()
        drawn = list[Tensor]()
        for now, v in zip(z.split(1, -2), v_s.split(1, -2), strict=True):
            v_n = noise.emitted(noise.read(now, before, memory))
            drawn.append(bin_normal(v + v_n).sample())
            before = next_features(noise, drawn[-1])
        return torch.cat(drawn, -2)


def _speech_of(speech: nn.Module) -> DynamicalVAE:
    model = of_bins(speech)
    if model.autoregressive or not model.latent_dim:
        found = f"{type(model).__name__}, whose frames depend on earlier ones, not on latents alone"
        cure = "take RVAE, DKF, DSAE or FrameVAE; or SourceSum, which samples the speech"
        raise InputError("speech", found, "a model whose speech can be integrated out", cure)
    return model
