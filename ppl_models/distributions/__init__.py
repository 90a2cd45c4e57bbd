"""Distributions of whole sequences and of rows of tables, and exact densities."""

from __future__ import annotations

from ppl_models.distributions.column_kinds import (
    FAR,
    BinaryColumns,
    CategoricalColumns,
    CensoredColumns,
    ColumnPart,
    CountColumns,
    OrdinalColumns,
    PositiveColumns,
    RealColumns,
)
from ppl_models.distributions.columns import MixedColumns, Places
from ppl_models.distributions.density import DataKind, Density, check_kind
from ppl_models.distributions.gaussian_paths import GaussianChain, ObservedChain
from ppl_models.distributions.implicit import Implicit
from ppl_models.distributions.kalman import (
    Filtered,
    Smoothed,
    kalman_filter,
    kalman_smoother,
    matvec,
)
from ppl_models.distributions.linear_gaussian import LinearGaussian
from ppl_models.distributions.markov import (
    FilteredStates,
    MarkovPath,
    ObservedStates,
    as_path,
    best_path,
    filter_states,
    run_back,
    smooth_states,
)
from ppl_models.distributions.normal_mixture import DiagonalMixture, NormalMixture
from ppl_models.distributions.particles import Tracked, track
from ppl_models.distributions.regression import LEAST, RegressionMoments, regress
from ppl_models.distributions.reparameterised_normal import ReparameterisedNormal
from ppl_models.distributions.sequences import (
    CHECKPOINT,
    HALF_LOG_2PI,
    AutoregressiveNormal,
    DiscretizedLogistic,
    SequenceDistribution,
    independent_path,
    normal_kl,
)
from ppl_models.distributions.spherical_normal import SphericalNormal

__all__ = [
    "CHECKPOINT",
    "AutoregressiveNormal",
    "BinaryColumns",
    "CategoricalColumns",
    "CensoredColumns",
    "ColumnPart",
    "CountColumns",
    "Density",
    "DiagonalMixture",
    "DiscretizedLogistic",
    "FAR",
    "Filtered",
    "FilteredStates",
    "GaussianChain",
    "HALF_LOG_2PI",
    "LEAST",
    "DataKind",
    "Implicit",
    "LinearGaussian",
    "MarkovPath",
    "MixedColumns",
    "NormalMixture",
    "ObservedChain",
    "ObservedStates",
    "OrdinalColumns",
    "Places",
    "PositiveColumns",
    "RealColumns",
    "ReparameterisedNormal",
    "RegressionMoments",
    "SequenceDistribution",
    "SphericalNormal",
    "Smoothed",
    "Tracked",
    "as_path",
    "best_path",
    "check_kind",
    "filter_states",
    "independent_path",
    "kalman_filter",
    "kalman_smoother",
    "matvec",
    "normal_kl",
    "regress",
    "run_back",
    "smooth_states",
    "track",
]
