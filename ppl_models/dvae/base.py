r"""Dynamical VAEs: a sequence s_{1:T} is generated frame by frame, with latents z_{1:T}.

General form (Girin et al. 2021, chapter 4), with a global latent w of the whole sequence in some:
p(w) prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w) p(s_t | s_{1:t-1}, z_{1:t}, w).

A model of the family is three short methods, ``read``, ``latent`` and ``frame``
(`ppl_models.dvae.recursion`); everything else follows from them.

======  ===============================  ===========
site    batch shape                      event shape
======  ===============================  ===========
``w``   the enclosing plates             (W,)
``z``   the enclosing plates             (T, L)
``s``   the enclosing plates             (T, D)
======  ===============================  ===========

References: L. Girin et al., "Dynamical variational autoencoders: a comprehensive review", 2021,
arXiv:2008.12595, chapter 4.
"""

from __future__ import annotations

import pyro
from torch import Tensor

from ppl_models.dvae.conditionals import FrameConditionals
from ppl_models.dvae.recursion import Recursion
from ppl_models.errors import InputError
from ppl_models.sequences import SequenceModel, clean, sequence_plate


class DynamicalVAE(Recursion, SequenceModel):
    """What all models of the family share: the Pyro model of a `Recursion`.

    Parameters are those of `ppl_models.dvae.recursion.Recursion`: ``data_dim``, ``latent_dim``,
    ``likelihood``, ``global_dim``.
    """

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        from_past: bool = True,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Score B sequences s (B, T, D); without them, simulate ``size`` of ``length`` frames.

        Parameters
        ----------
        s : Tensor, optional
        mask : Tensor of bool, optional
            (B, T), the frames that exist: the first ones of each row. What stands in the others,
            NaN included, reaches neither value nor gradient.
        past : Tensor, optional
            (B, T, D), what networks read as s_{1:t-1}: an estimate of s, where s itself will not be
            at hand. By default s.
        observed : Tensor of bool, optional
            (B, T) or (B, T, D), the frames or numbers that were seen: all by default. The others
            exist, and their latents count. Networks that read past frames read, in place of what
            was not seen, the model's own draws (`Recursion.fill`), so that the bound is that of
            the numbers seen, the others integrated out.
        from_past : bool
            Whether a likelihood that reads the past (`Motion`) also reads ``past``, or s.
        size, length : int

        Raises
        ------
        InputError
            ``s`` is not (B, T, D) or cannot be data of the likelihood, or the mask has a hole.
        """
        with sequence_plate(s, mask, self.data_dim, size, length, observed=observed) as frames:
            length, s, mask, observed = frames
            return self.path(length, s, mask, past, observed=observed, from_past=from_past)[1]

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        from_past: bool = True,
    ) -> tuple[Tensor | None, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return (z, s).

        ``observed`` (..., T, D) is that of `ppl_models.sequences.numbers_seen`.
        """
        if observed is not None:
            self._check_gaps(past, from_past)
        if s is not None:
            s = clean(s, mask, observed)
            self.likelihood.check(s)
        past = None if past is None else clean(past, mask)
        sites = FrameConditionals(self, length, mask, past, observed, from_past=from_past)
        self.sample_latents(sites)
        sites.s = pyro.sample("s", sites.frames(), obs=s)
        return sites.z, sites.s

    def sample_latents(self, sites: FrameConditionals) -> None:
        """Sample w and z of those sites, as far as the model has them, in the enclosing plates."""
        sites.w = pyro.sample(self.global_site, sites.global_latent()) if self.global_dim else None
        sites.z = pyro.sample("z", sites.latent()) if self.latent_dim else None

    def _check_gaps(self, past: Tensor | None, from_past: bool) -> None:
        """Raise InputError where a frame that was not seen would have to be read, and cannot be."""
        if past is not None and self.likelihood.reads_past and not from_past:
            found, cure = "gaps, and a likelihood that reads s itself", "leave from_past=True"
            raise InputError("observed", found, "that it reads past=, which has no gaps", cure)
        if past is None and self.autoregressive and self.noncausal:
            found, cure = "gaps, in frames that depend on later latents", "take causal=True"
            raise InputError("observed", found, "a model that generates frame by frame", cure)
