"""The guide of DeepAR, which has no latents: empty, but for the posterior over a path itself."""

from __future__ import annotations

import torch
from torch import Tensor

from guides.base import ReadingGuide
from guides.dvae.motion_filter import Evidence, SourcePosterior, filter_source, motion_of
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
        self, evidence: Evidence, previous_mean: Tensor, noise: Tensor | None = None
    ) -> SourcePosterior:
        """Take an E-S step: q(s) from evidence (..., T, D).

        `previous_mean` is read when smoothing only, and `noise` by guides with latents only.

        Raises
        ------
        InputError
            The model's likelihood is not `Motion`, or has no increments to smooth.
        """
        model = self.model
        if not self.smooth:
            return filter_source(model, evidence)[0]
        none = previous_mean.new_zeros(*previous_mean.shape[:-1], 0)
        h = model.read(model.teacher_forced_past(previous_mean, none))
        return smooth_source(motion_of(model), evidence, model.emission(h))
