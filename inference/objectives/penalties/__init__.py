"""Penalties on a batch's codes, for any pair: ``Objective(penalties=(MMD(10), ...))``.

A penalty is a module that takes a `PairTrace` of a step (the pair and its draws) and returns a
scalar that is added to the loss, in nats per observation where it is a divergence. One with
a method ``learn(pair)`` trains a critic of its own after each step. The reported bound has none of
it.
"""

from __future__ import annotations

from inference.objectives.penalties.aggregated import MMD, SlicedWasserstein
from inference.objectives.penalties.base import Codes, Penalty, Schedule
from inference.objectives.penalties.context import ContextCritic
from inference.objectives.penalties.correlation import Decomposition, TotalCorrelation
from inference.objectives.penalties.critics import AdversarialPrior, FactorCritic, WassersteinCritic
from inference.objectives.penalties.ratio import DensityRatio
from inference.objectives.penalties.site_norm import SiteNorm

__all__ = [
    "AdversarialPrior",
    "Codes",
    "ContextCritic",
    "Decomposition",
    "DensityRatio",
    "FactorCritic",
    "MMD",
    "Penalty",
    "Schedule",
    "SiteNorm",
    "SlicedWasserstein",
    "TotalCorrelation",
    "WassersteinCritic",
]
