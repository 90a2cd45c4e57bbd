"""Penalties on a batch's codes, for any pair: ``Objective(penalties=(MMD(10), ...))``.

A penalty is a module that takes a `View` of a step (the pair and its draws) and returns a scalar
that is added to the loss, in nats per observation where it is a divergence; one with a method
``learn(view)`` trains a critic of its own after each step. The reported bound has none of it.
"""

from inference.objectives.penalties.aggregated import MMD as MMD
from inference.objectives.penalties.aggregated import SlicedWasserstein as SlicedWasserstein
from inference.objectives.penalties.base import Penalty as Penalty
from inference.objectives.penalties.correlation import Decomposition as Decomposition
from inference.objectives.penalties.correlation import TotalCorrelation as TotalCorrelation
from inference.objectives.penalties.critics import AdversarialPrior as AdversarialPrior
from inference.objectives.penalties.critics import FactorCritic as FactorCritic
from inference.objectives.penalties.critics import WassersteinCritic as WassersteinCritic
from inference.objectives.penalties.ratio import DensityRatio as DensityRatio
