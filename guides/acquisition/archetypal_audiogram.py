r"""The guide of blends of archetypes: a network reads what was measured, and gives a Dirichlet.

.. math:: q(w \mid x_O) = \mathrm{Dirichlet}(w; 1 + e^{h(x_O, O)}),
          \qquad q(w \mid \text{nothing}) = \mathrm{Dirichlet}(w; 1)

The posterior is the prior, which is uniform, times a bounded likelihood, so its density is finite
at the faces of the simplex: no concentration is below 1. The network reads the numbers in
standard units, zeros in place of those that are missing, and which are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from guides.base import ReadingGuide
from ppl_models.acquisition import ArchetypalAudiogram
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP
from ppl_models.ppca import zero_missing

_LARGEST = 10.0  # of the logarithm of a concentration


class ArchetypalAudiogramGuide(ReadingGuide[ArchetypalAudiogram]):
    """Amortized posterior q(w | x) of :class:`ppl_models.acquisition.ArchetypalAudiogram`.

    With nothing observed it is the prior, exactly, untrained or trained. What else it is, is
    limited by the family, which has one precision for all directions: the model's own `ideal`
    posterior is the measure.

    Parameters
    ----------
    model : ArchetypalAudiogram
        Read by reference.
    hidden_dims : sequence of int
        Widths of the network's hidden layers.
    """

    def __init__(
        self, model: ArchetypalAudiogram, *, hidden_dims: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__(model)
        widths = check_widths(hidden_dims)
        self.network = MLP(2 * model.data_dim, *widths, model.num_archetypes)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample ``w`` (N, K) for data ``x`` (N, D), of which those in ``mask`` were observed.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            return pyro.sample("w", self.posterior(cast(Tensor, x), mask))

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.Dirichlet:
        """Return q(w | x), batch shape (N,), event shape (K,)."""
        count_rows(x, self.model.data_dim)
        loc, scale = (moment.detach() for moment in self.model.prior_moments())
        numbers = zero_missing((x - loc) / scale, mask)
        observed = torch.ones_like(numbers) if mask is None else mask.to(numbers.dtype)
        raw = self.network(torch.cat([numbers, observed], -1))
        excess = (_LARGEST * (raw / _LARGEST).tanh()).exp()
        return dist.Dirichlet(1 + excess * observed.any(-1, keepdim=True))
