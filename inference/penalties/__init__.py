"""Penalties on a batch's codes, for any pair: ``Objective(penalties=(MMD(10), ...))``.

A penalty is a module that takes a `View` of a step (the pair and its draws) and returns a scalar
that is added to the loss, in nats per observation where it is a divergence; one with a method
``learn(view)`` trains a critic of its own after each step. The reported bound has none of it.
"""

from inference.penalties.aggregated import MMD as MMD
from inference.penalties.aggregated import SlicedWasserstein as SlicedWasserstein
from inference.penalties.base import Penalty as Penalty
from inference.penalties.correlation import Decomposition as Decomposition
from inference.penalties.correlation import TotalCorrelation as TotalCorrelation
from inference.penalties.critics import AdversarialPrior as AdversarialPrior
from inference.penalties.critics import FactorCritic as FactorCritic
from inference.penalties.critics import WassersteinCritic as WassersteinCritic
from inference.penalties.ratio import DensityRatio as DensityRatio
