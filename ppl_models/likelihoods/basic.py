"""Likelihoods: the distribution of a datum, given the outputs of a decoder.

Each is a part p(x | raw) of a model: the decoder's outputs ``raw`` go in, a distribution of x comes
out. A part also makes the features that an encoder reads, and checks that x is in its support.

=====================  ==================================  =======================  ============
part                   x, shape (..., D)                   ``raw_dim``              feature_dim
=====================  ==================================  =======================  ============
`Bernoulli`            bits, as floats                     D logits                 D
`Gaussian`             real numbers                        D, or 2 D (`"decoded"`)  D
`Laplace`              real numbers                        D                        D
=====================  ==================================  =======================  ============
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.poutine.util import is_validation_enabled
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_positive
from ppl_models.networks import split_normal


class Likelihood(nn.Module):
    """What all likelihoods share.

    Attributes
    ----------
    data_dim, raw_dim, feature_dim : int
        Numbers of a datum, of the decoder's outputs, and of what an encoder reads.
    reader : nn.Module
        Makes features of data, without parameters.
    reads_past : bool
        Whether a datum is a frame of a sequence that depends on those before it by the likelihood
        itself: `given` and `features` then need them.
    """

    reads_past = False

    def __init__(self, data_dim: int, raw_dim: int, reader: nn.Module | None = None) -> None:
        super().__init__()
        check_count("data_dim", data_dim, 1)
        self.data_dim, self.raw_dim = data_dim, raw_dim
        self.reader = reader or nn.Identity()
        self.feature_dim = data_dim * getattr(self.reader, "width", 1)

    def forward(self, raw: Tensor) -> TorchDistribution:
        """Return p(x | raw), event shape (D,), for a decoder's outputs (..., raw_dim).

        Raises
        ------
        InputError
            ``raw`` has another last dim than ``raw_dim``.
        """
        if raw.shape[-1] != self.raw_dim:
            found, what = f"{raw.shape[-1]} outputs", type(self).__name__
            cure = "give the decoder's last layer likelihood.raw_dim outputs"
            raise InputError("decoder", found, f"{self.raw_dim}, which {what} reads", cure)
        return self.distribution(raw).to_event(1)

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of the D numbers, batch shape (..., D).

        Arguments are not validated: torch's check of every number would cost a tenth of a step.
        """
        raise NotImplementedError

    def given(self, raw: Tensor, past: Any) -> Tensor:
        """Return the outputs (..., T, raw_dim) of a network of frames, given what came before them.

        ``past`` is a `ppl_models.dvae.Past`. By default the outputs are returned as they are.
        """
        return raw

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return an encoder's input for data x (..., D): floats (..., feature_dim).

        ``before`` is x_{t-1} where x is one frame of a sequence, and not the first.
        """
        features: Tensor = self.reader(x)
        return features

    def point(self, raw: Tensor) -> Tensor:
        """Return the mean, or the most probable class or level: (..., D)."""
        return self(raw).mean

    def check(self, x: Tensor) -> None:
        """Check every number of x, while Pyro's validation is on.

        Raises
        ------
        InputError
            One of them is outside the support.
        """
        if is_validation_enabled():
            self._check_support(x)

    def _check_support(self, x: Tensor) -> None:
        if not x.is_floating_point():
            cure = "give x.float(), or choose a likelihood of classes or levels"
            raise InputError("x", f"numbers of type {x.dtype}", "floats", cure)


class Bernoulli(Likelihood):
    """x_d ~ Bernoulli(logits=raw_d): bits.

    Parameters
    ----------
    data_dim : int
        D.
    grey : bool
        Let x be any number from 0 to 1, as MVAE's and JMVAE's recipes do. Then
        x log p + (1 - x) log(1 - p) is scored, which is no density: its integral over x is below 1
        and depends on p (the normaliser of the continuous Bernoulli is not included). Bounds so
        made compare with one another only. Simulated data are bits all the same.
    """

    def __init__(self, data_dim: int, grey: bool = False) -> None:
        super().__init__(data_dim, data_dim)
        self.grey = grey

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of bits."""
        return dist.Bernoulli(logits=raw, validate_args=False)

    def _check_support(self, x: Tensor) -> None:
        super()._check_support(x)
        if self.grey:
            if not (x.min() >= 0 and x.max() <= 1):
                cure = "rescale them, or use a Gaussian likelihood"
                raise InputError("x", "numbers outside 0 to 1", "grey values in [0, 1]", cure)
        elif not (x * x - x).abs().max() == 0:
            cure = 'make bits of them, (x > 0.5).float(), or use likelihood="gaussian"'
            raise InputError("x", "other numbers than 0 and 1", "bits, as floats", cure)


class Gaussian(Likelihood):
    """x_d ~ Normal(raw_d, scale_d): real numbers.

    Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated Decoders",
    ICML 2021, section 3, compare these scales.

    Parameters
    ----------
    data_dim : int
        D.
    scale : "shared", "pixel", "decoded" or float
        Standard deviation, in the units of x: one learned number, one a pixel, the decoder's (its
        last D outputs are log standard deviations), or this number.
    floor : float
        Least standard deviation of the learned ones, in the units of x: the variance is
        exp(2 log_scale) + floor^2. Without it a pixel that never changes, or that the decoder can
        copy, would have a density without bound.

    """

    log_scale: Tensor

    def __init__(
        self,
        data_dim: int,
        scale: Literal["shared", "pixel", "decoded"] | float = "shared",
        floor: float = 1e-3,
    ) -> None:
        super().__init__(data_dim, 2 * data_dim if scale == "decoded" else data_dim)
        self.kind, self.floor = scale if isinstance(scale, str) else "fixed", float(floor)
        check_positive("floor", floor)
        if self.kind == "fixed":
            self.floor = 0.0
            log_scale = math.log(check_positive("scale", scale))
            self.register_buffer("log_scale", torch.tensor(log_scale))
        elif self.kind in ("shared", "pixel"):
            size = (data_dim,) if self.kind == "pixel" else ()
            self.log_scale = nn.Parameter(torch.zeros(size))
        elif self.kind != "decoded":
            cure = "choose one of the three, or give a number"
            raise InputError("scale", repr(scale), '"shared", "pixel", "decoded" or a number', cure)

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D numbers."""
        if self.kind == "decoded":
            loc, scale = split_normal(raw)
            return dist.Normal(loc, self._raised(scale), validate_args=False)
        return dist.Normal(raw, self.scale, validate_args=False)

    @property
    def scale(self) -> Tensor:
        """The standard deviation, () or (D,), where it does not depend on the code."""
        return self._raised(self.log_scale.exp())

    def _raised(self, scale: Tensor) -> Tensor:
        return (scale * scale + self.floor**2).sqrt() if self.floor else scale


class Laplace(Likelihood):
    """x_d ~ Laplace(raw_d, scale): real numbers with heavy tails, as MMVAE has them.

    Parameters
    ----------
    data_dim : int
        D.
    scale : float
        Mean absolute deviation, in the units of x. Shi et al., "Variational Mixture-of-Experts
        Autoencoders for Multi-Modal Deep Generative Models", NeurIPS 2019, take 0.75.

    """

    scale: Tensor

    def __init__(self, data_dim: int, scale: float = 0.75) -> None:
        super().__init__(data_dim, data_dim)
        self.register_buffer("scale", torch.tensor(check_positive("scale", scale)))

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D numbers."""
        return dist.Laplace(raw, self.scale, validate_args=False)


def named(likelihood: str | Likelihood, data_dim: int, scale: float | None = None) -> Likelihood:
    """Return the part that a name stands for; a part, if it is of that size, as it is.

    Raises
    ------
    InputError
        No likelihood has that name, the part is of another size, or a scale is given to one that
        has its own or none.
    """
    if likelihood == "gaussian":
        return Gaussian(data_dim, "shared" if scale is None else scale)
    if scale is not None:
        cure = "give it to the part, Gaussian(data_dim, scale=...), or leave it out"
        raise InputError("scale", str(scale), 'none, unless likelihood="gaussian"', cure)
    if likelihood == "bernoulli":
        return Bernoulli(data_dim)
    if not isinstance(likelihood, Likelihood):
        cure = "choose one of the two, or a part of ppl_models.likelihoods"
        raise InputError("likelihood", repr(likelihood), '"gaussian", "bernoulli" or a part', cure)
    if likelihood.data_dim != data_dim:
        cure = "build both with the data's own data_dim"
        raise InputError("likelihood", f"data_dim {likelihood.data_dim}", str(data_dim), cure)
    return likelihood
