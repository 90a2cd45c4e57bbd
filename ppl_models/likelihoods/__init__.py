"""Likelihoods: the distribution of an observation, given a decoder's outputs."""

from __future__ import annotations

from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Laplace, Likelihood, named
from ppl_models.likelihoods.discrete import Categorical, DiscretizedLogistic
from ppl_models.likelihoods.emissions import cluster, fit_emission
from ppl_models.likelihoods.spectra import QUIET, ComplexGaussian

__all__ = [
    "Bernoulli",
    "Categorical",
    "ComplexGaussian",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "QUIET",
    "cluster",
    "fit_emission",
    "named",
]
