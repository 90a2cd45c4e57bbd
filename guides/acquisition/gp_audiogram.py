"""The guide of the Gaussian process of an ear: its exact posterior."""

from __future__ import annotations

from typing import cast

import pyro
from torch import Tensor

from guides.base import ReadingGuide
from ppl_models.acquisition import GPAudiogram
from ppl_models.inputs import count_rows


class GPAudiogramGuide(ReadingGuide[GPAudiogram]):
    """The exact posterior of :class:`ppl_models.acquisition.GPAudiogram`; no parameters of its own.

    The bound of every draw is the evidence.

    Parameters
    ----------
    model : GPAudiogram
        Read by reference.
    """

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample ``f`` (N, D) for ears ``x`` (N, D), of which those in ``mask`` were measured.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            return pyro.sample("f", self.model.posterior(cast(Tensor, x), mask))
