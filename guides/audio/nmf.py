r"""The guide of NMF: a gamma about the activations that multiplicative updates find.

.. math:: q(h_{tk} \mid s) = \mathrm{Gamma}\big(\mathrm{shape} + c_k n_{tk}, \;
          \mathrm{mean} = m_k \hat h_{tk}(s)\big), \qquad
          n_{tk} = \sum_f (\hat h_{tk} W_{kf} / \hat v_{tf})^2

The encoder is the algorithm itself, some updates of h with the model's W, and needs no training; n
is how many of the F bins speak for component k (the Fisher information of log h_tk). Learned are a
factor c_k of that count and m_k of the mean, one each a component.

References: those of `ppl_models.audio.nmf`.
"""

from __future__ import annotations

from typing import TypeVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide, needed
from ppl_models.audio import NMF
from ppl_models.inputs import check_count
from ppl_models.likelihoods import bin_power
from ppl_models.sequences import clean, hold, masked, sequence_plate

Model = TypeVar("Model", bound=NMF)


class NMFGuide(ReadingGuide[Model]):
    """q(h | s) of `NMF`.

    Parameters
    ----------
    model : NMF
    iterations : int
        Updates of h.

    Raises
    ------
    InputError
        Less than one update.
    """

    def __init__(self, model: Model, *, iterations: int = 20) -> None:
        super().__init__(model)
        check_count("iterations", iterations)
        self.iterations = iterations
        self.log_count = nn.Parameter(torch.zeros(model.num_components))
        self.log_mean = nn.Parameter(torch.zeros(model.num_components))

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Sample h of B sequences s (B, T, 2 F), mask and ``observed`` as in the model.

        Raises
        ------
        InputError
            ``s`` is missing, not (B, T, 2 F), NaN where it was seen, or the mask has a hole.
        """
        s = needed(s, expected="sequences of bins (B, T, 2 F)")
        with sequence_plate(s, mask, self.model.data_dim, observed=observed) as frames:
            return self.path(s, mask, observed=frames.observed)

    def path(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        noise: float = 1.0,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Sample h of one sequence in each place of the enclosing plates; with noise 0, means."""
        s = clean(s, mask) if observed is None else hold(s, observed)
        concentration, mean = self.moments(bin_power(s), mask)
        q: dist.TorchDistribution = dist.Gamma(concentration, concentration / mean)
        if not noise:
            q = dist.Delta(mean)
        return pyro.sample("h", masked(q, mask).to_event(2))

    def moments(self, power: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return concentration and mean (..., T, K) of h, given powers (..., T, F)."""
        model = self.model
        with torch.no_grad():
            h = model.activations(power, mask, iterations=self.iterations)
            precision = model.variances({"h": h}).square().reciprocal()
            count = h.square() * (precision @ model.weights.square().T)
        return model.shape + count * self.log_count.exp(), h * self.log_mean.exp()
