r"""The E-Z step with gradients: the encoder of z is fitted to the clips at hand, inside VEM.

Given q(s), the bound depends on q(z | s) by

.. math::
    E_{q(s)} E_{q(z \mid s)} [\log p(s, z) - \log q(z \mid s)],

which is climbed by steps of Adam on the encoder's weights, with s drawn jointly from its smoother
and z by the encoder (reparametrised). The model stays as it is, so that the bound stays one of the
same evidence. The paper takes one step an iteration, with s at its posterior mean, and (in its
code) changes the model's weights too; its released settings leave the step out.

The weights are shared by the sources and sequences of a batch.

Source: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023, the E-Z step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from guides.dvae import Evidence, White
from inference.randomness import derive

RATE = 1e-3
"""The paper's."""
PAIRS = 2
"""Pairs of draws of each source's path behind a gradient."""


class FineTuning:
    """Steps of Adam on a guide's encoder.

    Parameters
    ----------
    guide : nn.Module
        With ``rate_draws``, as `guides.SRNNGuide`; its parameters are changed.
    steps : int
        In each iteration.
    seed : int
        Of the draws.
    """

    def __init__(self, guide: nn.Module, steps: int, seed: int = 0) -> None:
        self.guide: Any = guide
        self.steps = steps
        self.optimizer = torch.optim.Adam(guide.parameters(), lr=RATE)
        self.generator = torch.Generator().manual_seed(derive(seed, "fine tuning"))

    @torch.enable_grad()
    def step(self, evidence: Evidence, previous: Tensor, noise: Tensor, mask: Tensor) -> None:
        """Take an iteration's steps; arguments as of `guides.SRNNGuide.rate_draws`."""
        for _ in range(self.steps):
            white = White(
                self._normal(2, PAIRS, *previous.shape), self._normal(PAIRS, *noise.shape)
            )
            rates: Tensor = self.guide.rate_draws(evidence, previous, white, noise, mask)
            self.optimizer.zero_grad()
            rates.mean(0).sum().backward()
            self.optimizer.step()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)
