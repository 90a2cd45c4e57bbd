"""The guide of DeepAR, which has no latents: empty, but for the posterior over a path itself."""

from __future__ import annotations

import torch
from torch import Tensor

from guides.base import ReadingGuide
from guides.dvae.motion_filter import Evidence, SourcePosterior, filter_source, motion_of
from guides.dvae.motion_rate import Plugged, White, true_rates
from guides.dvae.motion_smoother import smooth_source
from ppl_models.dvae import DeepAR


class DeepARGuide(ReadingGuide[DeepAR]):
    """The empty guide of `DeepAR`.

    Parameters
    ----------
    model : DeepAR
        Read by reference, for `source_posterior`.
    smooth : bool
        As in `SRNNGuide`.
    """

    def __init__(self, model: DeepAR, *, smooth: bool = False) -> None:
        super().__init__(model)
        self.smooth = smooth

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        from_past: bool = True,
    ) -> None:
        """Sample nothing."""

    def path(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        noise: float = 1.0,
        observed: Tensor | None = None,
    ) -> None:
        """Sample nothing."""

    @torch.no_grad()
    def source_posterior(
        self,
        evidence: Evidence,
        previous_mean: Tensor,
        noise: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> SourcePosterior:
        """Take an E-S step: q(s) from evidence (..., T, D).

        ``previous_mean`` is read when smoothing only, ``noise`` by guides with latents only, and so
        is ``mask``: a frame without evidence and without successors costs nothing.

        Raises
        ------
        InputError
            The model's likelihood is not `Motion`, or has no increments to smooth.
        """
        return self._step(evidence, previous_mean).posterior

    @torch.no_grad()
    def rate_draws(
        self,
        evidence: Evidence,
        previous_mean: Tensor,
        white: White,
        noise: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return R estimates (R, ...) whose mean is the true rate of `source_posterior`'s q(s).

        Shapes and meaning of ``white``: `guides.dvae.motion_rate.White`; ``mask`` (..., T) says
        which frames exist.
        """

        def read(s: Tensor, _: Tensor) -> tuple[Tensor, None]:
            return self._emitted(s), None

        step = self._step(evidence, previous_mean)
        return true_rates(motion_of(self.model), evidence, step, read, white, mask)

    def _step(self, evidence: Evidence, previous_mean: Tensor) -> Plugged:
        if not self.smooth:
            return Plugged(filter_source(self.model, evidence)[0], None)
        raw = self._emitted(previous_mean)
        return Plugged(smooth_source(motion_of(self.model), evidence, raw), raw)

    def _emitted(self, s: Tensor) -> Tensor:
        """Return the emission's outputs for each frame of paths s, given those before it."""
        model, none = self.model, s.new_zeros(*s.shape[:-1], 0)
        features = model.features(s)
        raw: Tensor = model.emission(
            model.read(model.teacher_forced_past(None, none, features=features))
        )
        return raw
