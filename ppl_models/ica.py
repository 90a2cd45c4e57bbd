r"""Independent component analysis: data are a linear mixture of independent, heavy-tailed sources.

::

    z ~ Laplace(0, 1)                         D sources, independent
    x = W z + mean                            D numbers: p(x) = p(z) / |det W|

Written as a latent site z and x = W z, a Dirac, the model could not be scored: no draw of z gives
x exactly. A change of variables gives the density of x itself.

References
----------
Bell and Sejnowski, "An Information-Maximization Approach to Blind Separation and Blind
Deconvolution", Neural Computation 7, 1995. MacKay, "Maximum Likelihood and Covariant Algorithms for
Independent Component Analysis", 1996, section 2: the likelihood.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.ppca import finite


class ICA(nn.Module):
    r"""Independent component analysis: as many Laplace sources as numbers, mixed linearly.

    .. math:: \log p(x) = \sum_j \log \mathrm{Laplace}(z_j) - \log |\det W|,
              \quad z = W^{-1} (x - \mathrm{mean})

    One site, ``x`` (D,), in the plate ``data``, with this exact density: given x, nothing is left
    to infer, so the guide is empty. Sources are identified up to their order and signs.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum, and sources.
    """

    basis: Tensor
    zero: Tensor

    def __init__(self, data_dim: int = 2) -> None:
        super().__init__()
        self.data_dim = data_dim
        self.turn = nn.Parameter(torch.eye(data_dim) + 0.1 * torch.randn(data_dim, data_dim))
        self.mean = nn.Parameter(torch.zeros(data_dim))
        self.register_buffer("basis", torch.eye(data_dim))
        self.register_buffer("zero", torch.zeros(data_dim), persistent=False)

    @property
    def weight(self) -> Tensor:
        """W (D, D): a fixed basis that whitens the data, times what is learned."""
        return self.basis @ self.turn

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or W has become singular.
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("x", self.density(), obs=x)

    def density(self) -> TorchDistribution:
        """Return p(x), event shape (D,)."""
        z = dist.Laplace(self.zero, 1.0).to_event(1)
        return dist.TransformedDistribution(z, [Mixing(self.weight, self.mean)])

    def sources(self, x: Tensor) -> Tensor:
        """Return the sources z (..., D) of x (..., D): the posterior is this one point."""
        return Mixing(self.weight, self.mean).inv(x)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Initialise: the sources of ``x`` (N, D) are uncorrelated, with the Laplace's variance.

        Raises
        ------
        InputError
            Numbers of x that are constant, or linear in others: their density is infinite.
        """
        x = finite(x, self.data_dim).double()
        covariance = torch.cov(x.T, correction=0).reshape(self.data_dim, self.data_dim)
        variance, axes = torch.linalg.eigh(covariance)
        if not variance[0] > 1e-9 * variance[-1]:
            found = "data that lie in fewer directions than they have numbers"
            cure = "drop numbers that are constant or sums of others, or add noise (dequantise)"
            raise InputError("x", found, f"variance in all {self.data_dim} directions", cure)
        self.basis.copy_(axes * (0.5 * variance).sqrt() @ axes.T)
        self.turn.copy_(torch.eye(self.data_dim))
        self.mean.copy_(x.mean(0))


class Mixing(Transform):
    """The map from sources z to W z + mean.

    Raises
    ------
    InputError
        W is singular, to the precision of its numbers.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, weight: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.weight, self.mean = weight, mean
        self.inverse_weight, info = torch.linalg.inv_ex(weight)
        condition = (weight.detach().norm() * self.inverse_weight.detach().norm()).item()
        if info.item() or not condition < 1 / torch.finfo(weight.dtype).eps:
            found, size = f"a matrix of condition number {condition:.1e}", len(weight)
            cure = f"initialise from the data (start_from), a lower learning rate; {size} sources?"
            raise InputError("weight", found, "a mixing matrix that can be undone", cure)

    def __eq__(self, other: object) -> bool:
        """Whether the other is this very map."""
        return self is other

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.mean

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.mean) @ self.inverse_weight.T

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det W| (...)."""
        return torch.linalg.slogdet(self.weight).logabsdet.expand(x.shape[:-1])
