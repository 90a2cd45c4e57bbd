"""Evidence lower bounds and their relatives, KL weights and penalties."""

from __future__ import annotations

from inference.objectives.free_bits import FreeBits
from inference.objectives.kl_weight import Schedule
from inference.objectives.losses import LossResult
from inference.objectives.multimodal import SubsetKL, SubsetObjective
from inference.objectives.objective import Objective
from inference.objectives.pair_trace import PairTrace
from inference.objectives.penalties import (
    MMD,
    AdversarialPrior,
    ContextCritic,
    Decomposition,
    DensityRatio,
    FactorCritic,
    SiteNorm,
    SlicedWasserstein,
    TotalCorrelation,
    WassersteinCritic,
)
from inference.objectives.protocol import TrainingObjective
from inference.objectives.target_rate import TargetRate
from inference.objectives.transport import TransportObjective

__all__ = [
    "AdversarialPrior",
    "ContextCritic",
    "Decomposition",
    "DensityRatio",
    "FactorCritic",
    "FreeBits",
    "LossResult",
    "MMD",
    "Objective",
    "PairTrace",
    "Schedule",
    "SiteNorm",
    "SlicedWasserstein",
    "SubsetKL",
    "SubsetObjective",
    "TargetRate",
    "TotalCorrelation",
    "TrainingObjective",
    "TransportObjective",
    "WassersteinCritic",
]
