"""Scheduled sampling: in training, networks read frames that the model generated, more and more.

S. Bengio et al., "Scheduled sampling for sequence prediction with recurrent neural networks",
NeurIPS 2015, arXiv:1506.03099.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingSchedule:
    """Chance of reading the model's own frames: 0 until step `begin`, then linear, 1 from `end`.

    Lin et al.'s is ``SamplingSchedule(20 * n, 100 * n)`` with n steps an epoch.

    X. Lin et al., "Mixture of dynamical variational autoencoders", TMLR 2023.
    """

    begin: int
    end: int

    def __call__(self, step: int) -> float:
        """Return the probability at a training step."""
        return min(1.0, max(0.0, (step - self.begin) / max(1, self.end - self.begin)))
