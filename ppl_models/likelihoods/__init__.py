"""Likelihoods: the distribution of an observation, given a decoder's outputs."""

from __future__ import annotations

from ppl_models.data.column import CONTINUOUS, KINDS, Column
from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Laplace, Likelihood, named
from ppl_models.likelihoods.columns import Columns
from ppl_models.likelihoods.discrete import Categorical, DiscretizedLogistic
from ppl_models.likelihoods.emissions import cluster, fit_emission
from ppl_models.likelihoods.frames import ConvFrames, LevelGaussian, PixelGaussian
from ppl_models.likelihoods.spectra import (
    QUIET,
    ComplexBins,
    ComplexGaussian,
    LogPower,
    bin_normal,
    bin_power,
    to_bins,
    to_complex,
)

__all__ = [
    "Bernoulli",
    "CONTINUOUS",
    "Categorical",
    "Column",
    "Columns",
    "ComplexBins",
    "ComplexGaussian",
    "ConvFrames",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "KINDS",
    "LevelGaussian",
    "Likelihood",
    "LogPower",
    "PixelGaussian",
    "QUIET",
    "bin_normal",
    "bin_power",
    "cluster",
    "fit_emission",
    "named",
    "to_bins",
    "to_complex",
]
