"""Priors of latent variables: standard, learned, conditional."""

from __future__ import annotations

from ppl_models.priors.density import AggregatedPosterior, FlowPrior
from ppl_models.priors.simple import ConditionalPrior, MixturePrior, StandardPrior, VampPrior

__all__ = [
    "AggregatedPosterior",
    "ConditionalPrior",
    "FlowPrior",
    "MixturePrior",
    "StandardPrior",
    "VampPrior",
]
