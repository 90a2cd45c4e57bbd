"""Evidence lower bounds and their relatives, KL weights and penalties."""

from __future__ import annotations

from inference.objectives.free_bits import FreeBits
from inference.objectives.kl_weight import Schedule, figures, unrisen
from inference.objectives.losses import Measured
from inference.objectives.multimodal import SubsetKL, SubsetObjective
from inference.objectives.objective import Objective
from inference.objectives.penalties import (
    MMD,
    AdversarialPrior,
    Decomposition,
    DensityRatio,
    FactorCritic,
    SlicedWasserstein,
    TotalCorrelation,
    WassersteinCritic,
)
from inference.objectives.target_rate import TargetRate

__all__ = [
    "AdversarialPrior",
    "Decomposition",
    "DensityRatio",
    "FactorCritic",
    "FreeBits",
    "MMD",
    "Measured",
    "Objective",
    "Schedule",
    "SlicedWasserstein",
    "SubsetKL",
    "SubsetObjective",
    "TargetRate",
    "TotalCorrelation",
    "WassersteinCritic",
    "figures",
    "unrisen",
]
