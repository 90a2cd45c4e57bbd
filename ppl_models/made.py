r"""MADE, an autoregressive density: each number of a vector is drawn given those before it.

::

    x_d ~ p(x_d | x_1, ..., x_{d-1})          d = 1, ..., D, all from one masked network

.. math:: p(x) = \prod_d p(x_d \mid x_1, \dots, x_{d-1})

There is no latent variable, the density is exact, and sampling takes D passes of the network.

References
----------
Germain, Gregor, Murray and Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", ICML
2015, sections 3-4. Uria, Murray and Larochelle, "RNADE: The Real-Valued Neural Autoregressive
Density-Estimator", NeurIPS 2013: mixtures for real numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.nn import AutoRegressiveNN
from torch import LongTensor, Tensor, nn

from ppl_models.distributions import DataKind, Density, check_kind
from ppl_models.inputs import check_count, check_positive, check_widths, count_rows


class MADE(nn.Module):
    r"""An autoregressive density whose conditionals are the outputs of one masked network.

    Real numbers have mixtures of K Gaussians, bits a logit. One site, ``x`` (D,), in the plate
    ``data``, its density exact: the guide is empty. Pyro's `AutoRegressiveNN` is the network.

    Parameters
    ----------
    data_dim : int
        D, at least 2.
    hidden_dims : sequence of int
        Widths of the hidden layers; below D, D is taken.
    kind : "real" or "bits"
    num_components : int
        K.
    floor : float
        Least standard deviation of a Gaussian, in the units of x: a number that is constant, or the
        copy of another, would otherwise have a density without bound.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    def __init__(
        self,
        data_dim: int = 2,
        hidden_dims: Sequence[int] = (64, 64),
        *,
        kind: DataKind = "real",
        num_components: int = 8,
        floor: float = 1e-2,
    ) -> None:
        super().__init__()
        check_count("data_dim", data_dim, 2)
        check_count("num_components", num_components)
        check_positive("floor", floor)
        check_kind(kind)
        self.data_dim, self.kind, self.floor = data_dim, kind, floor
        outputs = [1] if kind == "bits" else 3 * [num_components]
        order = cast(LongTensor, torch.arange(data_dim))
        widths = [max(width, data_dim) for width in check_widths(hidden_dims)]
        self.network = AutoRegressiveNN(data_dim, widths, outputs, order, nonlinearity=nn.Tanh())

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("x", self.density(), obs=x)

    def density(self) -> Density:
        """Return p(x), event shape (D,)."""
        return Density(self._draw, self._log_prob, self.data_dim, self.kind)

    def conditionals(self, x: Tensor) -> TorchDistribution:
        """Return p(x_d | x_1, ..., x_{d-1}) of batch shape (..., D), given x (..., D)."""
        raw = self.network(x)
        if self.kind == "bits":
            return dist.Bernoulli(logits=raw, validate_args=False)
        logits, loc, log_scale = (part.mT for part in raw)  # each (..., D, K)
        parts = dist.Normal(loc, log_scale.exp() + self.floor, validate_args=False)
        shares = dist.Categorical(logits=logits, validate_args=False)
        return dist.MixtureSameFamily(shares, parts, validate_args=False)

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.conditionals(x).log_prob(x).sum(-1)

    def _draw(self, shape: torch.Size) -> Tensor:
        x = next(self.parameters()).new_zeros(*shape, self.data_dim)
        for d in range(self.data_dim):  # a pass a number
            x[..., d] = self.conditionals(x).sample()[..., d]
        return x
