r"""The guide of CCA: a product of linear Gaussian experts, one a set, and the prior.

.. math:: q(z \mid x) \propto N(z; 0, I) \prod_{m \text{ observed}} \exp\left(
    h_m(x_m)^T z - \tfrac12 z^T R_m R_m^T z\right), \qquad h_m(x_m) = E_m^T x_m + b_m

The family contains the exact posterior, whichever sets a row has.
"""

from __future__ import annotations

from typing import cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.cca import CCA
from ppl_models.modalities import Rows, read_rows


class CCAGuide(ReadingGuide[CCA]):
    """Amortized Gaussian posterior q(z | x) of :class:`ppl_models.cca.CCA`, of full covariance.

    Bach and Jordan, "A Probabilistic Interpretation of Canonical Correlation Analysis", TR 688, UC
    Berkeley 2005, section 3.2.

    Parameters
    ----------
    model : CCA
    """

    def __init__(self, model: CCA) -> None:
        super().__init__(model)
        width = model.latent_dim
        self.encoders = nn.ModuleDict({n: nn.Linear(d, width) for n, d in model.widths.items()})
        self.factors = nn.ParameterDict({n: torch.eye(width) for n in model.names})

    def forward(
        self,
        *x: Tensor | None,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        size: int = 1,
        **named: Tensor | None,
    ) -> Tensor:
        """Sample ``z`` (N, L) given the modalities that are ``observed``.

        Arguments and errors are those of `CCA.forward`.
        """
        rows = read_rows(self.model.widths, x, named, mask, observed, size)
        with pyro.plate("data", rows.size, dim=-1):
            return pyro.sample("z", self.distribution(rows))

    def distribution(self, rows: Rows) -> dist.MultivariateNormal:
        """Return q(z | rows), batch shape (N,), event shape (L,)."""
        zero = self.factors[self.model.names[0]][0] * 0
        precision = torch.eye(len(zero)).to(zero).expand(rows.size, -1, -1)
        message = zero.expand(rows.size, -1)
        for m, name in enumerate(self.model.names):
            if (value := rows.values[name]) is None:
                continue
            counts, factor = rows.observed_of(m), self.factors[name]
            there = zero.new_ones(rows.size) if counts is None else counts.to(zero)
            precision = precision + there[:, None, None] * (factor @ factor.T)
            message = message + there[:, None] * self.encoders[name](value)
        mean = torch.linalg.solve(precision, message[..., None])[..., 0]
        return dist.MultivariateNormal(mean, precision_matrix=precision)

    @torch.no_grad()
    def set_exact(self) -> CCAGuide:
        """Take the parameters of the model's exact posterior, and return the guide."""
        for name in self.model.names:
            encoder = cast(nn.Linear, self.encoders[name])
            root, weight = self.model.noise_root(name), self.model.weights[name]
            directions = torch.linalg.solve_triangular(root, weight, upper=False)
            reader = torch.linalg.solve_triangular(root.T, directions, upper=True)
            values, vectors = torch.linalg.eigh(directions.T @ directions)
            self.factors[name].copy_(vectors * values.clamp(min=0).sqrt())
            encoder.weight.copy_(reader.T)
            encoder.bias.copy_(-self.model.means[name] @ reader)
        return self
