r"""The guide of the Gaussian mixture: independent posteriors of weights, means and scales.

.. math:: q = \mathrm{Dirichlet}(\mathrm{weights}) \, \prod_{kd} N(\mathrm{locs}_{kd}) \,
          \mathrm{LogNormal}(\mathrm{scales}_{kd})
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.errors import InputError
from ppl_models.gaussian_mixture import GaussianMixture
from ppl_models.inputs import count_rows, spread_out


class GaussianMixtureGuide(ReadingGuide[GaussianMixture]):
    """Mean-field posterior of :class:`ppl_models.gaussian_mixture.GaussianMixture`.

    Bishop, "Pattern Recognition and Machine Learning", 2006, section 10.2, but for the LogNormal,
    which is a Gamma there. The assignment ``w`` is no site of it: inference sums it out.

    Components may be numbered in any order, and all start near zero: initialise them from the data
    by :meth:`start_from`.

    Parameters
    ----------
    model : GaussianMixture
    """

    def __init__(self, model: GaussianMixture) -> None:
        super().__init__(model)
        self.num_components, self.data_dim = model.num_components, model.data_dim
        shape = self.num_components, self.data_dim
        alone = self.num_components == 1  # its weight is 1: nothing to learn, and no gradient
        self.log_concentration = nn.Parameter(
            torch.zeros(self.num_components), requires_grad=not alone
        )
        self.loc = nn.Parameter(torch.randn(shape))
        self.loc_log_scale = nn.Parameter(torch.full(shape, -1.0))
        self.scale_loc = nn.Parameter(torch.zeros(shape))
        self.scale_log_scale = nn.Parameter(torch.full(shape, -1.0))

    def forward(self, x: Tensor | None = None) -> None:
        """Sample ``weights`` (K,), ``locs`` (K, D) and ``scales`` (K, D), the same for any x."""
        pyro.sample("weights", dist.Dirichlet(self.log_concentration.exp()))
        pyro.sample("locs", dist.Normal(self.loc, self.loc_log_scale.exp()).to_event(2))
        scales = dist.LogNormal(self.scale_loc, self.scale_log_scale.exp())
        pyro.sample("scales", scales.to_event(2))

    @torch.no_grad()
    def start_from(self, x: Tensor, seed: int = 0, num_steps: int = 10) -> GaussianMixtureGuide:
        """Put the components on clusters of ``x`` (N, D), found by k-means++; return the guide.

        Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007, then
        ``num_steps`` of Lloyd's iteration.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), is not finite, or has fewer rows than
            components.
        """
        if count_rows(x, self.data_dim) < self.num_components:
            expected = f"at least {self.num_components} rows, one a component"
            raise InputError("x", f"{len(x)} rows", expected, "pass more data or fewer components")
        if not x.isfinite().all():
            row = int((~x.isfinite()).any(1).nonzero()[0])
            raise InputError("x", f"NaN or infinity in row {row}", "numbers", "leave such rows out")
        centres = spread_out(x, self.num_components, seed)
        for _ in range(num_steps):
            member = _nearest(x, centres, self.num_components)  # (N, K)
            count = member.sum(0)  # (K,)
            mean = member.T @ x / count.clamp(min=1)[:, None]
            centres = torch.where(count[:, None] > 0, mean, centres)
        self._set(x, centres)
        return self

    def _set(self, x: Tensor, centres: Tensor) -> None:
        """Match each component's posterior to the count, mean and spread of its cluster."""
        member = _nearest(x, centres, self.num_components)
        count = member.sum(0).clamp(min=1)[:, None]
        square = (x[:, None] - centres).square()  # (N, K, D)
        spread = ((member[..., None] * square).sum(0) / count).sqrt()
        spread = spread.clamp(min=1e-3 * x.std(0).clamp(min=1e-6))  # a cluster of equal rows
        self.log_concentration.copy_((1 + count[:, 0]).log())
        self.loc.copy_(centres)
        self.loc_log_scale.copy_((spread / count.sqrt()).log())
        self.scale_loc.copy_(spread.log())
        self.scale_log_scale.copy_((2 * count).rsqrt().log().expand_as(centres))


def _nearest(x: Tensor, centres: Tensor, num_centres: int) -> Tensor:
    """One-hot memberships (N, K) of rows x (N, D) in their nearest centres (K, D)."""
    nearest = torch.cdist(x, centres).argmin(1)
    return nn.functional.one_hot(nearest, num_centres).to(x.dtype)
