r"""The guide of NotMIWAE: the code from what was observed, missing values as the model draws them.

.. math:: q(z, x_M \mid x_O) = q(z \mid x_O) \, p(x_M \mid z)

The second factor is the model's own, so that it cancels in the bound: what remains of the missing
values is how well they explain that they are missing, p(m | x).

References
----------
Ipsen, Mattei and Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data",
ICLR 2021, arXiv:2006.12871, section 3.
"""

from __future__ import annotations

from typing import Any, cast

import pyro
import torch
from torch import Tensor

from guides.acquisition.partial_vae import PartialVAEGuide
from ppl_models.acquisition import NotMIWAE
from ppl_models.inputs import count_rows


class NotMIWAEGuide(PartialVAEGuide):
    """Posterior q(z, x_missing | x) of `NotMIWAE`; sizes and readers are those of its parent.

    Of a row of which nothing was observed, z has its prior.

    Parameters
    ----------
    model : NotMIWAE
    reader, embedding_dim, set_dim, hidden_dims
        Those of `PartialVAEGuide`.
    """

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """Sample ``z`` (N, L) and ``x_missing`` (N, C) for rows ``x`` (N, D) and their mask.

        Raises
        ------
        InputError
            As `PartialVAEGuide.forward`.
        """
        model = cast(NotMIWAE, self.model)
        with pyro.plate("data", count_rows(x, model.data_dim), dim=-1):
            x = cast(Tensor, x)
            mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
            z = pyro.sample("z", self.posterior(x, mask).to_event(1))
            return z, pyro.sample("x_missing", model.missing_values(model.raw(z), mask))
