"""Likelihoods of classes and of levels.

=====================  ==================================  =======================  ============
part                   x, shape (..., D)                   ``raw_dim``              feature_dim
=====================  ==================================  =======================  ============
`Categorical`          one of C classes each, any dtype    D C logits               D C (one-hot)
`DiscretizedLogistic`  levels 0, ..., n - 1, any dtype     2 D                      D
=====================  ==================================  =======================  ============
"""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ppl_models import distributions
from ppl_models.inputs import check_count, check_levels
from ppl_models.likelihoods.basic import Likelihood
from ppl_models.networks import OneHot, Rescale, split_normal


class Categorical(Likelihood):
    """x_d ~ Categorical(logits=raw_d): one of C classes each; a label is ``Categorical(1, C)``.

    Parameters
    ----------
    data_dim : int
        D.
    num_classes : int
        C; x is a tensor of 0, ..., C - 1, of any dtype.
    """

    def __init__(self, data_dim: int, num_classes: int) -> None:
        check_count("num_classes", num_classes, 2)
        super().__init__(data_dim, data_dim * num_classes, OneHot(num_classes))
        self.num_classes = num_classes

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D classes."""
        return dist.Categorical(
            logits=raw.unflatten(-1, (self.data_dim, self.num_classes)), validate_args=False
        )

    def point(self, raw: Tensor) -> Tensor:
        """Return the most probable class of each: integers (..., D)."""
        return raw.unflatten(-1, (self.data_dim, self.num_classes)).argmax(-1)

    def _check_support(self, x: Tensor) -> None:
        check_levels(x, self.num_classes, "classes")


class DiscretizedLogistic(Likelihood):
    """x_d is a level, 0, ..., n - 1: a logistic number, rounded.

    The range of levels is [-1, 1] for the decoder (its first D outputs are locations, the others
    log scales, in that unit) and for an encoder's features. Kingma et al., "Improved Variational
    Inference with Inverse Autoregressive Flow", NeurIPS 2016, appendix A; here the two outermost
    levels take the tails, so that the masses sum to one
    (Salimans et al., "PixelCNN++", ICLR 2017, section 2.1).

    Parameters
    ----------
    data_dim : int
        D.
    num_levels : int
        n; x is a tensor of levels, of any dtype.
    """

    def __init__(self, data_dim: int, num_levels: int = 256) -> None:
        check_count("num_levels", num_levels, 2)
        super().__init__(data_dim, 2 * data_dim, Rescale(num_levels))
        self.num_levels = num_levels

    def distribution(self, raw: Tensor) -> distributions.DiscretizedLogistic:
        """Return the distribution of D levels."""
        return distributions.DiscretizedLogistic(*split_normal(raw), self.num_levels)

    def point(self, raw: Tensor) -> Tensor:
        """Return the most probable level of each, as floats (..., D)."""
        return self.distribution(raw).mode

    def _check_support(self, x: Tensor) -> None:
        check_levels(x, self.num_levels, "levels")
