"""The guide of the linear dynamical system: the exact posterior of its latent path, or nothing."""

from __future__ import annotations

import pyro
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.lds import LDS


class LDSGuide(ReadingGuide[LDS]):
    """The exact posterior of :class:`ppl_models.lds.LDS`; no parameters of its own.

    Where the model integrates z out (``form="exact"``) it samples nothing. Where z is a site
    (``form="joint"``) it filters forwards and samples backwards, the whole path as one site, so
    that the bound of every draw is the evidence.

    C. K. Carter, R. Kohn, "On Gibbs sampling for state space models", Biometrika 1994.

    Parameters
    ----------
    model : LDS
        Read by reference.
    """

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor | None:
        """Sample z (B, T, L) for paths s (B, T, D), or nothing where the model has no z."""
        if self.model.form == "exact":
            return None
        s = needed(s)
        posterior = self.model.posterior(s, mask, observed)
        with pyro.plate("data", len(s), dim=-1):
            return pyro.sample("z", posterior)
