r"""The Gaussian mixture: every datum comes from one of K components, which is not observed.

::

    weights ~ Dirichlet(concentration)        how common each component is
    locs    ~ Normal(0, loc_scale)            its mean
    scales  ~ LogNormal(log scale, spread)    its standard deviation, in each direction
    w       ~ Categorical(weights)            the component of a datum: summed exactly
    x       ~ Normal(locs[w], scales[w])

.. math:: p(x \mid \mathrm{weights}, \mathrm{locs}, \mathrm{scales}) =
          \sum_k \mathrm{weights}_k \, N(x; \mathrm{locs}_k, \mathrm{diag} \, \mathrm{scales}_k^2)

The lesson on enumeration: ``w`` is never sampled in inference. It carries
``infer={"enumerate": "parallel"}``, the guide does not name it, and ``TraceEnum_ELBO`` sums it out.

References
----------
Bishop, "Pattern Recognition and Machine Learning", 2006, sections 9.2 and 10.2.
"""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.ops.indexing import Vindex
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows


class GaussianMixture(nn.Module):
    """A Bayesian mixture of K diagonal Gaussians.

    Sites: ``weights`` (K,), ``locs`` (K, D) and ``scales`` (K, D), each once; in the plate ``data``
    the enumerated ``w`` and ``x`` (D,). No parameters: all that is unknown has a prior.

    Parameters
    ----------
    num_components : int
        K.
    data_dim : int
        D, numbers a datum.
    concentration : float
        Of the symmetric Dirichlet: below 1 it prefers few components, above 1 equal ones.
    loc_scale : float
        Prior standard deviation of ``locs`` around zero, in the units of x.
    scale : float
        Prior median of ``scales``, in the units of x.
    scale_spread : float
        Prior standard deviation of the logarithm of ``scales``.

    Raises
    ------
    InputError
        A setting is not positive.
    """

    concentration: Tensor
    zero: Tensor
    log_scale: Tensor

    def __init__(
        self,
        num_components: int = 3,
        data_dim: int = 2,
        *,
        concentration: float = 2.0,
        loc_scale: float = 5.0,
        scale: float = 1.0,
        scale_spread: float = 0.5,
    ) -> None:
        super().__init__()
        settings = dict(
            num_components=num_components,
            data_dim=data_dim,
            concentration=concentration,
            loc_scale=loc_scale,
            scale=scale,
            scale_spread=scale_spread,
        )
        for name, value in settings.items():
            if not 0 < value < math.inf:
                raise InputError(name, str(value), "a positive number", f"set {name} above zero")
        self.num_components, self.data_dim = num_components, data_dim
        self.loc_scale, self.scale_spread = loc_scale, scale_spread
        prior = torch.full((num_components,), float(concentration))
        zero = torch.zeros(num_components, data_dim)
        self.register_buffer("concentration", prior, persistent=False)
        self.register_buffer("zero", zero, persistent=False)
        self.register_buffer("log_scale", zero + math.log(scale), persistent=False)

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        size = size if x is None else count_rows(x, self.data_dim)
        weights = pyro.sample("weights", dist.Dirichlet(self.concentration))
        locs = pyro.sample("locs", dist.Normal(self.zero, self.loc_scale).to_event(2))
        widths = dist.LogNormal(self.log_scale, self.scale_spread)
        scales = pyro.sample("scales", widths.to_event(2))
        with pyro.plate("data", size, dim=-1):
            w = pyro.sample("w", dist.Categorical(weights), infer={"enumerate": "parallel"})
            loc, scale = Vindex(locs)[..., w, :], Vindex(scales)[..., w, :]
            return pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)
